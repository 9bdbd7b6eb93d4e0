"""Files that appear under their final name complete, or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from errno import EEXIST
from pathlib import Path

from deepclean.errors import output_errors


def publish(
    path: Path, data: bytes | memoryview, *, fsync: bool = False, mode: int | None = None
) -> None:
    """Make a file appear under its final name, complete or not at all.

    The bytes go to `.<name>.tmp` in the same directory, as the LIGO distribution writer does, and
    the file is then renamed. A temporary that an interrupted run left behind is replaced.

    Args:
        path: the final name; a file there is replaced.
        data: the whole content.
        fsync: wait until file and directory entry are on the disk, to survive a power cut.
        mode: the permissions, whatever the umask; None: what the umask leaves.

    Raises:
        OutputError: the operating system refused, with its `errno`. The temporary is gone. The
            final name is as it was, or complete where only its directory could not be synced.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with output_errors(path, "cannot be written"):
        with os.fdopen(_create(temporary), "wb", buffering=0) as file:
            ours = os.fstat(file.fileno())
            try:
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                if fsync:
                    os.fsync(file.fileno())
                file.close()  # a network file system reports a full disk as late as here
                # A second process set to write here may have replaced our temporary by its own.
                if not os.path.samestat(ours, temporary.lstat()):
                    raise OSError(EEXIST, "another process writes the same file")
                temporary.replace(path)
            except BaseException:
                _remove(temporary, ours)
                raise
        if fsync:
            sync(path.parent)


def settle(temporary: Path, path: Path) -> None:
    """Give a complete file its final name; the file is on the disk before it has that name.

    This is for a file that is too large to be held in memory; `publish` is for all others.

    Args:
        temporary: the file, hidden in the same directory.
        path: the final name; a file there is replaced.

    Raises:
        OutputError: the operating system refused, with its `errno`.
    """
    with output_errors(path, "cannot be written"):
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's entries, are on the disk.

    Raises:
        OSError: the operating system refused.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(directory: Path, description: str) -> None:
    """Remove the temporaries of files of this description that an interrupted run left.

    Raises:
        OSError: a temporary cannot be removed.
    """
    for path in directory.glob(f".*-{description}-*.tmp"):
        path.unlink(missing_ok=True)


def open_shared(path: Path, flags: int = 0) -> int:
    """Open a file that all writers of its directory share, for reading and writing.

    The file is made if need be. Who may write in the directory may write it, whatever the umask.

    Raises:
        OSError: the file system refused, or the file is a symlink.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o644)
    try:
        status = os.fstat(descriptor)
        wanted = 0o644 | (path.parent.stat().st_mode & 0o020)
        if stat.S_IMODE(status.st_mode) != wanted and status.st_uid == os.geteuid():
            os.fchmod(descriptor, wanted)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _create(temporary: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with suppress(FileExistsError):
        return os.open(temporary, flags, 0o666)
    temporary.unlink()
    return os.open(temporary, flags, 0o666)


def _remove(temporary: Path, ours: os.stat_result) -> None:
    with suppress(OSError):
        if os.path.samestat(ours, temporary.lstat()):
            temporary.unlink()
