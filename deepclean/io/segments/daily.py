"""The segments of the running day as files that grow: one file a day, written anew each minute.

A day is 86400 s long and begins on a multiple of that, counted from GPS 0. Its file has the name of
the whole day from the start on (`H-H1_DEEPCLEAN_SEGMENTS-1369958400-86400.xml`) and holds what is
known so far. Each version of it appears whole.

A thread makes them from the frames in the output directory: from the state vectors that the work
loop leaves behind with each frame, and for the frames of former runs from their files. So cleaning
does not wait, and a restart goes on with the day's file and adds the frames that it missed.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping
from errno import errorcode
from pathlib import Path
from typing import Self

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.channels import state_vector
from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io.catalogue import DataFile
from deepclean.io.retention import held
from deepclean.io.segments.formats import StateSegments, parse, read_frames, segments_of, serialise
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FAR
from deepclean.system.atomic import publish, sweep
from deepclean.system.clock import gps_now
from deepclean.system.lock import OutputLock
from deepclean.system.logs import Transitions

_log = logging.getLogger(__name__)

_MOST = 4096
"""State vectors that are kept at most: where the thread hangs, the files are read later."""

DAY = 86400 * NS
"""Nanoseconds."""


class SegmentFiles:
    """Writes the days' files while it is entered, where the configuration names a directory.

    A failure never reaches the work loop. It is logged once, and tried again with the next frames.

    Args:
        config: the run's configuration.
        pause: seconds after every frame that is read.

    Attributes:
        failures: number of failed attempts, by the operating system's error.
    """

    def __init__(self, config: Config, *, pause: float = 0.002) -> None:
        output, settings = config.output, config.output.segments
        self._interferometer = config.interferometer
        self._channel = state_vector(config.interferometer)
        self._source, self._description = output.directory, output.description
        self._every, self._good, self._form = settings.every * NS, settings.state, settings.format
        self._directory = settings.directory
        self._pause, self._reached = pause, -1
        self._seen: list[Span] = []
        """The time of the frames that were read."""
        self._told: dict[FrameName, Series] = {}
        """The state vectors of frames of this run that are still to be added."""
        self._unreadable: set[FrameName] = set()
        """The frames that could not be read so far: the system may refuse them only now."""
        self._days: dict[int, StateSegments] = {}
        """By the start of a day (GPS ns) its segments, of the days that are still to grow."""
        self._unwritten: set[int] = set()
        """The starts of the days that have grown since their files were written."""
        self.failures: Counter[str] = Counter()
        self._said = Transitions(_log)
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
        if self._directory is not None:
            self._lock = OutputLock(self._directory, f"{output.description}_SEGMENTS")

    def __enter__(self) -> Self:
        if self._directory is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is there, and stop."""
        self._stopped.set()
        self._wake.set()
        if self._directory is None:
            return
        self._thread.join(timeout=2.0)  # where a disk hangs it ends with the process
        if not self._thread.is_alive():
            self.close()

    def close(self) -> None:
        """Let others write under these names."""
        self._lock.__exit__()

    def appeared(self, name: FrameName, channels: Mapping[str, Series]) -> None:
        """Note a frame that was written; wake the thread where a file is due.

        Args:
            name: of its file.
            channels: of the frame.
        """
        state = channels[self._channel]
        # Of a file that is filled in part others may follow: it is read when its turn comes.
        if self._directory is not None and state.span == name.span and len(self._told) < _MOST:
            self._told[name] = state
        reached = name.span.end // self._every
        if reached != self._reached:
            self._reached = reached
            self._wake.set()

    def round(self) -> bool:
        """Read the frames that are new and write their days' files; return whether that worked."""
        if self._directory is None:
            return True
        try:
            self._update(self._directory)
        except Exception as error:  # noqa: BLE001  (whatever it is, cleaning goes on)
            expected = isinstance(error, OutputError | OSError)
            self.failures[errorcode.get(getattr(error, "errno", None) or 0, "unknown")] += 1
            self._said.failed(
                "files", f"the segments are not written: {error}", error, brief=expected
            )
            return False
        self._said.works("files", "the segments are written again")
        return True

    def _run(self) -> None:
        while True:
            self._wake.clear()
            stopped = self._stopped.is_set()
            self.round()
            if stopped:
                return
            self._wake.wait()

    def _update(self, directory: Path) -> None:
        """Read the frames that are new and write the files of their days."""
        directory.mkdir(parents=True, exist_ok=True)
        self._lock.hold()
        # A frame of the future is of another run, or of a clock that was wrong.
        limit = max(gps_now() + FAR, (self._reached + 1) * self._every)
        names = [n for n in held(self._source, self._description) if n.span.end <= limit]
        if not names:
            return
        for start in sorted({day for name in names for day in _days(name.span)} - {*self._days}):
            self._begin(directory, start)
        found = StateSegments()
        new = [name for name in names if not any(seen.covers(name.span) for seen in self._seen)]
        found.add(*(one for name in new if (one := self._read(name)) is not None))
        for start in {day for span in found.known for day in _days(span)}:
            self._days[start].add(found.within(Span(start, start + DAY)))
            self._unwritten.add(start)
        self._seen = union(self._seen, found.known)
        for start in sorted(self._unwritten):
            content = serialise(self._days[start], self._interferometer, self._good, self._form)
            publish(self._path(directory, start), content)
            self._unwritten.remove(start)
        # What is gone from the output directory is asked for no more.
        oldest = names[0].span.start
        self._seen = [span for span in self._seen if span.end > oldest]
        self._unreadable &= {*names}
        for name in [name for name in list(self._told) if name.span.end <= oldest]:
            del self._told[name]
        for start in [day for day in self._days if day + DAY <= oldest]:
            del self._days[start]

    def _begin(self, directory: Path, start: int) -> None:
        """Go on with a day's file where there is one."""
        path = self._path(directory, start)
        sweep(directory, f"{self._description}_SEGMENTS")
        self._days[start] = StateSegments()
        if not path.exists():
            return
        try:
            self._days[start] = parse(path).within(Span(start, start + DAY))
        except InputError as fault:
            _log.warning("the day's segments begin anew: %s", fault)
        self._seen = union(self._seen, self._days[start].known)

    def _read(self, name: FrameName) -> StateSegments | None:
        """Return the segments of a frame; None where it cannot be read."""
        told = self._told.pop(name, None)
        if told is not None:
            return segments_of(told)
        self._stopped.wait(self._pause)
        try:
            read = read_frames(DataFile(self._source / str(name), name.span, ()), self._channel)
        except InputError as fault:
            if name not in self._unreadable:
                _log.warning("left out of the segments: %s", fault)
            self._unreadable.add(name)
            return None
        self._unreadable.discard(name)
        return read

    def _path(self, directory: Path, start: int) -> Path:
        site, extension = self._interferometer[0], "xml" if self._form == "xml" else "h5"
        name = f"{site}-{self._description}_SEGMENTS-{start // NS}-{DAY // NS}.{extension}"
        return directory / name


def _days(span: Span) -> list[int]:
    """Return the starts of the days that a span touches, GPS nanoseconds."""
    return list(range(span.start // DAY * DAY, span.end, DAY))
