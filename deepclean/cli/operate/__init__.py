"""Commands that act on a running daemon."""
