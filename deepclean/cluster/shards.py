"""Which parts of a span are to be cleaned, and in which shards: integer arithmetic on spans."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from deepclean.core.time import NS, Span
from deepclean.run import parallel


def whole_seconds(spans: Iterable[Span]) -> list[Span]:
    """Return spans inward to whole seconds; what holds none is left out."""
    inward = ((-(-span.start // NS) * NS, span.end // NS * NS) for span in spans)
    return [Span(start, end) for start, end in inward if start < end]


def shared(some: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Yield what two lists share; both in order of time and without overlap."""
    here = there = 0
    while here < len(some) and there < len(others):
        part = some[here].overlap(others[there])
        if part is not None:
            yield part
        if some[here].end <= others[there].end:
            here += 1
        else:
            there += 1


def without(some: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Yield what is left of a list without another; both in order of time, without overlap."""
    there = 0
    for span in some:
        start = span.start
        while there < len(others) and others[there].end <= start:
            there += 1
        following = there
        while following < len(others) and others[following].start < span.end:
            if others[following].start > start:
                yield Span(start, others[following].start)
            start = others[following].end
            following += 1
        if start < span.end:
            yield Span(start, span.end)


def bridged(parts: Iterable[Span], longest: int, unwanted: Sequence[Span]) -> Iterator[Span]:
    """Yield parts, those joined between which little lies that costs nothing.

    A shard reads its history before it begins: two parts with less than that between them are
    done sooner together, and the files are the same.

    Args:
        parts: in order of time, without overlap.
        longest: nanoseconds between two that are joined.
        unwanted: data that is not to be cleaned, likewise; never within what is yielded.
    """
    ends = [span.end for span in unwanted]
    held: Span | None = None
    for part in parts:
        if held is None:
            held = part
            continue
        following = bisect_right(ends, held.end)
        free = following == len(unwanted) or unwanted[following].start >= part.start
        if free and part.start - held.end <= longest:
            held = Span(held.start, part.end)
        else:
            yield held
            held = part
    if held is not None:
        yield held


def shards(
    parts: Sequence[Span],
    unwanted: Sequence[Span],
    *,
    history: int,
    duration: int,
    longest: int,
    together: int,
) -> list[Span]:
    """Return the shards of the parts that are to be cleaned, in order of time.

    Args:
        parts: to be cleaned, in order of time, without overlap.
        unwanted: data that is not to be cleaned.
        history: nanoseconds that are read before each.
        duration: nanoseconds of a file; shards within a part begin at its multiples from GPS 0.
        longest: nanoseconds of a shard, as bulk.cut.
        together: shards that are to be worked on at a time: their number is a multiple of it.
    """
    joined = list(bridged(parts, history, unwanted))
    return list(
        parallel.cut(joined, duration, together, shortest=parallel.WORTH * history, longest=longest)
    )
