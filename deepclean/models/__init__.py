"""Models: networks, their files, the store, its versions and pointers."""
