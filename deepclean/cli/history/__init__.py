"""The commands over history: replay, on a cluster too, and validation."""
