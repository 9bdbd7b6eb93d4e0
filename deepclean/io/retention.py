"""Retention: the newest files of a stream are kept, by number and by the age of their data."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.io.t050017 import FrameName

AT_ONCE = 2
"""Files that are deleted at one step. After a pause of the input all are too old at once: no frame
waits until hundreds are deleted, and a reader of the oldest has a while to finish."""

_UNDELETABLE = 1000
"""Largest number of names to be tried again; the next start finds further ones."""


def held(directory: Path, description: str) -> list[FrameName]:
    """Return the files of a description that lie in a directory, in order of time.

    Raises:
        OSError: the directory cannot be listed.
    """
    with os.scandir(directory) as entries:
        names = [FrameName.parse(entry.name) for entry in entries]
    mine = [n for n in names if n is not None and n.description == description]
    return sorted(mine, key=lambda name: name.start)


@dataclass(slots=True)
class Retention:
    """Deletes the oldest files of one description from a directory.

    What lies ahead of the file that was entered last is of another run, or of a clock that was
    wrong: it neither counts nor makes other files old, and goes when the stream has passed it.

    Every new file is a step. The directory is listed only at the start and where another directory
    has taken its place. A file that could not be written is a step too: a disk that is full of our
    own files empties.

    Args:
        directory: the directory of the files.
        description: their LIGO-T050017 description.
        count: keep this many of the newest; None: no such limit.
        age: nanoseconds from the end of a file's data to that of the file entered last, beyond
            which it is deleted; None: no such limit. A start deletes by number only: nothing says
            yet where the stream is.

    Raises:
        OSError: the directory cannot be listed.
    """

    directory: Path
    description: str
    count: int | None = None
    age: int | None = None
    _names: deque[FrameName] = field(init=False)
    _undeleted: deque[FrameName] = field(init=False)
    _place: tuple[int, int] = field(init=False)
    _reached: FrameName | None = None

    def __post_init__(self) -> None:
        self._undeleted = deque(maxlen=_UNDELETABLE)
        self._names, self._place = deque(), (0, 0)
        if self._limited:
            self._list()
            while self._excess():
                self._delete(self._names.popleft())

    def step(self, name: FrameName) -> None:
        """Enter a file, written or not, and delete the oldest beyond the limits.

        A file that cannot be deleted is tried again at later steps and holds up no other.
        """
        if not self._limited:
            return
        with suppress(OSError):  # then what is known stays
            self._list()
        self._enter(name)
        self._reached = name
        again = self._undeleted.popleft() if self._undeleted else None
        for _ in range(AT_ONCE):
            if self._excess():
                self._delete(self._names.popleft())
        if again is not None:
            self._delete(again)

    def allows(self, name: FrameName, newest: FrameName) -> bool:
        """Return whether a file would be kept that was written now.

        Args:
            name: of the file.
            newest: of the newest file that the stream allows; what lies ahead does not count.
        """
        newer = [each for each in self._names if name.start < each.start <= newest.start]
        if self.count is not None and len(newer) >= self.count:
            return False
        return not newer or not self._too_old(name, newer[-1])

    @property
    def _limited(self) -> bool:
        return self.count is not None or self.age is not None

    def _list(self) -> None:
        """List the directory, unless it is the one that was listed last."""
        try:
            status = self.directory.stat()
        except FileNotFoundError:
            place, names = (0, 0), []
        else:
            place = (status.st_dev, status.st_ino)
            if place == self._place:
                return
            names = held(self.directory, self.description)
        self._place, self._names = place, deque(names)
        self._undeleted.clear()

    def _enter(self, name: FrameName) -> None:
        if not self._names or self._names[-1].start < name.start:
            self._names.append(name)
        else:
            self._names = deque(sorted({*self._names, name}, key=lambda each: each.start))

    def _excess(self) -> bool:
        """Return whether the oldest file is beyond a limit. The newest never is."""
        reached, count = self._reached, len(self._names)
        if reached is not None:
            count = bisect_right(self._names, reached.start, key=lambda each: each.start)
        if count < 2:
            return False
        if self.count is not None and count > self.count:
            return True
        return reached is not None and self._too_old(self._names[0], reached)

    def _too_old(self, name: FrameName, newest: FrameName) -> bool:
        return self.age is not None and newest.span.end - name.span.end > self.age

    def _delete(self, name: FrameName) -> None:
        try:
            (self.directory / str(name)).unlink(missing_ok=True)
        except OSError:
            self._undeleted.append(name)
