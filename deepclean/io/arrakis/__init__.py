"""Arrakis: streams of blocks shorter than a second. The client is imported where it is used."""
