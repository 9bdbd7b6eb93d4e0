"""The gate: whether a coupling's estimate is good enough for the official product."""
