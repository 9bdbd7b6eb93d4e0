"""Segments: when the product is good, by the state bits of its frames."""
