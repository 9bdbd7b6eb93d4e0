"""Why there is no cleaned frame of some seconds, by the source's frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from deepclean.core.block import Gap
from deepclean.core.output.segments import difference, intersection, total_seconds
from deepclean.core.time import NS, Span
from deepclean.io.channels import Reading

NO_OUTPUT, UNKNOWN = "no_output", "unknown"
"""There was strain and no frame was written; there is no frame of the source to tell."""

_PIECE = 60 * NS
"""Nanoseconds that are read at a time."""


class ReadsPieces(Protocol):
    """What the files have of some channels; `io.history.History` is one."""

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the stretches that the files cover, in order."""
        ...

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        """Return the pieces of each channel that fill a span."""
        ...


def gap_reasons(absent: Sequence[Span], source: ReadsPieces | None, strain: str) -> dict[str, int]:
    """Return the seconds without a cleaned frame by reason.

    Before the first and after the last of the source's frames nothing is known: a live directory
    keeps a while only.

    Args:
        absent: whole seconds without a frame.
        source: the source's frames; None where there are none.
        strain: the full name of the strain channel.
    """
    covered = [] if source is None else source.spans()
    if source is None or not covered:
        return {UNKNOWN: total_seconds(absent)} if absent else {}
    told = intersection(absent, [Span(covered[0].start, covered[-1].end)])
    by_reason = {UNKNOWN: difference(absent, told), "missing": difference(told, covered)}
    found = Counter({reason: total_seconds(spans) for reason, spans in by_reason.items()})
    for part in _parts(intersection(told, covered)):
        pieces = source.pieces([strain], part).pieces[strain]
        gaps = [piece for piece in pieces if isinstance(piece, Gap)]
        for gap in gaps:
            found[gap.reason] += gap.span.duration // NS
        found[NO_OUTPUT] += total_seconds(difference([part], [gap.span for gap in gaps]))
    return {reason: seconds for reason, seconds in sorted(found.items()) if seconds}


def _parts(spans: Sequence[Span]) -> Iterator[Span]:
    for span in spans:
        for start in range(span.start, span.end, _PIECE):
            yield Span(start, min(start + _PIECE, span.end))
