"""Know which frame files of one stream lie in a directory, as they come.

Correctness rests on looking: the expected next name is probed at every poll, the directory listed
every so often. The operating system's events are a hint that makes it faster (io.watch); lost,
doubled or absent they change nothing. Files are advanced through by GPS, never by arrival.

A file that is of no use any more is ignored and counted, once: `late` where its time was given up
before it came, `duplicate` where another file of that time was taken or came first. Whether a file
of a known name is another one, its inode says. What is not of the stream (temporaries, other
descriptions, no frame names) shares the directory by right and is not counted.
"""

from __future__ import annotations

import math
import os
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from deepclean.core.time import NS, Span
from deepclean.io.t050017 import FrameName
from deepclean.system.clock import Clock, gps_now

_HINTS = 10_000
"""Hints that are held at most; a listing finds what the others told of."""

_TAKEN = 1000
"""Stretches without a hole that were taken and are remembered."""

_UNLISTED = 600 * NS
"""How far behind a file that no listing has shown (a network file system's may be old) is known."""


_FUTURE = 3600 * NS
"""How far ahead of the wall clock a file may lie and still be the stream's."""


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
        """What the next file is expected to be called like."""
        self._taken: deque[Span] = deque(maxlen=_TAKEN)
        self._began: int | None = None
        self._settled = 0

    def notice(self, filename: str) -> None:
        """Hint that a file of this name appeared. May be called from any thread."""
        if self._hints.qsize() < _HINTS:
            self._hints.put((filename, self._clock.monotonic()))

    def poll(self, expected: int) -> None:
        """Look again.

        Args:
            expected: GPS nanoseconds at which the next wanted file starts; that name is probed.
        """
        while True:
            try:
                self._see(*self._hints.get_nowait())
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
        except OSError:  # not there (yet, or for now): the next listing sees it
            self._listed = self._listed if first else now
            return
        self._listed = now
        self._known = {n: i for n, i in self._known.items() if n in found or self._awaits(n)}
        for filename, inode in found.items():
            self._see(filename, -math.inf if first else now, inode)
        if first and self._files:
            # The newest may have come this moment: its companions get their time.
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
        """Return where the known files start (GPS nanoseconds), in order."""
        return sorted(self._credible())

    def after(self, instant: int) -> FrameName | None:
        """Return the first known file that starts after `instant`."""
        later = [start for start in self._credible() if start > instant]
        return self._files[min(later)] if later else None

    def noticed(self, name: FrameName) -> float:
        """Return when a known file was first seen (monotonic seconds; -inf: before our time)."""
        return self._noticed[name.span.start]

    def path(self, name: FrameName) -> Path:
        """Return where a file lies."""
        return self.directory / str(name)

    def mark_read(self, name: FrameName) -> None:
        """Note that a file was read: others of the same time are duplicates."""
        for other in [n for n in self._files.values() if n != name and name.span.covers(n.span)]:
            if not self._is_taken(other.span):
                self.ignored["duplicate"] += 1
            del self._files[other.span.start], self._noticed[other.span.start]
        self._like = name
        self._known[str(name)] = None  # it may have been made anew since the last listing
        if self._taken and self._taken[-1].start <= name.span.start <= self._taken[-1].end:
            last = self._taken.pop()
            self._taken.append(Span(last.start, max(last.end, name.span.end)))
        elif not self._is_taken(name.span):
            self._taken.append(name.span)

    def settle(self, instant: int) -> None:
        """Note that time before `instant` (GPS nanoseconds) is decided: what comes now is late.

        What lies before the first such instant was never waited for, and is not counted.
        """
        if self._began is None:
            self._began = instant
        self._settled = max(self._settled, instant)

    def drop_before(self, instant: int) -> None:
        """Forget the files that end at or before `instant`."""
        for start in [s for s, name in self._files.items() if name.span.end <= instant]:
            del self._files[start], self._noticed[start]

    def _credible(self) -> Collection[int]:
        """Return where the known files start, without those from the future.

        A misnamed file must not draw the stream after it. Where all are, the clock is wrong.
        """
        limit = self._today() + _FUTURE
        return [start for start in self._files if start <= limit] or self._files

    def _see(self, filename: str, noticed: float, inode: int | None = None) -> None:
        """Take note of a file that a hint, the probe or a listing shows.

        Args:
            filename: any.
            noticed: when.
            inode: where a listing shows it.
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
            self._like = self._like if self._taken else name

    def _parse(self, filename: str) -> FrameName | None:
        name = FrameName.parse(filename)
        if name is None or name.extension != "gwf":
            return None
        if self._description is not None and name.description != self._description:
            return None
        return name

    def _ignores(self, name: FrameName, noticed: float) -> bool:
        """Return whether a file is of no use; count it where it came in our time."""
        if self._began is not None and name.span.end <= self._began:
            return True
        if self._is_taken(name.span) or self._files.get(name.span.start, name) != name:
            reason = "duplicate"
        elif name.span.end <= self._settled:
            reason = "late"
        else:
            return False
        if math.isfinite(noticed):
            self.ignored[reason] += 1
        return True

    def _is_taken(self, span: Span) -> bool:
        return any(taken.covers(span) for taken in self._taken)

    def _awaits(self, filename: str) -> bool:
        """Return whether a known file that a listing does not show may be shown by the next."""
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
            self._see(str(name), self._clock.monotonic())
