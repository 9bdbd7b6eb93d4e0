"""The kernel's events of directories (inotify(7)): one descriptor, whatever the number of watches.

A call that is refused raises an OSError and leaves nothing behind. A watch is on the directory
that its path leads to, through symlinks too.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOSYS
from pathlib import Path

# From the kernel's linux/inotify.h.
_CLOSE_WRITE, _MOVED_TO, _CREATE = 0x8, 0x80, 0x100
_OVERFLOW, _IGNORED, _ONLY_DIRECTORIES = 0x4000, 0x8000, 0x01000000

_HEADER = struct.Struct("iIII")
"""Watch, mask, cookie, and length of the name that follows, padded with zero bytes."""

_SIZE = 1 << 16
"""Bytes per read: some thousand events."""


@dataclass(frozen=True, slots=True)
class DirectoryEvent:
    """An event of a watched directory.

    Args:
        watch: the number that `add` gave; -1 for an overflow, which concerns all watches.
        name: the file that was made, moved here or closed after writing; empty for others.
        ended: the watch has ended: its directory is gone.
        overflow: the kernel's queue was full, and events were dropped.
    """

    watch: int
    name: str
    ended: bool
    overflow: bool


class Inotify:
    """An instance of inotify.

    Raises:
        OSError: the kernel refuses one, or the system has no inotify.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(None, use_errno=True)
            make = self._library.inotify_init1
        except (OSError, AttributeError) as error:
            raise OSError(ENOSYS, "this system has no inotify") from error
        self._descriptor = self._checked(make(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor, which is readable where there are events."""
        return self._descriptor

    def add(self, directory: Path) -> int:
        """Watch a directory; return the watch's number. A directory has one, whatever its path.

        Raises:
            OSError: it cannot be watched.
        """
        mask = _CLOSE_WRITE | _MOVED_TO | _CREATE | _ONLY_DIRECTORIES
        call = self._library.inotify_add_watch
        return self._checked(call(self._descriptor, os.fsencode(directory), mask))

    def remove(self, watch: int) -> None:
        """End a watch; one that has ended by itself is no fault."""
        self._library.inotify_rm_watch(self._descriptor, watch)

    def read(self) -> Iterator[DirectoryEvent]:
        """Yield the events that wait.

        Raises:
            OSError: they cannot be read.
        """
        try:
            data = os.read(self._descriptor, _SIZE)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, position)
            position += _HEADER.size
            name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
            position += length
            yield DirectoryEvent(watch, name, bool(mask & _IGNORED), bool(mask & _OVERFLOW))

    def close(self) -> None:
        """End all watches."""
        os.close(self._descriptor)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
