"""What is at a site: its streams of files, and a configuration for them."""
