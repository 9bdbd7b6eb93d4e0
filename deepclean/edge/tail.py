"""Know which frame files of one stream lie in a directory, as they come.

Correctness rests on looking: the expected next name is probed at every poll, the directory listed
every so often. The operating system's events are a hint that makes it faster (edge.watch); lost,
doubled or absent they change nothing. Files are advanced through by GPS, never by arrival.
"""

from __future__ import annotations

import math
from pathlib import Path
from queue import Empty, SimpleQueue

from deepclean.core.time import NS
from deepclean.edge.clock import Clock
from deepclean.edge.names import FrameName


class FrameTail:
    """The frame files of one directory, by GPS time.

    Args:
        directory: may not exist yet, or vanish for a while.
        description: only files of this description; None: of any.
        clock: for the intervals between listings.
        relist: seconds between listings of the whole directory.
    """

    def __init__(
        self, directory: Path, description: str | None, clock: Clock, *, relist: float = 1.0
    ) -> None:
        self.directory = directory
        self._description = description
        self._clock = clock
        self._relist = relist
        self._listed = -math.inf
        self._hints: SimpleQueue[tuple[str, float]] = SimpleQueue()
        self._files: dict[int, FrameName] = {}
        self._noticed: dict[int, float] = {}
        self._duration = 1

    def notice(self, filename: str) -> None:
        """Hint that a file of this name appeared. May be called from any thread."""
        self._hints.put((filename, self._clock.monotonic()))

    def poll(self, expected: int) -> None:
        """Look again.

        Args:
            expected: GPS nanoseconds at which the next wanted file starts; that name is probed.
        """
        while True:
            try:
                self._add(*self._hints.get_nowait())
            except Empty:
                break
        now = self._clock.monotonic()
        if now - self._listed >= self._relist:
            self._list(now)
        elif expected not in self._files:
            self._probe(expected)

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
        return sorted(self._files)

    def after(self, instant: int) -> FrameName | None:
        """Return the first known file that starts after `instant`."""
        later = [start for start in self._files if start > instant]
        return self._files[min(later)] if later else None

    def noticed(self, name: FrameName) -> float:
        """Return when a known file was first seen (monotonic seconds; -inf: before our time)."""
        return self._noticed[name.span.start]

    def path(self, name: FrameName) -> Path:
        """Return where a file lies."""
        return self.directory / str(name)

    def drop_before(self, instant: int) -> None:
        """Forget the files that end at or before `instant`."""
        for start in [s for s, name in self._files.items() if name.span.end <= instant]:
            del self._files[start], self._noticed[start]

    def _add(self, filename: str, noticed: float | None = None) -> None:
        name = FrameName.parse(filename)
        if name is None or name.extension != "gwf":
            return
        if self._description is not None and name.description != self._description:
            return
        if name.span.start not in self._files:
            self._files[name.span.start] = name
            self._noticed[name.span.start] = self._clock.monotonic() if noticed is None else noticed
            self._duration = name.duration

    def _list(self, now: float) -> None:
        first = math.isinf(self._listed)
        self._listed = now
        try:
            names = [path.name for path in self.directory.iterdir()]
        except OSError:
            return  # not there (yet, or for now): the next listing sees it
        if not first:
            for filename in names:
                self._add(filename)
            return
        for filename in names:
            self._add(filename, -math.inf)
        if self._files:
            # The newest may have come this moment: its companions get their time.
            self._noticed[max(self._files)] = now

    def _probe(self, expected: int) -> None:
        if not self._files or expected % NS:
            return
        sample = next(iter(self._files.values()))
        name = FrameName(sample.site, sample.description, expected // NS, self._duration)
        if self.path(name).exists():
            self._add(str(name))
