"""The page of a day, made from the day's cleaned frames.

`measure` reads the frames into numbers, `page` writes these as a folder, and an index of all days.
"""
