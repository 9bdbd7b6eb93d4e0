"""Data, models and outputs at addresses of object stores and of other remote storage."""
