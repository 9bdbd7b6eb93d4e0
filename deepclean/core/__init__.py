"""The pure part: arrays in, arrays out. No file, clock, thread, network or logging module."""
