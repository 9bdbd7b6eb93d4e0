"""Which frame files of one stream lie in a directory, as they come.

Every poll asks for the expected next file by its name, and the directory is listed once a second.
That alone finds every file. The operating system's events make it faster (io.watch); where an event
is lost, doubled or absent, nothing else changes. Files are read in GPS order, whenever they came.

A file that is of no use any more is ignored and counted, once: `late` where its time was given up
before it came, `duplicate` where another file of that time was read or came first. The inode tells
whether a file of a known name is another one. What is not of the stream (temporaries, other
descriptions, other names) may share the directory and is not counted.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from deepclean.core.segments import union
from deepclean.core.time import NS, Span
from deepclean.io.t050017 import FrameName
from deepclean.system.clock import Clock, gps_now

_HINTS = 10_000
"""Largest number of hints that wait; a listing finds the files of the others."""

_READ = 1000
"""Largest number of stretches without a hole that are known to have been read."""

_UNLISTED = 600 * NS
"""A file that no listing shows (a network file system's may be old) stays known for this long."""

_FUTURE = 3600 * NS
"""A file that lies further ahead of the wall clock than this is misnamed."""


class FrameTail:
    """The frame files of one directory, by GPS time.

    Args:
        directory: may not exist yet, or vanish for a while.
        description: only files of this description; None: of any.
        clock: for the intervals between listings.
        relist: seconds between listings of the whole directory.
        today: the wall clock's GPS nanoseconds.

    Attributes:
        ignored: files passed over, by reason; may be shared between tails.
    """

    def __init__(
        self,
        directory: Path,
        description: str | None,
        clock: Clock,
        *,
        relist: float = 1.0,
        today: Callable[[], int] = gps_now,
    ) -> None:
        self.directory = directory
        self.ignored: Counter[str] = Counter()
        self._description = description
        self._clock = clock
        self._relist = relist
        self._today = today
        self._listed = -math.inf
        self._hints: SimpleQueue[tuple[str, float]] = SimpleQueue()
        self._files: dict[int, FrameName] = {}
        self._noticed: dict[int, float] = {}
        self._known: dict[str, int | None] = {}
        """File names of the stream in the directory, with their inodes once listed."""
        self._like: FrameName | None = None
        """A name with the site, the description and the duration of the next file's."""
        self._read: list[Span] = []
        self._began: int | None = None
        self._settled = 0

    def notice(self, filename: str) -> None:
        """Put a hint that a file of this name appeared. May be called from any thread."""
        if self._hints.qsize() < _HINTS:
            self._hints.put((filename, self._clock.monotonic()))

    def poll(self, expected: int) -> None:
        """Work off the hints, then list the directory or ask for the expected file.

        Args:
            expected: GPS nanoseconds at which the next wanted file starts.
        """
        while True:
            try:
                self._note(*self._hints.get_nowait())
            except Empty:
                break
        if self._clock.monotonic() - self._listed >= self._relist:
            self.rescan()
        elif expected not in self._files:
            self._probe(expected)

    def rescan(self) -> None:
        """List the directory."""
        now = self._clock.monotonic()
        first = math.isinf(self._listed)
        try:
            with os.scandir(self.directory) as entries:
                found = {entry.name: entry.inode() for entry in entries}
        except OSError:  # not there (yet, or for now): the next listing shows it
            self._listed = self._listed if first else now
            return
        self._listed = now
        self._known = {n: i for n, i in self._known.items() if n in found or self._awaits(n)}
        for filename, inode in found.items():
            self._note(filename, -math.inf if first else now, inode)
        if first and self._files:
            # The newest may have come this moment: the other stream's file gets its time.
            self._noticed[max(self._credible())] = now

    def at(self, instant: int) -> FrameName | None:
        """Return the known file whose span holds `instant` (GPS nanoseconds)."""
        if instant in self._files:
            return self._files[instant]
        for name in self._files.values():
            if name.span.start <= instant < name.span.end:
                return name
        return None

    def starts(self) -> list[int]:
        """Return the starts of the known files (GPS nanoseconds), in order."""
        return sorted(self._credible())

    def after(self, instant: int) -> FrameName | None:
        """Return the first known file that starts after `instant`."""
        later = [start for start in self._credible() if start > instant]
        return self._files[min(later)] if later else None

    def noticed(self, name: FrameName) -> float:
        """Return when a known file was noticed (monotonic seconds; -inf: before the start)."""
        return self._noticed[name.span.start]

    def path(self, name: FrameName) -> Path:
        """Return the path of a file."""
        return self.directory / str(name)

    def mark_read(self, name: FrameName) -> None:
        """Note that a file was read: others of the same time are duplicates."""
        for other in [n for n in self._files.values() if n != name and name.span.covers(n.span)]:
            if not self._is_read(other.span):
                self.ignored["duplicate"] += 1
            del self._files[other.span.start], self._noticed[other.span.start]
        self._like = name
        self._known[str(name)] = None  # it may have been made anew since the last listing
        self._read = union(self._read, [name.span])[-_READ:]

    def settle(self, instant: int) -> None:
        """Note that the time before `instant` (GPS nanoseconds) is decided: its files are late.

        Files before the first such instant were never waited for and are not counted.
        """
        if self._began is None:
            self._began = instant
        self._settled = max(self._settled, instant)

    def drop_before(self, instant: int) -> None:
        """Drop the files that end at or before `instant`."""
        for start in [s for s, name in self._files.items() if name.span.end <= instant]:
            del self._files[start], self._noticed[start]

    def _credible(self) -> Collection[int]:
        """Return the starts of the known files, without those in the future.

        A misnamed file must not draw the stream after it. Where all files lie in the future, the
        clock is wrong.
        """
        limit = self._today() + _FUTURE
        return [start for start in self._files if start <= limit] or self._files

    def _note(self, filename: str, noticed: float, inode: int | None = None) -> None:
        """Note a file that a hint, a question or a listing shows.

        Args:
            filename: any name.
            noticed: monotonic seconds.
            inode: its inode, where a listing shows it.
        """
        if filename in self._known:
            before = self._known[filename]
            if inode is None or inode == before:
                return
            self._known[filename] = inode
            if before is None:
                return
        name = self._parse(filename)
        if name is None:
            return
        self._known[filename] = inode
        if not self._ignores(name, noticed):
            self._files.setdefault(name.span.start, name)
            self._noticed.setdefault(name.span.start, noticed)
            self._like = self._like if self._read else name

    def _parse(self, filename: str) -> FrameName | None:
        name = FrameName.parse(filename)
        if name is None or name.extension != "gwf":
            return None
        if self._description is not None and name.description != self._description:
            return None
        return name

    def _ignores(self, name: FrameName, noticed: float) -> bool:
        """Return whether a file is of no use; count it where it came after the start."""
        if self._began is not None and name.span.end <= self._began:
            return True
        if self._is_read(name.span) or self._files.get(name.span.start, name) != name:
            reason = "duplicate"
        elif name.span.end <= self._settled:
            reason = "late"
        else:
            return False
        if math.isfinite(noticed):
            self.ignored[reason] += 1
        return True

    def _is_read(self, span: Span) -> bool:
        return any(read.covers(span) for read in self._read)

    def _awaits(self, filename: str) -> bool:
        """Return whether the next listing may show a known file that this one does not show."""
        name = self._parse(filename)
        unlisted = self._known[filename] is None
        return unlisted and name is not None and name.span.end > self._settled - _UNLISTED

    def _probe(self, expected: int) -> None:
        if self._like is None or expected % NS:
            return
        like = self._like
        name = FrameName(like.site, like.description, expected // NS, like.duration)
        with suppress(OSError):
            self.path(name).stat()
            self._note(str(name), self._clock.monotonic())
