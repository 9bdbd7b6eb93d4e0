"""The gain against sets of integers, and its shape."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.gain import InvalidSpans, gain_over, is_one
from deepclean.core.time import NS, Span
from tests.helpers.builders import same_bits

RATE = 1024
SAMPLE = NS // RATE  # not whole: 976562.5 ns
FIRST = 1_400_000_000 * RATE

pieces = st.lists(st.tuples(st.integers(-5, 60), st.integers(0, 12)), max_size=12)


def filled(spans: list[tuple[int, int]]) -> InvalidSpans:
    """Return what is invalid from `(start, length)` pairs."""
    invalid = InvalidSpans()
    for start, length in spans:
        invalid.add(start, start + length)
    return invalid


def union(spans: list[tuple[int, int]]) -> set[int]:
    return {i for start, length in spans for i in range(start, start + length)}


@given(pieces, st.integers(-10, 70), st.integers(1, 30))
def test_invalid_spans_are_a_set(spans: list[tuple[int, int]], start: int, length: int) -> None:
    found = filled(spans).overlapping(start, start + length)
    window = set(range(start, start + length))
    members = {i for low, high in found for i in range(low, high)}
    assert members & window == union(spans) & window
    # Disjoint, in order, not even touching, and none that is not asked for.
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert all(low < start + length and high > start for low, high in found)


@given(pieces, st.integers(-10, 80))
def test_dropping_forgets_only_the_past(spans: list[tuple[int, int]], instant: int) -> None:
    invalid = filled(spans)
    twin = invalid.copy()
    invalid.drop_before(instant)
    kept = {i for low, high in invalid.overlapping(-100, 200) for i in range(low, high)}
    assert kept - set(range(-100, instant)) == union(spans) - set(range(-100, instant))
    assert kept <= union(spans)
    whole = {i for low, high in twin.overlapping(-100, 200) for i in range(low, high)}
    assert whole == union(spans)


def at(index: int) -> int:
    """Return the instant (ns, rounded down) of a sample."""
    return (FIRST + index) * NS // RATE


def gains(invalid: InvalidSpans, first: int, stop: int, ramp: int) -> np.ndarray:
    """Return the gain over samples `[first, stop)`, both even, hence whole nanoseconds."""
    return gain_over(Span.of_samples(FIRST + first, stop - first, RATE), RATE, invalid, ramp)


def by_distance(bad: set[int], first: int, stop: int, ramp: int) -> np.ndarray:
    """Return the gain by its definition: one sample, one nearest invalid sample, at a time."""
    gain = np.ones(stop - first)
    for index in range(first, stop):
        distance = min((abs(index - b) for b in bad), default=ramp + 1)
        if distance < max(ramp, 1):
            gain[index - first] = np.sin(np.pi / 2 * distance / ramp) ** 2 if distance else 0.0
    return gain


sample_pieces = st.lists(st.tuples(st.integers(-40, 70), st.integers(1, 30)), max_size=5)
"""`(first, count)` in pairs of samples: their instants are whole nanoseconds."""


@given(sample_pieces, st.integers(0, 40))
def test_is_a_function_of_the_distance(spans: list[tuple[int, int]], ramp: int) -> None:
    doubled = [(2 * first, 2 * count) for first, count in spans]
    invalid = InvalidSpans()
    for first, count in doubled:
        invalid.add(at(first), at(first + count))
    found = gains(invalid, 0, 64, ramp)
    expected = by_distance(union(doubled), 0, 64, ramp)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
    # Exactly nothing and exactly all, so that raw is raw and cleaned is fully cleaned.
    assert ((found == 0) == (expected == 0)).all()
    assert ((found == 1) == (expected == 1)).all()


@given(sample_pieces, st.integers(0, 40), st.lists(st.integers(1, 63), max_size=5))
def test_gain_of_any_cut(spans: list[tuple[int, int]], ramp: int, cuts: list[int]) -> None:
    invalid = InvalidSpans()
    for first, count in spans:
        invalid.add(at(first) + 12345, at(first + count) + 54321)
    edges = [0, *sorted({2 * cut for cut in cuts}), 128]
    parts = [gains(invalid, a, b, ramp) for a, b in pairwise(edges)]
    assert same_bits(np.concatenate(parts), gains(invalid, 0, 128, ramp))


@given(st.integers(0, 100 * SAMPLE), st.integers(1, 20 * SAMPLE))
def test_an_instant_between_samples_silences_what_it_touches(start: int, length: int) -> None:
    invalid = InvalidSpans()
    invalid.add(at(0) + start, at(0) + start + length)
    zero = set(np.flatnonzero(gains(invalid, 0, 200, 0) == 0))
    needed = {i for i in range(200) if start <= (at(2 * i) - at(0)) / 2 < start + length}
    assert needed <= zero
    # One sample too many at most: the one before, because instants are rounded down.
    assert zero <= needed | {min(needed, default=-(-start // SAMPLE)) - 1, start // SAMPLE}


@pytest.mark.parametrize("ramp", [1, 2, 7, 64])
def test_falls_and_rises_alike(ramp: int) -> None:
    invalid = InvalidSpans()
    invalid.add(at(200), at(210))
    gain = gains(invalid, 0, 410, ramp)
    before, after = gain[:200], gain[210:]
    assert same_bits(before, after[::-1].copy())
    assert (np.diff(before) <= 0).all()
    assert (gain[200:210] == 0).all()
    assert (before[: 200 - ramp + 1] == 1).all()
    assert ((before[200 - ramp + 1 :] > 0) & (before[200 - ramp + 1 :] < 1)).all()
    # Raised cosine: never steeper than pi / 2 per ramp.
    assert np.abs(np.diff(gain)).max() <= np.pi / 2 / ramp


def test_it_may_rise_more_slowly_than_it_falls() -> None:
    invalid = InvalidSpans()
    invalid.add((FIRST + 40) * NS // RATE, (FIRST + 50) * NS // RATE)
    span = Span.of_samples(FIRST, 100, RATE)
    slow, fast = (gain_over(span, RATE, invalid, 8, rise) for rise in (32, None))
    # The ramp goes on in a part that begins further after what is not valid than a fall is long.
    later = Span.of_samples(FIRST + 64, 36, RATE)
    assert same_bits(gain_over(later, RATE, invalid, 8, 32), slow[64:])
    assert same_bits(slow[:50], fast[:50])
    assert slow[49 + 16] == pytest.approx(0.5)
    assert (slow[50:81] < 1).all()
    assert (slow[81:] == 1).all()


def test_one_is_known_for_one_and_cannot_be_changed() -> None:
    span = Span.of_seconds(1, 1)
    full = gain_over(span, 16, InvalidSpans(), ramp=4)
    assert is_one(full)
    assert is_one(full.copy())
    with pytest.raises(ValueError, match="read-only"):
        full[0] = 0.0
    less = gain_over(span, 16, filled([(NS, 1)]), ramp=4)
    assert not is_one(less)
    assert gain_over(span, 16, InvalidSpans(), ramp=4).tolist() == [1.0] * 16
