"""Locks that the kernel takes back when their holder dies in any way (flock)."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path
from typing import Self

from deepclean.errors import OutputError, output_errors
from deepclean.system.atomic import open_shared

_log = logging.getLogger(__name__)

_MOMENT = 0.05
"""Seconds after which a lock is tried again: `holder` has it for microseconds."""

_NO_LOCKS = (ENOLCK, ENOSYS, EOPNOTSUPP)


def take(path: Path, busy: str | None = None, *, quiet: bool = False) -> int:
    """Lock a file and return its descriptor; closing the descriptor gives the lock up.

    Args:
        path: the file; it is made if need be, and is given the process id of the holder. On a file
            system without locks (NFS without its lock service) nothing is locked, with a warning:
            the work goes on.
        busy: the message about a process that holds the lock already; None: that one is waited for.
        quiet: whether nothing is logged of waiting, where it is short and frequent.

    Raises:
        OutputError: another process holds the lock.
        OSError: the file system refused.
    """
    # A file is locked, not its directory: NFS locks only what is open for writing.
    descriptor = open_shared(path)
    try:
        try:
            _try_lock(descriptor)
        except BlockingIOError as error:
            if busy is not None:
                said = f"{_named(descriptor)} {busy}"
                raise OutputError(said, path=path.parent, errno=error.errno) from error
            if not quiet:
                _log.info("%s: another process changes it; waiting", path.parent)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning("%s: this file system has no locks; a second writer is not seen", path)
    except BaseException:
        os.close(descriptor)
        raise
    with suppress(OSError):  # a full disk costs the others a hint, not us the lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor


def _try_lock(descriptor: int) -> None:
    """Lock a file at once; a moment later where somebody has it, who may only have asked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_MOMENT)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the lock of the daemon that writes these frames."""
    return directory / f".{description}.lock"


def holder(path: Path) -> str | None:
    """Return who holds the lock on a file: `process 1234`; None where nobody does.

    The kernel is asked, not the file: the number in it may be of a process that ended long ago.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(descriptor)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


def _named(descriptor: int) -> str:
    number = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"process {number}" if number else "another process"


@contextmanager
def locked(path: Path, busy: str | None = None, *, quiet: bool = False) -> Iterator[None]:
    """Hold the lock on a file during the block.

    Args:
        path: as `take`.
        busy: as `take`.
        quiet: as `take`.

    Raises:
        OutputError: another process holds the lock, or the file system refused.
    """
    with output_errors(path, "the lock cannot be taken"):
        descriptor = take(path, busy, quiet=quiet)
    try:
        yield
    finally:
        os.close(descriptor)


class OutputLock:
    """Keeps a second daemon from writing frames of the same description into a directory.

    The lock is on the hidden file `.<description>.lock` there. The file stays when the lock is
    given up. The lock is to be taken before anything else is done in the directory: whoever comes
    second must not sweep the first one's temporaries.

    Args:
        directory: the output directory; made on entry if it is not there.
        description: LIGO-T050017 description of the frames.
    """

    def __init__(self, directory: Path, description: str) -> None:
        self.path = path_in(directory, description)
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            OutputError: as `hold`, or the directory cannot be made.
        """
        with output_errors(self.path.parent, "the output directory cannot be used"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def hold(self) -> None:
        """Make sure that the lock is held, also after the directory vanished and came back.

        A new directory has a new file, which a second daemon could lock. Where all is as it was
        this costs two calls of the operating system, so it may come before every frame.

        Raises:
            OutputError: another process holds the lock (the message names its process id), or the
                file cannot be opened or locked.
        """
        with output_errors(self.path, "the lock cannot be taken"):
            while self._descriptor is None or not self._is_there(self._descriptor):
                self._release()
                self._descriptor = take(
                    self.path,
                    "writes here already; stop it, or choose another output.directory or "
                    "output.description",
                )

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_there(self, descriptor: int) -> bool:
        """Return whether the locked file is the one that others would find."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        return False
