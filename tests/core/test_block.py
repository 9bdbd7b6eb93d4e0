"""The values on the signal's path refuse what contradicts itself."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.block import Block, CleanedBlock, Gap, Series, concatenate
from deepclean.core.time import NS, Span

SECOND = Span.of_seconds(100, 1)


def ramp(span: Span, rate: int) -> Series:
    """Return a series whose samples are their own indices."""
    return Series(span, rate, np.arange(*span.indices(rate)))


@pytest.mark.parametrize("shape", [(15,), (17,), (16, 1), ()])
def test_series_has_the_samples_its_span_holds(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="holds 16 samples"):
        Series(SECOND, 16, np.zeros(shape))


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint32", "float32", "float64"])
def test_series_keeps_the_dtype(dtype: str) -> None:
    samples = np.zeros(16, dtype=dtype)
    assert Series(SECOND, 16, samples).samples is samples


@given(st.integers(-3, 12), st.integers(1, 12))
def test_cut_finds_its_samples(start: int, count: int) -> None:
    # Every 8th sample at 4096 Hz stands at a whole nanosecond.
    series = ramp(Span.of_samples(4096 * 100, 80, 4096), 4096)
    span = Span.of_samples(4096 * 100 + 8 * start, 8 * count, 4096)
    if 0 <= start <= start + count <= 10:
        cut = series.cut(span)
        assert cut.span == span
        assert cut.samples.tolist() == list(range(*span.indices(4096)))
        assert np.shares_memory(cut.samples, series.samples)
    else:
        with pytest.raises(ValueError, match="is not inside"):
            series.cut(span)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 50))
def test_pieces_join_to_the_whole(sixteenths: list[int], start: int) -> None:
    edges = np.cumsum([start, *sixteenths]) * NS // 16
    whole = ramp(Span(int(edges[0]), int(edges[-1])), 256)
    pieces = [whole.cut(Span(int(a), int(b))) for a, b in pairwise(edges)]
    joined = concatenate(pieces)
    assert (joined.span, joined.rate) == (whole.span, 256)
    assert joined.samples.tolist() == whole.samples.tolist()


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [ramp(SECOND, 16), ramp(Span.of_seconds(102, 1), 16)],
        [ramp(SECOND, 16), ramp(SECOND, 16)],
        [ramp(SECOND, 16), ramp(Span.of_seconds(101, 1), 32)],
    ],
    ids=["none", "a hole", "twice", "two rates"],
)
def test_what_does_not_follow_is_not_joined(pieces: list[Series]) -> None:
    with pytest.raises(ValueError, match=r"nothing to join|does not continue"):
        concatenate(pieces)


@pytest.mark.parametrize(
    "make",
    [
        lambda other: Block(SECOND, Gap(other, "missing")),
        lambda other: Block(SECOND, ramp(SECOND, 16), {"A": ramp(other, 16)}),
        lambda other: Block(SECOND, ramp(SECOND, 16), {"A": Gap(other, "missing")}),
        lambda other: Block(SECOND, ramp(SECOND, 16), state=ramp(other, 16)),
    ],
    ids=["strain", "witness", "gap", "state"],
)
@pytest.mark.parametrize("other", [Span.of_seconds(101, 1), Span.of_seconds(100, 2)])
def test_channels_have_their_blocks_span(make: Callable[[Span], Block], other: Span) -> None:
    with pytest.raises(ValueError, match="in a block over"):
        make(other)


def test_cleaned_block_has_the_span_of_its_source() -> None:
    block = Block(SECOND, Gap(SECOND, "missing"))
    assert CleanedBlock(block, None, {}).span == SECOND
