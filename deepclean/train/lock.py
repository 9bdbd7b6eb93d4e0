"""The lock of a coupling: one training, one retraining at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepclean.models.store import directory as coupling_directory
from deepclean.system.lock import locked


@contextmanager
def exclusively(directory: Path, name: str, busy: str) -> Iterator[None]:
    """Keep a second process from the same work on a coupling during the block.

    Args:
        directory: the coupling's in the store; made if need be.
        name: of the lock's file in it.
        busy: what the first process does, for the message to the second.

    Raises:
        OutputError: another process is at work, or the file system refused.
    """
    with coupling_directory.changing(directory):  # makes it as every writer of the store does
        pass
    with locked(directory / name, busy):
        yield
