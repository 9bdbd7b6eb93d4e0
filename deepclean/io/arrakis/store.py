"""The blocks of a stream that have come and are not given out yet, in order of time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepclean.core import reasons
from deepclean.core.align import Piece, fill
from deepclean.core.block import Gap, Series
from deepclean.core.time import Span

Taken = Literal["taken", "late", "duplicate"]
"""What became of a block: late, where its time was given out as a gap or is before the start;
duplicate, where it came before."""


_REMEMBERED = 4096
"""Blocks that were given out of which it is known."""


@dataclass(frozen=True, slots=True)
class StreamedChannel:
    """A channel as the server describes it.

    Args:
        rate: samples per second.
        stride: nanoseconds of a block.
        latency: nanoseconds after which the server gives up what was not published.
    """

    rate: float
    stride: int
    latency: int


@dataclass(frozen=True, slots=True, eq=False)
class StreamedBlock:
    """A block as it came.

    Args:
        span: of the block.
        pieces: by channel, its samples or a gap over the span.
        arrived: the monotonic clock, in seconds, when it came; None: it is of the past.
    """

    span: Span
    pieces: Mapping[str, Piece]
    arrived: float | None = None

    def has(self, channel: str) -> bool:
        """Return whether it has samples of a channel."""
        return isinstance(self.pieces.get(channel), Series)


@dataclass(slots=True)
class BlockStore:
    """Holds blocks until their time has been given out.

    >>> second = Span.of_seconds(7, 1)
    >>> store = BlockStore(settled=0)
    >>> store.push(StreamedBlock(second, {"A": Gap(second, "missing")}))
    'taken'
    >>> store.covers(Span.of_seconds(7, 2)), store.hole(Span.of_seconds(6, 1))
    (False, Span(start=6000000000, end=7000000000))
    >>> store.push(StreamedBlock(second, {}))
    'duplicate'

    Args:
        settled: GPS nanoseconds before which everything is given out.

    Attributes:
        began: the first such instant that was set: what is before it was never waited for.
    """

    settled: int
    began: int = 0
    _blocks: list[StreamedBlock] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _given: set[int] = field(default_factory=set)
    """The starts of the blocks that were given out last."""

    @property
    def end(self) -> int:
        """The end of the last block; where all is given out where there is none."""
        return self._blocks[-1].span.end if self._blocks else self.settled

    @property
    def first(self) -> int:
        """The start of the first block; where all is given out where there is none."""
        return self._starts[0] if self._starts else self.settled

    @property
    def last(self) -> int | None:
        """The start of the last block; None where there is none."""
        return self._starts[-1] if self._starts else None

    def __len__(self) -> int:
        return len(self._blocks)

    def push(self, block: StreamedBlock) -> Taken:
        """Take a block, wherever it belongs; tell what became of it."""
        start = block.span.start
        if start < self.settled:
            return "duplicate" if start in self._given else "late"
        at = bisect_left(self._starts, start)
        before, after = self._blocks[at - 1 : at], self._blocks[at : at + 1]
        if any(one.span.overlap(block.span) is not None for one in (*before, *after)):
            return "duplicate"
        self._starts.insert(at, start)
        self._blocks.insert(at, block)
        return "taken"

    def covers(self, span: Span) -> bool:
        """Return whether there are blocks over all of a span."""
        return self.hole(span) is None

    def hole(self, span: Span) -> Span | None:
        """Return the first stretch of a span over which there is no block, to the next block."""
        position = span.start
        for block in self._within(span):
            if block.span.start > position:
                break
            position = block.span.end
        if position >= span.end:
            return None
        following = bisect_left(self._starts, position)
        later = self._starts[following : following + 1]
        return Span(position, later[0] if later else span.end)

    def has_after(self, instant: int) -> bool:
        """Return whether there is a block that begins at or after an instant."""
        return bool(self._starts) and self._starts[-1] >= instant

    def pieces(self, wanted: Collection[str], span: Span) -> dict[str, list[Piece]]:
        """Return, for every wanted channel, pieces that fill the span; what never came is a gap."""
        blocks = self._within(span)
        if len(blocks) == 1 and blocks[0].span == span:
            held = blocks[0].pieces
            return {name: [held.get(name) or Gap(span, reasons.MISSING)] for name in wanted}
        return {
            name: fill([b.pieces[name] for b in blocks if name in b.pieces], span)
            for name in wanted
        }

    def arrived(self, span: Span) -> float | None:
        """Return when the last block of a span came; None: some are of the past, or never came."""
        found: list[float] = []
        for block in self._within(span):
            if block.arrived is None:
                return None
            found.append(block.arrived)
        return max(found, default=None)

    def settle(self, instant: int) -> None:
        """Note that everything before an instant is given out, and drop its blocks."""
        self.began = self.began or instant
        count = bisect_right([block.span.end for block in self._blocks], instant)
        self._given.update(self._starts[:count])
        if len(self._given) > _REMEMBERED:
            self._given = set(sorted(self._given)[-_REMEMBERED // 2 :])
        del self._blocks[:count], self._starts[:count]
        self.settled = max(self.settled, instant)

    def _within(self, span: Span) -> list[StreamedBlock]:
        first = max(bisect_right(self._starts, span.start) - 1, 0)
        last = bisect_left(self._starts, span.end)
        return [b for b in self._blocks[first:last] if b.span.overlap(span) is not None]
