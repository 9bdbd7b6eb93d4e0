"""The store of models: versions, pointers, permissions, its log, and its remote copy."""
