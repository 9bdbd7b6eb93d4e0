"""The commands that read cleaned frames and make something for others of them."""
