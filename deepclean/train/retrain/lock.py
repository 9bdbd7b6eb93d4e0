"""What a retraining has for itself: the name of its lock, and its private directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepclean.errors import output_errors

LOCK, SCRATCH = ".retrain.lock", ".retrain"


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Give a private directory for the candidate, which is removed after the block.

    Raises:
        OutputError: the file system refused.
    """
    path = directory / SCRATCH
    shutil.rmtree(path, ignore_errors=True)  # left by a retraining that was killed
    with output_errors(path, "the candidate has no place"):
        path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
