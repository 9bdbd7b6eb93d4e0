"""The live input: one source, read from frame files (here) or from a stream (io.arrakis)."""
