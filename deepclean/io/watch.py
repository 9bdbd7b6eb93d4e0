"""Wake the reader when a file appears: the operating system's events, as a hint.

The handler enqueues names and does nothing else. Nothing depends on it (io.tail asks for files): a
watch that dies, or cannot be set up, costs milliseconds, never a frame. A watch dies silently when
its directory is removed and made again, while its thread lives on. So the watched directory is
compared with the present one, and the watch is armed anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.system.clock import SystemClock

_log = logging.getLogger(__name__)

_WATCHDOG = logging.getLogger("watchdog")

_INTERVAL = 1.0
"""Seconds between checks of the watched directories."""


class _Handler(FileSystemEventHandler):
    """Hands the names of new files to a tail and wakes the clock."""

    def __init__(self, tail: FrameTail, clock: SystemClock) -> None:
        self._tail = tail
        self._clock = clock

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on a file that was created, moved here, or closed after writing."""
        if event.event_type == "moved":
            path = os.fsdecode(event.dest_path)
        elif event.event_type in ("created", "closed"):
            path = os.fsdecode(event.src_path)
        else:
            return
        name = Path(path).name
        if FrameName.parse(name) is not None:  # other files wake nobody
            self._tail.notice(name)
            self._clock.wake()


@dataclass(slots=True)
class _WatchedDirectory:
    """A watch in force: its observer, and the directory that it is on."""

    observer: BaseObserver
    identity: tuple[int, int]

    @property
    def alive(self) -> bool:
        return self.observer.is_alive() and all(e.is_alive() for e in self.observer.emitters)


class _Overflows(logging.Handler):
    """Passes on the library's log, and counts overflows of the kernel's queue of events."""

    def __init__(self, watch: DirectoryWatch) -> None:
        super().__init__(logging.WARNING)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        _log.log(record.levelno, "%s", message)
        if "overflow" in message:
            self._watch.errors += 1


class DirectoryWatch:
    """Watches the directories of tails while it is entered.

    Args:
        tails: the tails of the watched directories; one may not exist yet.
        clock: the clock to be woken.

    Attributes:
        errors: number of watches that died or could not be set up, and of overflows.
    """

    def __init__(self, tails: Iterable[FrameTail], clock: SystemClock) -> None:
        self._tails = list(tails)
        self._clock = clock
        self._armed: dict[int, _WatchedDirectory] = {}
        self._checked = clock.monotonic()
        self._overflows = _Overflows(self)
        self.errors = 0

    def __enter__(self) -> DirectoryWatch:
        _WATCHDOG.addHandler(self._overflows)
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        _WATCHDOG.removeHandler(self._overflows)
        for position in list(self._armed):
            self._disarm(position)

    def check(self) -> None:
        """Arm dead watches anew; to be called at every turn of the work loop."""
        now = self._clock.monotonic()
        if now - self._checked >= _INTERVAL:
            self._checked = now
            self._check()

    def _check(self) -> None:
        for position, tail in enumerate(self._tails):
            identity = _identity(tail.directory)
            armed = self._armed.get(position)
            if armed is not None and (armed.identity != identity or not armed.alive):
                self.errors += 1
                _log.warning("the watch on %s died; arming it anew", tail.directory)
                self._disarm(position)
            if position not in self._armed and identity is not None:
                self._arm(position, tail, identity)

    def _arm(self, position: int, tail: FrameTail, identity: tuple[int, int]) -> None:
        try:
            observer = Observer()  # takes an instance of inotify, of which there may be none left
            handler = _Handler(tail, self._clock)
            observer.schedule(handler, os.fspath(tail.directory), recursive=False)
            observer.start()
        except OSError as error:
            if not self.errors:
                _log.warning("no watch on %s (%s); probing instead", tail.directory, error)
            self.errors += 1
            return
        self._armed[position] = _WatchedDirectory(observer, identity)

    def _disarm(self, position: int) -> None:
        observer = self._armed.pop(position).observer
        observer.stop()
        observer.join(timeout=2.0)


def _identity(directory: Path) -> tuple[int, int] | None:
    """Return the numbers that tell a directory from another of the same name; None without one."""
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
