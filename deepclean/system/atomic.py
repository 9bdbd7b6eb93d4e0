"""What frame files and HDF5 files share: a channel to write, the publication, two checks."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from errno import EEXIST
from pathlib import Path

import numpy as np

from deepclean.core.block import Series
from deepclean.core.time import NS
from deepclean.errors import InputError, OutputError, listed


@dataclass(frozen=True, slots=True, eq=False)
class OutputChannel:
    """Samples to write, and their physical unit (`strain`, or empty where there is none).

    Raises:
        ValueError: the samples are a masked array, whose mask no file keeps.
    """

    series: Series
    unit: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.series.samples, np.ma.MaskedArray):
            raise ValueError("a masked array cannot be written; a gap is a value of its own")


def whole_rate(spacing: float) -> int:
    """Return the whole number of samples per second that a stored spacing in seconds means.

    Raises:
        ValueError: it is not a whole number of Hz, to the 1e-7 that a spacing kept in single
            precision may be off.
    """
    rate = round(1 / spacing) if spacing > 1 / NS else 0
    if rate < 1 or abs(rate * spacing - 1) > 1e-7:
        raise ValueError(f"a spacing of {spacing} s is not a whole number of samples per second")
    return rate


def absent_channels(absent: Iterable[str], present: Collection[str], path: Path) -> InputError:
    """Return the fault that names every absent channel, and what may have been meant."""
    absent = sorted(absent)
    return InputError(f"no such channel: {listed(absent, present)}", path=path, channels=absent)


def publish(path: Path, data: bytes | memoryview, *, fsync: bool = False) -> None:
    """Make a file appear under its final name, complete or not at all.

    The bytes go to `.<name>.tmp` in the same directory, as the LIGO distribution writer does, and
    the file is then renamed. A temporary that an interrupted run left behind is replaced.

    Args:
        path: the final name; a file there is replaced.
        data: the whole content.
        fsync: wait until file and directory entry are on the disk, to survive a power cut.

    Raises:
        OutputError: the operating system refused, with its `errno`. The temporary is gone, the
            final name as it was (or complete, where only its directory could not be synced).
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _fill_and_rename(temporary, path, memoryview(data), fsync=fsync)
        if fsync:
            _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", path=path, errno=error.errno
        ) from error


def settle(temporary: Path, path: Path) -> None:
    """Give a complete file its final name. It is durable before it has it.

    For what is too large to be had as bytes first: `publish` is for all else.

    Args:
        temporary: the file, hidden in the same directory.
        path: the final name; a file there is replaced.

    Raises:
        OutputError: the operating system refused, with its `errno`.
    """
    try:
        _sync(temporary, os.O_RDONLY)
        temporary.replace(path)
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", path=path, errno=error.errno
        ) from error


def sweep(directory: Path, description: str) -> None:
    """Remove the temporaries that an interrupted run left of files of this description.

    Raises:
        OSError: one cannot be removed.
    """
    for path in directory.glob(f".*-{description}-*.tmp"):
        path.unlink(missing_ok=True)


def _fill_and_rename(temporary: Path, path: Path, data: memoryview, *, fsync: bool) -> None:
    with os.fdopen(_create(temporary), "wb", buffering=0) as file:
        ours = os.fstat(file.fileno())
        try:
            while data:
                data = data[file.write(data) :]
            if fsync:
                os.fsync(file.fileno())
            file.close()  # a network file system reports a full disk as late as here
            # A second process set to write here may have put its own temporary in place of ours.
            if not os.path.samestat(ours, temporary.lstat()):
                raise OSError(EEXIST, "another process writes the same file")
            temporary.replace(path)
        except BaseException:
            _remove(temporary, ours)
            raise


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


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_shared(path: Path, flags: int = 0) -> int:
    """Open a file for reading and writing that all writers of its directory share.

    It is made if need be; who may write in the directory may write it, whatever the umask.

    Raises:
        OSError: the file system refused, or it is a symlink.
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
