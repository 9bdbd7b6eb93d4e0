"""The operating system: clock, files, locks, logs, processes."""
