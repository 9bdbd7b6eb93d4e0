"""Pair strain with witnesses by their time stamps, never by the order in which they arrived.

Strain and witnesses arrive in files of unequal length. The aligner keeps the witness pieces and
cuts a stretch of strain into blocks wherever a piece begins or ends, so in each block a witness has
all its samples or is a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series
from deepclean.core.time import Span


class Aligner:
    """Keeps witness pieces until the strain that they belong to has passed.

    >>> import numpy as np
    >>> from deepclean.core.time import NS
    >>> aligner = Aligner(["H1:MAINS"])
    >>> aligner.add({"H1:MAINS": Series(Span(0, 2 * NS), 16, np.zeros(32))})
    >>> for block in aligner.blocks(Series(Span(NS, 4 * NS), 64, np.zeros(192))):
    ...     print(block.span, type(block.witnesses["H1:MAINS"]).__name__)
    [1, 2) Series
    [2, 4) Gap

    Args:
        witnesses: the full channel names that every block has.
    """

    def __init__(self, witnesses: Iterable[str]) -> None:
        self._pieces: dict[str, list[Series | Gap]] = {name: [] for name in witnesses}

    def add(self, channels: Mapping[str, Series | Gap]) -> None:
        """Add pieces of witnesses, by channel name. A piece that another one covers is ignored."""
        for name, piece in channels.items():
            held = self._pieces.get(name)
            if held is not None and not any(other.span.covers(piece.span) for other in held):
                held.append(piece)

    def blocks(self, strain: Series | Gap, state: Series | Gap | None = None) -> list[Block]:
        """Cut a stretch of strain into blocks with the witnesses beside it.

        Args:
            strain: the strain of a whole frame, or a gap over the frame's span.
            state: the source's state vector over the same span; None where the site has none.

        Returns:
            The blocks in order; together they fill the span of the strain.
        """
        span = strain.span
        edges = {span.start, span.end}
        for pieces in self._pieces.values():
            for piece in pieces:
                shared = piece.span.overlap(span)
                if shared is not None:
                    edges |= {shared.start, shared.end}
        # No piece begins or ends between two neighbouring edges, so it covers a block or misses it.
        return [
            Block(
                part,
                _cut(strain, part),
                {name: self._over(name, part) for name in self._pieces},
                None if state is None else _cut(state, part),
            )
            for part in (Span(low, high) for low, high in pairwise(sorted(edges)))
        ]

    def drop_before(self, instant: int) -> None:
        """Drop the pieces that end at or before `instant` (GPS nanoseconds)."""
        for name, pieces in self._pieces.items():
            self._pieces[name] = [piece for piece in pieces if piece.span.end > instant]

    def _over(self, name: str, span: Span) -> Series | Gap:
        """Return the samples of a witness over a span that no piece's edge divides, or a gap."""
        for piece in self._pieces[name]:
            if piece.span.covers(span):
                return _cut(piece, span)
        return Gap(span, reasons.MISSING)


def _cut(piece: Series | Gap, span: Span) -> Series | Gap:
    if isinstance(piece, Gap):
        return Gap(span, piece.reason)
    return piece.cut(span)
