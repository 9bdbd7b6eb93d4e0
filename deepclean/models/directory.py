"""A coupling's directory in the store: one writer at a time, and versions that appear at once.

A version is written under a hidden name and renamed when it is complete, checked and on the disk.
Whatever kills the writer, no half of it is ever visible; the next writer sweeps what it left.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from pathlib import Path

from deepclean.errors import ModelError, OutputError
from deepclean.models.manifest import Manifest
from deepclean.models.versions import sync, versions
from deepclean.system.atomic import open_shared

MANIFEST = "manifest.json"
LOCK = ".lock"

_LEFTOVER = re.compile(r"\.(\d+|new|production|canary)\.\d+\.tmp")
_log = logging.getLogger(__name__)


@contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Make a coupling's directory if need be, and keep other writers waiting during the block.

    What dead writers left is swept first.

    Args:
        directory: `<models>/<interferometer>/<coupling>`.

    Raises:
        OutputError: it cannot be made or locked.
    """
    try:
        _make(directory)
        # Locked on a file, not on the directory: NFS locks only what is open for writing.
        descriptor = open_shared(directory / LOCK)
    except OSError as error:
        raise OutputError(
            f"the model store cannot be changed: {error.strerror}",
            path=directory,
            errno=error.errno,
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("%s: another process changes it; waiting", directory)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for leftover in leftovers(directory):
            remove(leftover)
        yield
    finally:
        os.close(descriptor)


def leftovers(directory: Path) -> list[Path]:
    """Return what writers hold here that is no version yet, or not any more."""
    if not directory.is_dir():
        return []
    return sorted(entry for entry in directory.iterdir() if _LEFTOVER.fullmatch(entry.name))


def remove(path: Path) -> None:
    """Remove a leftover, as far as the file system lets us; the next writer tries again."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def appear(
    directory: Path,
    content: Mapping[str, bytes],
    manifest: Manifest,
    check: Callable[[Path], object],
    *,
    version: int | None = None,
) -> Path:
    """Make a version appear, whole. To be called with the directory locked (`changing`).

    Args:
        directory: the coupling's.
        content: files by name, without the manifest.
        manifest: its version is replaced by the one that it gets.
        check: is given the complete, still hidden directory and raises where it is no good.
        version: the number; None for the next free one.

    Returns:
        The version's directory.

    Raises:
        ModelError: the version exists.
        OutputError: the file system refused.
    """
    hidden = directory / f".new.{os.getpid()}.tmp"
    given = version
    try:
        hidden.mkdir()
        hidden.chmod(0o755)
        for name, data in content.items():
            write(hidden / name, data)
        number = max(versions(directory), default=0) + 1 if given is None else given
        while True:
            path = directory / str(number)
            numbered = manifest.model_copy(update={"version": number})
            write(hidden / MANIFEST, numbered.serialise())
            sync(hidden)
            check(hidden)
            if _rename(hidden, path):
                sync(directory)
                return path
            if given is not None:
                raise ModelError("this version exists; versions are never overwritten", path=path)
            number += 1  # software that knows no lock was faster
    except OSError as error:
        raise OutputError(
            f"the model could not be written: {error.strerror}",
            path=directory if given is None else directory / str(given),
            errno=error.errno,
        ) from error
    finally:
        remove(hidden)


def vanish(directory: Path, version: int) -> None:
    """Take a version away, at once for whoever looks. To be called with the directory locked.

    Raises:
        OutputError: the file system refused.
    """
    hidden = directory / f".{version}.{os.getpid()}.tmp"
    try:
        (directory / str(version)).rename(hidden)
        sync(directory)
    except OSError as error:
        raise OutputError(
            f"cannot be removed: {error.strerror}",
            path=directory / str(version),
            errno=error.errno,
        ) from error
    remove(hidden)


def write(path: Path, data: bytes) -> None:
    """Write a file that all may read and only its owner may write, and sync it."""
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(hidden: Path, path: Path) -> bool:
    """Give a directory its name; return False where the name is taken."""
    if path.exists() or path.is_symlink():
        return False
    try:
        hidden.rename(path)
    except OSError as error:
        if error.errno in (EEXIST, ENOTEMPTY, ENOTDIR):
            return False
        raise
    return True


def _make(directory: Path) -> None:
    """Make a coupling's directory; who may write in the store may write in what is made in it.

    All may read and never may all write, whatever the umask.
    """
    store = directory.parents[1]
    if not store.is_dir():
        store.mkdir(parents=True, exist_ok=True)
        store.chmod(0o755)
    group = store.stat().st_mode & 0o020
    for new in (directory.parent, directory):
        if not new.is_dir():
            new.mkdir(exist_ok=True)
            new.chmod(stat.S_IMODE(new.stat().st_mode) & 0o2000 | 0o755 | group)
