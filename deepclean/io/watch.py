"""Wake the reader when a file appears: the operating system's events, as a hint.

A handler enqueues names and does nothing else. Nothing depends on it (io.tail asks for files): a
watch that dies, or cannot be set up, costs milliseconds, never a frame. A watch dies silently when
its directory is removed and made again, while its thread lives on. So the watched directory is
compared with the present one, and the watch is armed anew.

All watches share one instance of inotify, which watchdog ends with the last of them. When the first
watch of an instance is refused, watchdog leaves the instance behind, with its thread and three
descriptors. So one watch is held on a directory that is always there, and a refused one is never
the first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.system.clock import SystemClock

_log = logging.getLogger(__name__)

_WATCHDOG = logging.getLogger("watchdog")

_ANCHOR = "/proc/self"
"""A directory that is always there and in which no files appear."""

_ASKED: list[type[FileSystemEvent]] = [FileCreatedEvent, FileMovedEvent, FileClosedEvent]
"""Events that say that a file is there. By default each opening, reading and closing of a file is
one too, the daemon's own included: 1 ms of its threads' time while it reads a frame."""

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


@dataclass(slots=True)
class _Armed:
    """A watch in force, and the directory that it is on."""

    watch: ObservedWatch
    identity: tuple[int, int]


class DirectoryWatch:
    """Watches the directories of tails while it is entered.

    Args:
        tails: the tails of the watched directories; one may not exist yet.
        clock: the clock to be woken.

    Attributes:
        errors: number of watches that died or could not be set up, and of overflows. A watch that
            is refused again and again counts once.
    """

    def __init__(self, tails: Iterable[FrameTail], clock: SystemClock) -> None:
        self._tails = list(tails)
        self._clock = clock
        self._observer: BaseObserver | None = None
        self._armed: dict[int, _Armed] = {}
        self._refused: set[int] = set()
        self._checked = clock.monotonic()
        self._overflows = _Overflows(self)
        self.errors = 0

    def __enter__(self) -> DirectoryWatch:
        _WATCHDOG.addHandler(self._overflows)
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        _WATCHDOG.removeHandler(self._overflows)
        self._close()

    def check(self) -> None:
        """Arm dead watches anew; to be called at every turn of the work loop."""
        now = self._clock.monotonic()
        if now - self._checked >= _INTERVAL:
            self._checked = now
            self._check()

    def _check(self) -> None:
        if self._observer is not None and not self._observer.is_alive():
            self.errors += 1
            _log.warning("a thread that watches for files died; beginning anew")
            self._close()
        for position, tail in enumerate(self._tails):
            identity = _identity(tail.directory)
            armed = self._armed.get(position)
            if armed is not None and (armed.identity != identity or not self._alive(armed)):
                self.errors += 1
                _log.warning("the watch on %s died; arming it anew", tail.directory)
                self._disarm(position)
            if position not in self._armed and identity is not None:
                self._arm(position, tail, identity)

    def _arm(self, position: int, tail: FrameTail, identity: tuple[int, int]) -> None:
        try:
            # The library takes a watch that is refused for lack of rights for one in force.
            if not os.access(tail.directory, os.R_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
            if self._observer is None:
                self._observer = _anchored()
            # A watch on a symlink would see the link and not what it leads to. Two tails of one
            # directory each have a watch of their own path, or share one with two handlers.
            handler, path = _Handler(tail, self._clock), os.fspath(tail.directory.resolve())
            watch = self._observer.schedule(handler, path, event_filter=_ASKED)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            if position not in self._refused:
                self.errors += 1
                _log.warning("no watch on %s (%s); probing instead", tail.directory, error)
            self._refused.add(position)
            return
        self._refused.discard(position)
        self._armed[position] = _Armed(watch, identity)

    def _disarm(self, position: int) -> None:
        watch = self._armed.pop(position).watch
        if self._observer is not None and all(a.watch != watch for a in self._armed.values()):
            self._observer.unschedule(watch)

    def _alive(self, armed: _Armed) -> bool:
        emitters = () if self._observer is None else self._observer.emitters
        return any(e.watch == armed.watch and e.is_alive() for e in emitters)

    def _close(self) -> None:
        self._armed.clear()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=2.0)
        self._observer = None


def _anchored() -> BaseObserver:
    """Return an observer that runs, with a watch that keeps its instance of inotify.

    Raises:
        OSError, RuntimeError: the system refuses an instance, a watch or a thread.
    """
    observer = Observer()
    observer.schedule(FileSystemEventHandler(), _ANCHOR, recursive=False)
    observer.start()
    return observer


def _identity(directory: Path) -> tuple[int, int] | None:
    """Return the numbers that tell a directory from another of the same name; None without one."""
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
