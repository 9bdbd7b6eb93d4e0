"""Locks that the kernel takes back when their holder dies, in any way: one daemon per output."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from deepclean.errors import OutputError


def claim(descriptor: int, place: Path, busy: str) -> None:
    """Lock an open file at once, and write our process id into it; closed where that fails.

    Args:
        descriptor: of the file.
        place: what the lock is for.
        busy: what to say of the process that holds it already.

    Raises:
        OutputError: another process holds it.
        OSError: the file system refused.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        number = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        holder = f"process {number}" if number else "another process"
        raise OutputError(f"{holder} {busy}", path=place, errno=error.errno) from error
    except OSError:
        os.close(descriptor)
        raise
    with suppress(OSError):  # a full disk costs the others a hint, not us the lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


class OutputLock:
    """Keeps a second daemon from writing frames of the same description into a directory.

    The lock (flock) is on the hidden file `.<description>.lock` there, which tells the process id
    of the holder and stays when the lock is given up. It is to be taken before anything else is
    done in the directory: whoever comes second must not sweep the first one's temporaries.

    Args:
        directory: the output directory; made on entry if it is not there.
        description: LIGO-T050017 description of the frames.
    """

    def __init__(self, directory: Path, description: str) -> None:
        self.path = directory / f".{description}.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            OutputError: as `hold`, or the directory cannot be made.
        """
        directory = self.path.parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the output directory cannot be used: {error.strerror}",
                path=directory,
                errno=error.errno,
            ) from error
        self.hold()
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def hold(self) -> None:
        """Make sure that the lock is held, also after the directory vanished and came back.

        A new directory has a new file, which a second daemon could lock. Where all is as it was
        this costs two calls of the operating system, so it may come before every frame.

        Raises:
            OutputError: another process holds it (the message names its process id), or the file
                cannot be opened or locked.
        """
        try:
            while self._descriptor is None or not self._is_there(self._descriptor):
                self._release()
                self._take()
        except OSError as error:
            raise OutputError(
                f"the lock cannot be taken: {error.strerror}", path=self.path, errno=error.errno
            ) from error

    def _take(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        claim(
            descriptor,
            self.path.parent,
            "writes here already; stop it, or choose another output.directory or "
            "output.description",
        )
        self._descriptor = descriptor

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_there(self, descriptor: int) -> bool:
        """Tell whether the locked file is the one that others would find."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        return False
