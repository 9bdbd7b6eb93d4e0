"""A coupling's directory in the store: one writer at a time, and versions that appear at once.

A version is written under a hidden name. It is renamed when it is complete, checked and on the
disk. Whatever kills the writer, half a version is never visible; the next writer sweeps what is
left of it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from pathlib import Path

from deepclean.errors import ModelError, output_errors
from deepclean.models.manifest import MANIFEST, Manifest
from deepclean.models.store.versions import next_version
from deepclean.system.atomic import sync
from deepclean.system.lock import take

LOCK = ".lock"

_LEFTOVER = re.compile(r"\.(\d+|new|production|canary)(\.\d+)?\.tmp")


@contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Make a coupling's directory if need be, and keep other writers waiting during the block.

    What dead writers left is swept first.

    Args:
        directory: `<models>/<interferometer>/<coupling>`.

    Raises:
        OutputError: the directory cannot be made or locked.
    """
    with ExitStack() as stack:
        with output_errors(directory, "the model store cannot be changed"):
            _make(directory)
            stack.callback(os.close, take(directory / LOCK))
        for leftover in leftovers(directory):
            remove(leftover)
        yield


def leftovers(directory: Path) -> list[Path]:
    """Return the hidden files and versions of writers that are at work, or died."""
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
    """Make a version appear, whole, in a directory that is locked (`changing`).

    Args:
        directory: the coupling's.
        content: files by name, without the manifest.
        manifest: the version in it is replaced by the new one.
        check: called with the complete, still hidden directory; raises where it is no good.
        version: the number; None for the next free one.

    Returns:
        The version's directory.

    Raises:
        ModelError: the version exists.
        OutputError: the file system refused.
    """
    hidden = directory / f".new.{os.getpid()}.tmp"
    number = next_version(directory) if version is None else version
    place = directory if version is None else directory / str(version)
    try:
        with output_errors(place, "the model could not be written"):
            hidden.mkdir()
            hidden.chmod(0o755)
            for name, data in content.items():
                _write(hidden / name, data)
            while True:
                path = directory / str(number)
                numbered = manifest.model_copy(update={"version": number})
                _write(hidden / MANIFEST, numbered.serialise())
                sync(hidden)
                check(hidden)
                if _rename(hidden, path):
                    sync(directory)
                    return path
                if version is not None:
                    raise ModelError(
                        "this version exists; versions are never overwritten", path=path
                    )
                number += 1  # software that knows no lock was faster
    finally:
        remove(hidden)


def vanish(directory: Path, version: int) -> None:
    """Take a version away at once, in a directory that is locked (`changing`).

    Raises:
        OutputError: the file system refused.
    """
    hidden = directory / f".{version}.{os.getpid()}.tmp"
    with output_errors(directory / str(version), "cannot be removed"):
        (directory / str(version)).rename(hidden)
        sync(directory)
    remove(hidden)


def _write(path: Path, data: bytes) -> None:
    """Write a file that all may read and only its owner may write, and sync it."""
    path.write_bytes(data)
    path.chmod(0o644)
    sync(path)


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
    """Make a coupling's directory; who may write in the store may write in it.

    All may read it and never may all write it, whatever the umask.
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
