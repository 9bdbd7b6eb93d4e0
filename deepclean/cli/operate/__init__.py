"""Commands that act on a running daemon, or on what it reads."""
