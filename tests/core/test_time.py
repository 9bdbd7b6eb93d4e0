"""Integer time: exact or refused, at any rate and any instant."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.time import NS, Span, format_gps, index_at, index_from, seconds_to_ns

instants = st.integers(-(10**19), 10**19)
rates = st.integers(1, 100_000)


@given(instants, rates)
def test_index_from_is_the_first_sample_at_or_after(instant: int, rate: int) -> None:
    index = index_from(instant, rate)
    assert Fraction(index - 1, rate) < Fraction(instant, NS) <= Fraction(index, rate)


@given(instants, rates)
def test_index_at_is_exact_or_refused(instant: int, rate: int) -> None:
    exact = Fraction(instant * rate, NS)
    if exact.denominator == 1:
        assert index_at(instant, rate) == exact
    else:
        with pytest.raises(ValueError, match="no sample"):
            index_at(instant, rate)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6), rates)
def test_span_of_samples_comes_back(first: int, count: int, rate: int) -> None:
    ends = [Fraction(index * NS, rate) for index in (first, first + count)]
    if all(end.denominator == 1 for end in ends):
        span = Span.of_samples(first, count, rate)
        assert [span.start, span.end] == ends
        assert span.indices(rate) == (first, first + count)
        assert span.samples(rate) == count
    else:
        with pytest.raises(ValueError, match="not whole nanoseconds"):
            Span.of_samples(first, count, rate)


def test_an_hour_of_large_gps_is_exact() -> None:
    span = Span.of_seconds(1_400_000_001, 3600)
    assert span.indices(20_000) == (1_400_000_001 * 20_000, 1_400_003_601 * 20_000)
    assert span.duration == 3600 * NS


@pytest.mark.parametrize("end", [5, 4])
def test_span_is_never_empty(end: int) -> None:
    with pytest.raises(ValueError, match="must end after it starts"):
        Span(5, end)


def test_span_that_falls_between_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample at 16 Hz"):
        Span(0, NS // 32).samples(16)


small_spans = st.tuples(st.integers(0, 12), st.integers(1, 12)).map(
    lambda p: Span(p[0], p[0] + p[1])
)


@given(small_spans, small_spans)
def test_overlap_and_covers_are_those_of_sets(one: Span, other: Span) -> None:
    first, second = set(range(one.start, one.end)), set(range(other.start, other.end))
    shared = one.overlap(other)
    assert set(range(shared.start, shared.end) if shared else ()) == first & second
    assert one.covers(other) == (second <= first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (1, NS),
        (0.1, NS // 10),
        ("1126259462.4", 1_126_259_462_400_000_000),
        ("1126259462.000000001", 1_126_259_462_000_000_001),
        ("1e-9", 1),
        ("-0.5", -NS // 2),
    ],
)
def test_seconds_are_taken_as_written(text: float | str, expected: int) -> None:
    assert seconds_to_ns(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "",
        "nan",
        "inf",
        "1e-10",
        "0.1000000001",
        # Finer than a nanosecond by less than decimal's default precision can hold.
        "1126259462.0000000000000000000000001",
        "1e999999",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        seconds_to_ns(text)


@given(instants)
def test_formatted_gps_reads_back(instant: int) -> None:
    text = format_gps(instant)
    assert seconds_to_ns(text) == instant
    assert not text.endswith((".", "0")) or "." not in text


def test_span_reads_as_seconds() -> None:
    assert str(Span(NS // 2, 20 * NS)) == "[0.5, 20)"
