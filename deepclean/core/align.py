"""Pair strain with witnesses by the time they stand at, never by the order they came in.

Strain and witnesses arrive in files of unequal length. The aligner keeps the witness pieces it was
given and cuts a stretch of strain into blocks wherever a piece begins or ends, so that in each
block a witness has all its samples or is a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series
from deepclean.core.time import Span


class Aligner:
    """Keeps witness pieces until the strain they belong to has passed.

    Args:
        witnesses: full channel names that every block names.
    """

    def __init__(self, witnesses: Iterable[str]) -> None:
        self._pieces: dict[str, list[Series | Gap]] = {name: [] for name in witnesses}

    def add(self, channels: Mapping[str, Series | Gap]) -> None:
        """Keep pieces of any of the witnesses; where two overlap, the first stands."""
        for name, piece in channels.items():
            held = self._pieces.get(name)
            if held is not None and not any(other.span.covers(piece.span) for other in held):
                held.append(piece)

    def blocks(self, strain: Series | Gap, state: Series | Gap | None = None) -> list[Block]:
        """Cut a stretch of strain into blocks with the witnesses beside it.

        Args:
            strain: a whole frame, or a gap of its length.
            state: the source's state vector over the same span.
        """
        span = strain.span
        edges = {span.start, span.end}
        for pieces in self._pieces.values():
            for piece in pieces:
                shared = piece.span.overlap(span)
                if shared is not None:
                    edges |= {shared.start, shared.end}
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
        """Forget the pieces that end at or before `instant` (GPS nanoseconds)."""
        for name, pieces in self._pieces.items():
            self._pieces[name] = [piece for piece in pieces if piece.span.end > instant]

    def _over(self, name: str, span: Span) -> Series | Gap:
        for piece in self._pieces[name]:
            if piece.span.covers(span):
                return _cut(piece, span)
        return Gap(span, reasons.MISSING)


def _cut(piece: Series | Gap, span: Span) -> Series | Gap:
    if isinstance(piece, Gap):
        return Gap(span, piece.reason)
    return piece.cut(span)
