"""The commands of the first day: a demonstration, and the installation as a service."""
