"""The lock of a retraining, one at a time for a coupling, and its private directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepclean.errors import output_errors
from deepclean.models import directory as coupling_directory
from deepclean.system.lock import locked

LOCK, SCRATCH = ".retrain.lock", ".retrain"


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep a second retraining of the coupling away during the block.

    Raises:
        OutputError: another process retrains the coupling, or the file system refused.
    """
    with coupling_directory.changing(directory):  # makes it as every writer of the store does
        pass
    with locked(directory / LOCK, "retrains this coupling already"):
        yield


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
