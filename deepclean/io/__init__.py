"""Frames and archives on disk: read, tailed, written, retained, merged."""
