"""The two ways to run: the live daemon and the replay, with one step that they share."""
