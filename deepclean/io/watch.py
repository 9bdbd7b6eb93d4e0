"""Wake the reader when a file appears: the operating system's events, as a hint.

A thread enqueues names and does nothing else. Nothing depends on it (io.tail asks for files): a
watch that dies, or cannot be set up, costs milliseconds, never a frame. A watch dies silently when
its directory is removed and made again. So the watched directory is compared with the present one,
and the watch is armed anew. Whatever is refused, however often, there is one descriptor of events
and one thread.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.system.clock import SystemClock
from deepclean.system.inotify import DirectoryEvent, Inotify

_log = logging.getLogger(__name__)

_INTERVAL = 1.0
"""Seconds between checks of the watched directories."""


@dataclass(slots=True)
class _Armed:
    """A watch in force: its number, and the directory that it is on."""

    watch: int
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
        self._events: _EventThread | None = None
        self._armed: dict[int, _Armed] = {}
        self._refused: set[int] = set()
        self._overflows = 0
        self._checked = clock.monotonic()
        self.errors = 0

    def __enter__(self) -> DirectoryWatch:
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def check(self) -> None:
        """Arm dead watches anew; to be called at every turn of the work loop."""
        now = self._clock.monotonic()
        if now - self._checked >= _INTERVAL:
            self._checked = now
            self._check()

    def _check(self) -> None:
        if self._events is not None and not self._events.thread.is_alive():
            self.errors += 1
            _log.warning("the thread that watches for files died; beginning anew")
            self._close()
        self._count_overflows()
        for position, tail in enumerate(self._tails):
            identity = _identity(tail.directory)
            armed = self._armed.get(position)
            if armed is not None and (armed.identity != identity or self._ended(armed)):
                self.errors += 1
                _log.warning("the watch on %s died; arming it anew", tail.directory)
                self._disarm(position)
            if position not in self._armed and identity is not None:
                self._arm(position, tail, identity)

    def _arm(self, position: int, tail: FrameTail, identity: tuple[int, int]) -> None:
        try:
            if self._events is None:
                self._events = _EventThread(self._clock)
            watch = self._events.inotify.add(tail.directory)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            if position not in self._refused:
                self.errors += 1
                _log.warning("no watch on %s (%s); probing instead", tail.directory, error)
            self._refused.add(position)
            return
        self._refused.discard(position)
        self._armed[position] = _Armed(watch, identity)
        self._events.ended.discard(watch)
        self._events.tails[watch] = (*self._events.tails.get(watch, ()), tail)

    def _disarm(self, position: int) -> None:
        watch = self._armed.pop(position).watch
        if self._events is not None and all(a.watch != watch for a in self._armed.values()):
            self._events.tails.pop(watch, None)
            self._events.inotify.remove(watch)

    def _ended(self, armed: _Armed) -> bool:
        return self._events is None or armed.watch in self._events.ended

    def _count_overflows(self) -> None:
        found = 0 if self._events is None else self._events.overflows
        if found > self._overflows:
            self.errors += found - self._overflows
            _log.warning("the kernel's queue of file events overflowed; listing finds the files")
        self._overflows = found

    def _close(self) -> None:
        self._armed.clear()
        if self._events is not None:
            self._count_overflows()
            self._events.close()
        self._events, self._overflows = None, 0


@dataclass(slots=True)
class _EventThread:
    """The thread that waits for events, and what it shares with the work loop.

    Attributes:
        tails: that are told of a watch's files, by the watch's number.
        ended: watches whose directories are gone.
        overflows: number of times that the kernel dropped events.

    Raises:
        OSError, RuntimeError: the system refuses a descriptor or a thread; nothing is left behind.
    """

    clock: SystemClock
    inotify: Inotify = field(init=False)
    thread: threading.Thread = field(init=False)
    tails: dict[int, tuple[FrameTail, ...]] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    overflows: int = 0
    _stopped: int = field(init=False)

    def __post_init__(self) -> None:
        self.inotify = Inotify()
        try:
            self._stopped = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError:
            self.inotify.close()
            raise
        self.thread = threading.Thread(target=self._run, name="file events", daemon=True)
        try:
            self.thread.start()
        except RuntimeError:
            self._close_descriptors()
            raise

    def close(self) -> None:
        """Stop the thread."""
        os.eventfd_write(self._stopped, 1)
        self.thread.join(timeout=2.0)
        if not self.thread.is_alive():
            self._close_descriptors()

    def _close_descriptors(self) -> None:
        os.close(self._stopped)
        self.inotify.close()

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._stopped, self.inotify.fileno()):
            poll.register(descriptor, select.POLLIN)
        while all(found != self._stopped for found, _ in poll.poll()):
            for event in self.inotify.read():
                self._take(event)

    def _take(self, event: DirectoryEvent) -> None:
        if event.overflow:
            self.overflows += 1
        elif event.ended:
            self.ended.add(event.watch)
        elif FrameName.parse(event.name) is not None:  # other files wake nobody
            for tail in self.tails.get(event.watch, ()):
                tail.notice(event.name)
            self.clock.wake()


def _identity(directory: Path) -> tuple[int, int] | None:
    """Return the numbers that tell a directory from another of the same name; None without one."""
    try:
        status = directory.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
