"""Wake the reader when a file appears: the operating system's events, as a hint.

The handler enqueues names and does nothing else. Nothing depends on it (edge.tail probes), so a
watch that cannot be set up, or dies, costs milliseconds, never a frame.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from deepclean.edge.clock import SystemClock
from deepclean.edge.tail import FrameTail

_log = logging.getLogger(__name__)


class _Handler(FileSystemEventHandler):
    """Hands the names of new files to a tail and wakes the clock."""

    def __init__(self, tail: FrameTail, clock: SystemClock) -> None:
        self._tail = tail
        self._clock = clock

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Take a file that was created, moved here, or closed after writing."""
        if event.event_type == "moved":
            path = os.fsdecode(event.dest_path)
        elif event.event_type in ("created", "closed"):
            path = os.fsdecode(event.src_path)
        else:
            return
        self._tail.notice(Path(path).name)
        self._clock.wake()


class Watch:
    """Watches the directories of tails while it is entered."""

    def __init__(self, tails: Iterable[FrameTail], clock: SystemClock) -> None:
        self._tails = list(tails)
        self._clock = clock
        self._observer: BaseObserver | None = None

    def __enter__(self) -> Watch:
        self._observer = Observer()
        for tail in self._tails:
            self._schedule(self._observer, tail)
        self._observer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=2.0)

    def _schedule(self, observer: BaseObserver, tail: FrameTail) -> None:
        directory = _existing(tail.directory)
        try:
            observer.schedule(_Handler(tail, self._clock), os.fspath(directory), recursive=False)
        except OSError as error:
            _log.warning("no watch on %s (%s); probing instead", directory, error)


def _existing(directory: Path) -> Path:
    """Return the directory, or where it is missing the nearest one above it."""
    return next(path for path in (directory, *directory.parents) if path.is_dir())
