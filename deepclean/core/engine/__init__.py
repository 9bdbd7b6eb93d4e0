"""The engine: blocks of strain and witnesses in, cleaned blocks out."""
