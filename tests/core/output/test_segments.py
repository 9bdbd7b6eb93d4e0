"""Sets of time: the arithmetic of spans is that of sets of seconds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.output.segments import (
    difference,
    intersection,
    total_seconds,
    union,
    whole_seconds,
)
from deepclean.core.time import NS, Span

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 9)).map(lambda each: Span.of_seconds(*each)),
    max_size=9,
)


def seconds(spans: list[Span]) -> set[int]:
    """Return every whole second of some spans."""
    return {s for span in spans for s in range(span.start // NS, span.end // NS)}


@given(SPANS, SPANS)
def test_lists_of_spans_are_sets_of_seconds(some: list[Span], others: list[Span]) -> None:
    for found, expected in (
        (union(some, others), seconds(some) | seconds(others)),
        (intersection(some, others), seconds(some) & seconds(others)),
        (difference(some, others), seconds(some) - seconds(others)),
    ):
        assert seconds(found) == expected
        assert total_seconds(found) == len(expected)
        assert all(one.end < following.start for one, following in pairwise(found))


def test_spans_are_taken_inward_to_whole_seconds() -> None:
    spans = [Span(1, 3 * NS + 1), Span(4 * NS, 5 * NS), Span(6 * NS + 1, 7 * NS + 5)]
    assert whole_seconds(spans) == [Span(NS, 3 * NS), Span(4 * NS, 5 * NS)]


def test_nanoseconds_are_exact() -> None:
    late = Span(2**60 + 1, 2**60 + 3)
    assert intersection([late], [Span(0, 2**60 + 2)]) == [Span(2**60 + 1, 2**60 + 2)]
