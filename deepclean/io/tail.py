"""Which frame files lie in a directory, as they come.

Every poll asks for the expected next file by its name, and the directory is listed once a second.
That alone finds every file. The operating system's events make it faster (io.watch); where an event
is lost, doubled or absent, nothing else changes. Files are read in GPS order, whenever they came.

A directory may hold several streams: files of one description each. A file that is of no use any
more is ignored and counted, once: `late` where its time was given up before it came, `duplicate`
where another file of its stream and time was read, `misnamed` where it holds another time than its
name says. The inode tells whether a file of a known name is another one. What is not wanted
(temporaries, other descriptions, other names) may share the directory and is not counted.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from queue import Empty, SimpleQueue

from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.io.catalogue import DataFile
from deepclean.io.t050017 import FrameName
from deepclean.system.clock import Clock

_HINTS = 10_000
"""Largest number of hints that wait; a listing finds the files of the others."""

_READ = 1000
"""Largest number of stretches without a hole that are known to have been read."""

_UNLISTED = 600 * NS
"""A file that no listing shows (a network file system's may be old) stays known for this long."""

_EARLIER = 4
"""Files far before what is decided that are remembered."""

_NAMED = 5
"""Streams that a message names."""

FAR = 60 * NS
"""Nanoseconds by which a file may lie beside the stream before it has to be confirmed (io.live)."""


class FrameTail:
    """The frame files of one directory, by GPS time, the longest first, then by name.

    Args:
        directory: may not exist yet, or vanish for a while.
        description: only files of this description; None: of any.
        clock: for the intervals between listings.
        relist: seconds between listings of the whole directory.

    Attributes:
        ignored: files passed over, by reason; may be shared between tails.
        earlier: files that came since the start and lie far before what is decided, in the order
            in which they came: the stream may have begun again.
    """

    def __init__(
        self,
        directory: Path,
        description: str | None,
        clock: Clock,
        *,
        relist: float = 1.0,
    ) -> None:
        self.directory = directory
        self.description = description
        self.ignored: Counter[str] = Counter()
        self.earlier: list[FrameName] = []
        self._clock = clock
        self._relist = relist
        self._listed = -math.inf
        self._hints: SimpleQueue[tuple[str, float]] = SimpleQueue()
        self._files: dict[FrameName, float] = {}
        """The files to be read, each with the time at which it was noticed."""
        self._sorted: list[FrameName] = []
        """The same in the order of io.reader."""
        self._longest = 0
        self._known: dict[str, int | None] = {}
        """Wanted file names in the directory, with their inodes once listed."""
        self._like: dict[str, FrameName] = {}
        """By stream, the name of the last file that was read, or seen before any was."""
        self._taken: set[FrameName] = set()
        """Files that were read and may still hold what comes next."""
        self._read: dict[str, list[Span]] = {}
        """By stream, the time of the files that were read and lie behind."""
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
        else:
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
        for filename, inode in sorted(found.items()):  # mostly in order of time
            self._note(filename, -math.inf if first else now, inode)
        if first and self._files:
            # The newest may have come this moment: the other stream's file gets its time.
            newest = max(name.start for name in self._files)
            self._files |= {name: now for name in self._files if name.start == newest}

    def names(self) -> Sequence[FrameName]:
        """Return the known files, in the order of io.reader."""
        return self._sorted

    def within(self, span: Span) -> list[FrameName]:
        """Return the known files that hold some of a span, in the order of io.reader."""
        return [name for name in self._near(span) if name.span.overlap(span) is not None]

    def at(self, instant: int) -> FrameName | None:
        """Return the first known file whose span holds `instant` (GPS nanoseconds)."""
        return next(iter(self.within(Span(instant, instant + 1))), None)

    def after(self, instant: int) -> Sequence[FrameName]:
        """Return the known files that start after `instant`."""
        return self._sorted[bisect_right(self._sorted, instant // NS, key=_start) :]

    def streams(self, instant: int) -> set[str]:
        """Return the descriptions of which there are files near an instant."""
        near, found = Span(instant - FAR, instant + FAR), set[str]()
        for name in (*self._like.values(), *self._near(near)):
            if name.description not in found and name.span.overlap(near) is not None:
                found.add(name.description)
        return found

    def noticed(self, name: FrameName) -> float:
        """Return when a known file was noticed (monotonic seconds; -inf: before the start)."""
        return self._files[name]

    def file(self, name: FrameName) -> DataFile:
        """Return a file as a history would list it."""
        stream = (str(self.directory), name.site, name.description, name.extension)
        return DataFile(self.path(name), name.span, stream)

    def path(self, name: FrameName) -> Path:
        """Return the path of a file."""
        return self.directory / str(name)

    def mark_read(self, name: FrameName) -> bool:
        """Note that a file was read; return whether it is the first time.

        Others of its stream and time are duplicates once that time is decided.
        """
        if name in self._taken:
            return False
        self._taken.add(name)
        self._like[name.description] = name
        self._known[str(name)] = None  # it may have been made anew since the last listing
        return True

    def discard(self, name: FrameName) -> None:
        """Ignore a file that holds another time than its name says."""
        self._forget([name])
        self.ignored["misnamed"] += 1

    def settle(self, instant: int) -> None:
        """Note that the time before `instant` (GPS nanoseconds) is decided: its files are late.

        Files before the first such instant were never waited for and are not counted.
        """
        if self._began is None:
            self._began = instant
        self._settled = max(self._settled, instant)
        for taken in [name for name in self._taken if name.span.end <= instant]:
            self._taken.remove(taken)
            before = self._read.get(taken.description, [])
            others = (
                name
                for name in self.within(taken.span)
                if name.description == taken.description
                and taken.span.covers(name.span)
                and name not in {taken, *self._taken}
                and math.isfinite(self._files[name])
            )
            doubled = [name for name in others if not _covered(before, name.span)]
            if doubled:
                self.ignored["duplicate"] += len(doubled)
            self._read[taken.description] = union(before, [taken.span])[-_READ:]
        # In the quiet after a frame, so that the next one need not wait for a listing.
        if self._clock.monotonic() - self._listed >= self._relist / 2:
            self.rescan()

    def drop_before(self, instant: int) -> None:
        """Drop the files that end at or before `instant`."""
        if behind := [n for n in self._near(Span(0, instant)) if n.span.end <= instant]:
            self._forget(behind)

    def forget_former(self, instant: int) -> None:
        """Drop the files after an instant that were there before the file of that instant.

        Where a stream is played again its former pass lies in the directory still. When a file
        came, its inode tells: the name and the data are of the other pass.
        """
        first = self.at(instant)
        if first is None:
            return
        came = self._came(first)
        self._forget([name for name in self.after(instant) if self._came(name) < came])

    def is_open(self) -> bool:
        """Return whether the directory is there and can be listed."""
        return os.access(self.directory, os.R_OK | os.X_OK)

    def describe(self) -> str:
        """Return what is waited for, and what is there instead."""
        wanted = f"waiting for *-{self.description or '*'}-*.gwf in {self.directory}"
        try:
            with os.scandir(self.directory) as entries:
                found = [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            return f"{wanted}: {error.strerror}"
        names = [name for name in map(FrameName.parse, found) if name is not None]
        streams = Counter(f"{name.site}-{name.description}-*.{name.extension}" for name in names)
        there = [f"{count} files {stream}" for stream, count in streams.most_common(_NAMED)]
        other = len(found) - len(names)
        there += [f"{other} of other names"] if other else []
        return f"{wanted}; there are {', '.join(there)}" if there else f"{wanted}; it is empty"

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
            if name not in self._files:
                self._files[name] = noticed
                insort(self._sorted, name, key=_order)
            self._longest = max(self._longest, name.duration)
            if name.description not in self._read:
                self._like[name.description] = name

    def _came(self, name: FrameName) -> int:
        with suppress(OSError):
            return self.path(name).stat().st_ctime_ns
        return 0

    def _forget(self, names: Iterable[FrameName]) -> None:
        for name in names:
            del self._files[name]
        self._sorted = [name for name in self._sorted if name in self._files]

    def _near(self, span: Span) -> Sequence[FrameName]:
        """Return the known files that may hold some of a span, in the order of io.reader."""
        names = self._sorted
        first = bisect_left(names, span.start // NS - self._longest, key=_start)
        return names[first : bisect_left(names, -(-span.end // NS), key=_start)]

    def _parse(self, filename: str) -> FrameName | None:
        name = FrameName.parse(filename)
        if name is None or name.extension != "gwf":
            return None
        if self.description is not None and name.description != self.description:
            return None
        return name

    def _ignores(self, name: FrameName, noticed: float) -> bool:
        """Return whether a file is of no use; count it where it came after the start."""
        if math.isfinite(noticed) and name.span.end <= self._settled - FAR:
            self.earlier = [*self.earlier[1 - _EARLIER :], name]
        if self._began is not None and name.span.end <= self._began:
            return True
        if _covered(self._read.get(name.description, []), name.span):
            reason = "duplicate"
        elif name.span.end <= self._settled:
            reason = "late"
        else:
            return False
        if math.isfinite(noticed):
            self.ignored[reason] += 1
        return True

    def _awaits(self, filename: str) -> bool:
        """Return whether the next listing may show a known file that this one does not show."""
        name = self._parse(filename)
        unlisted = self._known[filename] is None
        return unlisted and name is not None and name.span.end > self._settled - _UNLISTED

    def _probe(self, expected: int) -> None:
        """Ask for the file of each stream that starts at an instant."""
        if expected % NS:
            return
        for like in self._like.values():
            name = FrameName(like.site, like.description, expected // NS, like.duration)
            if name in self._files:
                continue
            with suppress(OSError):
                self.path(name).stat()
                self._note(str(name), self._clock.monotonic())


_start = attrgetter("start")


def _order(name: FrameName) -> tuple[int, int, str]:
    """Return what the order of io.reader is by."""
    return name.start, -name.duration, str(name)


def _covered(spans: Iterable[Span], span: Span) -> bool:
    return any(read.covers(span) for read in spans)
