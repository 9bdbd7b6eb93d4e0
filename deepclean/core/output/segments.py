"""Sets of time as lists of spans. The arithmetic is that of igwn_segments, on integers.

Every function takes spans in any order and returns spans in order of time, none touching the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from igwn_segments import segment, segmentlist

from deepclean.core.time import NS, Span


def union(*lists: Iterable[Span]) -> list[Span]:
    """Return the time that any of the lists covers.

    >>> union([Span(0, 2), Span(5, 7)], [Span(2, 3)])
    [Span(start=0, end=3), Span(start=5, end=7)]
    """
    return _spans(_segments(span for spans in lists for span in spans))


def intersection(first: Iterable[Span], *others: Iterable[Span]) -> list[Span]:
    """Return the time that all of the lists cover.

    >>> intersection([Span(0, 9)], [Span(1, 3), Span(5, 12)])
    [Span(start=1, end=3), Span(start=5, end=9)]
    """
    shared = _segments(first)
    for other in others:
        shared &= _segments(other)
    return _spans(shared)


def difference(first: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """Return the time that the first list covers and the other does not.

    >>> difference([Span(0, 9)], [Span(1, 3), Span(5, 12)])
    [Span(start=0, end=1), Span(start=3, end=5)]
    """
    return _spans(_segments(first) - _segments(other))


def whole_seconds(spans: Iterable[Span]) -> list[Span]:
    """Return the whole GPS seconds inside some spans.

    >>> whole_seconds([Span(1, 2 * NS), Span(2 * NS, 3 * NS + 1)])
    [Span(start=1000000000, end=3000000000)]
    """
    inward = ((-(-span.start // NS) * NS, span.end // NS * NS) for span in union(spans))
    return [Span(start, end) for start, end in inward if start < end]


def total_seconds(spans: Iterable[Span]) -> int:
    """Return the number of whole seconds that spans without overlap last together."""
    return sum(span.duration for span in spans) // NS


def _segments(spans: Iterable[Span]) -> segmentlist:
    return segmentlist(segment(span.start, span.end) for span in spans).coalesce()


def _spans(segments: segmentlist) -> list[Span]:
    return [Span(start, end) for start, end in segments]
