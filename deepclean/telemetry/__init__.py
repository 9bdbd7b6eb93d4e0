"""What the daemon says of itself: counters, metrics, status file, service notifications."""
