"""DeepClean production: low-latency removal of witnessed noise from gravitational-wave strain."""

__version__ = "0.1.0"
"""The version, stated here once. A release's tag is `v` and this (docs/releases.md)."""
