"""Everything that touches the world: files, directories, clocks, models on disk."""
