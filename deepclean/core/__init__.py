"""The pure part: arrays in, arrays out. It uses no file, clock, thread, network or logging."""
