"""The live source: what a reader finds, as frames in order of time.

It advances by GPS. It waits for the next strain, and then until all its witnesses are there or
`deadline` has passed since the strain came. Strain that is absent while later strain exists is
waited for as long, then it is a gap. Whether it is read from frame files or from a stream of blocks
is the reader's matter (io.live.run).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError
from deepclean.io.live.run import Beginning, LiveReader, LiveRun
from deepclean.io.source import GapLog

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Overdue:
    """The look-ahead of the frames given so far did not come in time."""


@dataclass(slots=True)
class LiveSource:
    """Gives a running site's strain and witnesses.

    Args:
        run: the limits and accounts, shared with the reader.
        reader: finds and reads what comes.
        max_lag: nanoseconds behind the newest strain beyond which frames pass through until the
            newest is reached; None: everything is cleaned, however late.
        outputs: ends of the frames that are written already, in order. What lies far ahead of the
            stream is not taken for its output.
        resume: GPS nanoseconds from which frames are wanted, as a stream that has begun again says;
            None: from the end of the last output, or from the newest strain there is.

    Attributes:
        begins_again: where the stream has begun again; the events end there.
    """

    run: LiveRun
    reader: LiveReader
    max_lag: int | None = None
    outputs: Sequence[int] = ()
    resume: int | None = None
    begins_again: int | None = None
    _gaps: GapLog = field(default_factory=GapLog)
    _noted: list[Block] = field(default_factory=list)
    _faults: list[InputError] = field(default_factory=list)
    """What was given of the second that is not over, and the faults in it."""
    _last: int | None = None
    """The end of the wanted frames, once told to stop: the end of a second, as files have them."""

    def events(self) -> Iterator[InputFrame | Overdue]:
        """Yield frames in order of time, and once per lull that the look-ahead is overdue.

        Raises:
            InvalidError: the configuration is for another site, or a server refuses.
        """
        begun = self._begin()
        if begun is None:
            return
        wanted_from, cursor = begun.wanted, begun.history
        self.reader.settle(cursor, cursor)
        _log.info(
            "cleaning from GPS %s, history from GPS %s", format_gps(wanted_from), format_gps(cursor)
        )
        due: float | None = None
        self.run.turn()
        begun_at = cursor
        while not self.run.stopped():
            self._note_history(begun_at, cursor, wanted_from)
            found = self.reader.find(cursor)
            if found is None:
                if due is not None and self.run.clock.monotonic() >= due:
                    due = None
                    yield Overdue()
                silent = self.run.is_silent(self.reader.describe)
                if silent and (again := self.reader.begins_again()) is not None:
                    _log.warning("the stream begins again at GPS %s", format_gps(again))
                    self.begins_again = again
                    return
                self.run.wait()
                continue
            span, draining = found.span, self.run.draining()
            if found.absent:
                yield from self._absent(span, span.end if draining else wanted_from)
            else:
                span = _rest(span, wanted_from)
                wanted = span.start >= wanted_from and self._goes_on(span)
                if wanted and not draining and self._falls_behind(span):
                    cursor = yield from self._catch_up(span.start)
                    continue
                self.reader.await_others(span, found.arrived)
                yield from self._frames(span, wanted=wanted, arrived=found.arrived)
                if not self.run.draining():
                    due = self.run.clock.monotonic() + span.duration / NS + self.run.deadline
            cursor = span.end
            self.reader.settle(cursor, cursor, rescan=found.absent)
            self.run.turn()  # now, that the next frame need not wait for what is due

    def _note_history(self, begun: int, cursor: int, wanted: int) -> None:
        """Note how much of the history is read; where it is whole there is nothing to note."""
        self.run.history_read.clear()
        if cursor < wanted:
            read, whole = (cursor - begun) / NS, (wanted - begun) / NS
            self.run.history_read.update(read=read, whole=whole)

    def _begin(self) -> Beginning | None:
        """Wait for the first strain; return where to begin, or None where told to stop."""
        self.reader.announce()
        while not self.run.stopped():
            begun = self.reader.begin(self.outputs, self.resume)
            if begun is not None:
                self.run.began = self.run.clock.monotonic()
                return begun
            self.run.is_silent(self.reader.describe)
            self.run.wait()
        return None

    def _goes_on(self, span: Span) -> bool:
        """Return whether a frame is wanted, as far as it is for being told to stop."""
        if self._last is None and self.run.draining():
            self._last = -(-span.start // NS) * NS
        return self._last is None or span.start < self._last

    def _falls_behind(self, span: Span) -> bool:
        """Return whether the newest strain is more than `max_lag` ahead of this frame."""
        if self.max_lag is None:
            return False
        newest = self.reader.newest(span.start)
        return newest is not None and newest - span.start > self.max_lag

    def _catch_up(self, start: int) -> Generator[InputFrame, None, int]:
        """Let frames pass through up to the newest, then give the history before that again.

        Returns the instant from which on frames are cleaned. Time goes back only here, and only
        for frames that are not wanted.
        """
        _log.warning("GPS %s: too far behind; passing through", format_gps(start))
        cursor = again = start
        while not self.run.stopped() and not self.run.draining():
            found, newest = self.reader.find(cursor), self.reader.newest(cursor)
            if found is None or found.absent or newest is None or found.span.end > newest:
                break
            yield from self._frames(found.span, wanted=True, bypass=True)
            cursor = found.span.end
            again = max((cursor - self.run.history) // NS * NS, start)
            self.reader.settle(cursor, again)
            self.run.turn()
        self.reader.settle(cursor, again, rescan=True)
        _log.info("GPS %s: caught up; cleaning again", format_gps(cursor))
        for second in _seconds(again, cursor):
            if self.run.stopped():
                break
            self.run.turn()
            yield from self._frames(second, wanted=False)
        return cursor

    def _absent(self, span: Span, wanted_from: int) -> Iterator[InputFrame]:
        """Yield frames over a stretch without strain, with the witnesses that are there."""
        start, end = span.start, span.end
        # What is older than the history does not matter to later frames.
        near = max(start, end - -(-self.run.history // NS) * NS)
        if start < near:
            # What is lacking is said from the first second on.
            self._blocks(next(_seconds(start, end)))
        for low, high in pairwise(sorted({start, min(max(start, wanted_from), near), near})):
            gap = Gap(Span(low, high), "strain_missing")
            yield InputFrame(gap.span, [Block(gap.span, gap)], low >= wanted_from, bypass=True)
        for second in _seconds(near, end):
            if self.run.stopped():
                return
            self.run.turn()
            yield from self._frames(second, wanted=second.start >= wanted_from)

    def _frames(
        self, span: Span, *, wanted: bool, arrived: float | None = None, bypass: bool = False
    ) -> Iterator[InputFrame]:
        """Yield what is there over a span: a frame with strain as long as it can be, or a gap."""
        cells = groupby(self._blocks(span, bypass=bypass), self._cell)
        for _, group in groupby((list(cell) for _, cell in cells), _gap):
            given = [block for cell in group for block in cell]
            part = Span(given[0].span.start, given[-1].span.end)
            yield InputFrame(part, given, wanted, arrived, bypass)

    def _cell(self, block: Block) -> int:
        return block.span.start // self.reader.cell

    def _blocks(self, span: Span, *, bypass: bool = False) -> Sequence[Block]:
        """Return the blocks of a span; where a second is over, say what has samples in it."""
        reading, channels = self.reader.read(span), self.run.channels
        pieces = dict(reading.pieces)
        if bypass:
            pieces |= {name: [Gap(span, reasons.LATE)] for name in channels.witnesses}
        blocks = channels.blocks(span, pieces)
        if not bypass:
            self._noted += blocks
            self._faults += reading.faults
            if span.end % NS == 0:
                self._gaps.note(channels, self._noted, self._faults)
                self._noted, self._faults = [], []
        return blocks


def _seconds(start: int, end: int) -> Iterator[Span]:
    """Yield what is of each GPS second from one instant to another."""
    while start < end:
        following = min(start // NS * NS + NS, end)
        yield Span(start, following)
        start = following


def _gap(cell: Sequence[Block]) -> str | None:
    """Return why a cell has no strain, or not throughout; None: it has."""
    return next((b.strain.reason for b in cell if isinstance(b.strain, Gap)), None)


def _rest(span: Span, edge: int) -> Span:
    """Return a span at most to an edge that lies within: the last output may end there."""
    return Span(span.start, edge if span.start < edge < span.end else span.end)
