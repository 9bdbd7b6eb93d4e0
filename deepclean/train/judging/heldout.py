"""Data that no model was trained on, as blocks for the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepclean.core.block import Block
from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.train.data import SiteData, pieces


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutStretch:
    """A stretch for the engine.

    Args:
        counted: the span that a model is judged on.
        read: the span of the blocks; what surrounds the counted one fills filters and gates.
        blocks: of one second each, in order.
    """

    counted: Span
    read: Span
    blocks: Iterable[Block]


class HeldOut:
    """Data that a model is judged on.

    Args:
        site: the data.
        spans: fit data, whole GPS seconds, that are judged.
        keep: whether to hold the blocks in memory, for repeated use.
        around: further fit data, such as those that were trained on. Where they touch a span, the
            engine may read them, and they are not judged.
    """

    def __init__(
        self, site: SiteData, spans: Sequence[Span], *, keep: bool, around: Sequence[Span] = ()
    ) -> None:
        self._site, self._spans = site, tuple(spans)
        self._whole = union([*around, *spans])
        self._kept: dict[Span, list[Block]] | None = {} if keep else None

    def stretches(self, before: int = 0, after: int = 0) -> Iterator[HeldOutStretch]:
        """Yield each stretch.

        Args:
            before: nanoseconds of the surrounding data that are read before it at most.
            after: the same after it.

        Raises:
            InputError: the data are no longer fit, when the blocks are taken.
        """
        for counted in self._spans:
            read = self._extended(counted, -(-before // NS) * NS, -(-after // NS) * NS)
            yield HeldOutStretch(counted, read, self._blocks(read))

    def _extended(self, span: Span, before: int, after: int) -> Span:
        """Return a span with as much as there is around it."""
        (whole,) = (stretch for stretch in self._whole if stretch.covers(span))
        return Span(max(whole.start, span.start - before), min(whole.end, span.end + after))

    def _blocks(self, span: Span) -> Iterable[Block]:
        if self._kept is None:
            return self._read(span)
        if span not in self._kept:
            self._kept[span] = list(self._read(span))
        return self._kept[span]

    def _read(self, span: Span) -> Iterator[Block]:
        for part in pieces(span):
            block = self._site.read(part)
            if block is None:
                raise InputError(f"the data over {part} changed while it was read")
            for start in range(part.start, part.end, NS):
                yield block.cut(Span(start, start + NS))


def longest_parts(spans: Sequence[Span], limit: int) -> list[Span]:
    """Return `limit` nanoseconds of some spans, the longest spans first."""
    taken: list[Span] = []
    for span in sorted(spans, key=lambda span: -span.duration):
        if limit <= 0:
            break
        taken.append(Span(span.start, min(span.end, span.start + limit)))
        limit -= span.duration
    return taken
