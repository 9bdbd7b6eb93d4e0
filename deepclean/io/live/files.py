"""The frame files of some directories, read as they come; witnesses in files of their own.

Waiting is all that a live run does to its files; io.reader reads them, as it does for a history.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from deepclean.core.block import Gap
from deepclean.core.time import NS, Span
from deepclean.io.channels import Reading
from deepclean.io.live.run import LiveRun
from deepclean.io.reader import Reader
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.telemetry.counters import Result, Stream

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AwaitedFiles:
    """Files that are waited for together.

    Args:
        run: the limits and accounts.
        tails: of the directories.
        wanted: full names of the channels.
        stream: what they are counted as, where they are counted.
    """

    run: LiveRun
    tails: Sequence[FrameTail]
    wanted: frozenset[str]
    stream: Stream | None = None
    _reader: Reader = field(init=False)
    _holds: dict[tuple[FrameTail, str], bool] = field(default_factory=dict)
    """Whether the file read last of a directory's stream holds any wanted channel."""

    def __post_init__(self) -> None:
        timed = partial(self.run.timings.stage, "read")
        self._reader = Reader(checksum=self.run.checksum, timed=timed)
        for tail in self.tails:
            tail.ignored = self.run.ignored

    def announce(self) -> None:
        """Say of each directory what is waited for in it, and what is there or why it is closed."""
        for tail in self.tails:
            level = logging.INFO if tail.is_open() else logging.WARNING
            _log.log(level, "%s", tail.describe())

    def begin(self, resume: int | None) -> None:
        """Begin: leave out the files of a former pass, where the stream has begun again."""
        if resume is not None:
            for tail in self.tails:
                tail.forget_former(resume)

    def read(self, span: Span) -> Reading:
        """Return the channels over a span, from the files that are there."""
        files = [tail.file(name) for tail in self.tails for name in tail.within(span)]
        files.sort(key=lambda file: file.order)
        return self._reader.read(files, self.wanted, span)

    def load(self, tail: FrameTail, name: FrameName, instant: int) -> Reading:
        """Read what a file holds about an instant."""
        file = tail.file(name)
        reading = self._reader.load(
            file, self.wanted, Span(instant, min(instant + NS, file.span.end))
        )
        if reading.readable:
            self._holds[tail, name.description] = any(reading.pieces.values())
            if tail.mark_read(name) and self.stream is not None:
                self.run.counts[self.stream, "taken"] += 1
        return reading

    def await_files(self, span: Span, since: float) -> list[FrameTail]:
        """Wait until every directory has all of a span; return those that have not in time.

        Args:
            span: to be covered.
            since: monotonic seconds from which the deadline counts.
        """
        while late := [tail for tail in self.tails if self.is_outstanding(tail, span)]:
            if self.run.clock.monotonic() - since >= self.run.deadline or self.run.stopped():
                break
            self.run.wait()
        for tail in late:
            tail.rescan()  # its name may be another than the expected one
        return [tail for tail in late if self.is_outstanding(tail, span)]

    def is_outstanding(self, tail: FrameTail, span: Span) -> bool:
        """Return whether files of a directory are still to come that may have what is lacking."""
        tail.poll(span.start // NS * NS)
        streams = tail.streams(span.start)
        complete = bool(streams)
        for stream in sorted(streams):
            instant = span.start
            while instant < span.end:
                tail.poll(instant // NS * NS)
                names = (
                    name
                    for name in tail.within(Span(instant, instant + 1))
                    if name.description == stream and self.load(tail, name, instant).readable
                )
                name = next(names, None)
                if name is None:
                    complete = complete and not self._holds.get((tail, stream), True)
                instant = instant // NS * NS + NS if name is None else name.span.end
        return not complete and not self._answered(tail, span)

    def _answered(self, tail: FrameTail, span: Span) -> bool:
        """Return whether the files that are there have all that is wanted of a directory."""
        files = [tail.file(name) for name in tail.within(span)]
        pieces = self._reader.read(files, self.wanted, span).pieces.values()
        return not any(isinstance(piece, Gap) for found in pieces for piece in found)

    def settle(self, instant: int, *, rescan: bool = False) -> None:
        """Note that files that come from now on and end before an instant are late.

        Args:
            instant: GPS nanoseconds. What was read before it is dropped.
            rescan: list the directories first, where not every file was asked for by its name.
        """
        self._reader.drop_before(instant)
        for tail in self.tails:
            if rescan:
                tail.rescan()
            tail.settle(instant)
            # A file may still hold what comes next; a history is given again of what is there.
            tail.drop_before(instant - self.run.history)


class WitnessFiles(AwaitedFiles):
    """Witnesses in files of their own: they are waited for until a deadline after the strain.

    Args:
        run: the limits and accounts.
        tails: of the directories.
    """

    def __init__(self, run: LiveRun, tails: Sequence[FrameTail]) -> None:
        AwaitedFiles.__init__(self, run, tails, frozenset(run.channels.witnesses), "witnesses")
        self._missed: dict[FrameTail, int] = {}
        """The second that was counted as missing last, by directory."""
        self._said: set[FrameTail] = set()
        self._lacking: float | None = None

    def read(self, span: Span) -> Reading:
        """Return the witnesses over a span, from the files that are there."""
        for tail in self.tails:
            tail.poll(span.start // NS * NS)
        return AwaitedFiles.read(self, span)

    def await_span(self, span: Span, since: float) -> None:
        """Wait until every directory has all of a span, at most until the deadline."""
        late, second = self.await_files(span, since), span.start // NS
        for tail in late:
            there = tail.at(span.start) is not None
            result: Result = "unreadable" if there else "missing"
            self.run.counts["witnesses", result] += self._missed.get(tail) != second
            self._missed[tail] = second
            if not there and tail not in self._said:
                _log.warning("%s", tail.describe())
        self._said = set(late)
        now = self.run.clock.monotonic()
        self._lacking = (self._lacking or now) if late else None
        self.run.waiting["witnesses"] = 0.0 if self._lacking is None else now - self._lacking
