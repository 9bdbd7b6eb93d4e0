"""What came of a stream, for the work loop: taken, asked for where it is lacking, or a gap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from deepclean.core.time import Span
from deepclean.io.arrakis.feed import StreamFeed
from deepclean.io.arrakis.store import BlockStore, StreamedBlock

_HELD = 1024
"""Blocks that are held before no more are taken, unless the next one is lacking."""


@dataclass(slots=True)
class StreamInbox:
    """The blocks of a feed, in order of time, each once.

    Args:
        feed: gives them.
        reach: nanoseconds of the past that are asked for at most; 0: none are.
        ignored: blocks that were passed over, by reason: `late` or `duplicate`.
    """

    feed: StreamFeed
    reach: int
    ignored: Counter[str] = field(default_factory=Counter)
    store: BlockStore = field(default_factory=lambda: BlockStore(0))
    _asked: int = 0
    """GPS nanoseconds up to which the past was asked for."""

    def begin(self, needed: str | None) -> int | None:
        """Take the first blocks; return the start of the first one that has a channel, or None.

        Before it the blocks that come are gaps, and nobody waits for them.

        Args:
            needed: the channel; None: any block is the first.

        Raises:
            InvalidError: as StreamFeed.take.
        """
        for block in self.feed.take():
            if len(self.store) or needed is None or block.has(needed):
                self._push(block)
        return self.store.first if len(self.store) else None

    def take(self, span: Span) -> list[StreamedBlock]:
        """Take what came, as far as there is room for it; return it.

        Args:
            span: what is needed next.

        Raises:
            InvalidError: as StreamFeed.take.
        """
        lacking = self.store.hole(span) is not None
        room = len(self.store) < _HELD or not self.store.has_after(span.end)
        taken = self.feed.take(live=room, past=lacking)
        for block in taken:
            self._push(block)
        return taken

    def _push(self, block: StreamedBlock) -> None:
        result = self.store.push(block)
        # What is asked for may reach beyond what is lacking; before the start nothing was wanted.
        counts = block.arrived is not None and block.span.start >= self.store.began
        if result != "taken" and counts:
            self.ignored[result] += 1

    def known_hole(self, span: Span) -> Span | None:
        """Return the first hole of a span, to the next block; None where there is none yet."""
        hole = self.store.hole(span)
        return None if hole is None or not self.store.has_after(hole.end) else hole

    def is_decided(self, span: Span) -> bool:
        """Return whether nothing more can come of a span; ask for what is lacking."""
        start = span.start
        while start < span.end and (hole := self.store.hole(Span(start, span.end))) is not None:
            if not self.store.has_after(hole.end) or self.feed.asking():
                return False
            if self._asked < hole.end and self.reach:
                self._asked = hole.end
                self.feed.ask(hole)
                return False
            start = hole.end
        return True
