"""The lock of a retraining, one at a time for a coupling, and its private directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepclean.errors import OutputError
from deepclean.models import directory as coupling_directory
from deepclean.system import atomic
from deepclean.system.lock import claim

LOCK, SCRATCH = ".retrain.lock", ".retrain"


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep a second retraining of the coupling away during the block.

    Raises:
        OutputError: another process is at it, or the file system refused.
    """
    with coupling_directory.changing(directory):  # makes it as every writer of the store does
        pass
    try:
        descriptor = atomic.open_shared(directory / LOCK)
        claim(descriptor, directory, "retrains this coupling already")
    except OSError as error:
        raise OutputError(
            f"the lock cannot be taken: {error.strerror}", path=directory / LOCK, errno=error.errno
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Give a private directory for the candidate, which is removed after the block.

    Raises:
        OutputError: the file system refused.
    """
    path = directory / SCRATCH
    shutil.rmtree(path, ignore_errors=True)  # left by a retraining that was killed
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(
            f"the candidate has no place: {error.strerror}", path=path, errno=error.errno
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
