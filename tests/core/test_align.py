"""Witnesses find their strain by the time they stand at."""

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.align import Piece, blocks, fill, whole
from deepclean.core.block import Block, Gap, Series
from deepclean.core.reasons import BAD_RATE, MISSING
from deepclean.core.time import Span
from tests.helpers.builders import START


def seconds(start: int, duration: int) -> Span:
    return Span.of_seconds(START + start, duration)


def numbered(span: Span, rate: int = 16, offset: float = 0) -> Series:
    """Return a series whose samples tell their own index from START (and the piece by `offset`)."""
    first, stop = span.indices(rate)
    return Series(span, rate, np.arange(first, stop) - START * rate + offset)


def cut_blocks(
    strain: Series | Gap, pieces: dict[str, list[Piece]], state: Series | Gap | None = None
) -> list[Block]:
    """Return the blocks of a stretch of strain with these witnesses."""
    filled = {name: fill(given, strain.span) for name, given in pieces.items()}
    return blocks(strain.span, [strain], filled, None if state is None else [state])


def witness_at(blocks: list[Block], name: str, rate: int = 16) -> dict[int, float | str]:
    """Return, per sixteenth from START, the witness's sample or why there is none."""
    found: dict[int, float | str] = {}
    for block in blocks:
        first, stop = (i - START * rate for i in block.span.indices(rate))
        channel = block.witnesses[name]
        if isinstance(channel, Gap):
            found |= dict.fromkeys(range(first, stop), channel.reason)
        else:
            found |= dict(zip(range(first, stop), channel.samples.tolist(), strict=True))
    return found


lengths = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), min_size=1, max_size=10)
"""Pieces that follow one another: whether there is one, and its seconds."""


@given(
    st.dictionaries(st.sampled_from("ABC"), lengths),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_files_of_any_length_pair_by_gps(
    layout: dict[str, list[tuple[bool, int]]], frames: list[int], start: int, random: Random
) -> None:
    present: dict[str, set[int]] = {name: set() for name in "ABC"}
    pieces: dict[str, list[Piece]] = {name: [] for name in "ABC"}
    for name, parts in layout.items():
        at = 0
        for there, duration in parts:
            if there:
                pieces[name].append(numbered(seconds(at, duration), offset=ord(name) / 1000))
                present[name] |= set(range(16 * at, 16 * (at + duration)))
            at += duration
        random.shuffle(pieces[name])
    for duration in frames:
        strain = numbered(seconds(start, duration), 64)
        cut = cut_blocks(strain, pieces)
        assert cut[0].span.start == strain.span.start
        assert cut[-1].span.end == strain.span.end
        assert all(a.span.end == b.span.start for a, b in pairwise(cut))
        raw = [b.strain.samples for b in cut if isinstance(b.strain, Series)]
        assert np.concatenate(raw).tolist() == strain.samples.tolist()
        for name in "ABC":
            expected = {
                i: i + ord(name) / 1000 if i in present[name] else MISSING
                for i in range(16 * start, 16 * (start + duration))
            }
            assert witness_at(cut, name) == expected
        start += duration


def test_a_block_is_a_second() -> None:
    witnesses: dict[str, list[Piece]] = {
        "A": [numbered(seconds(0, 64))],
        "B": [numbered(seconds(0, 2))],
    }
    cut = cut_blocks(numbered(seconds(0, 4)), witnesses)
    assert [block.span for block in cut] == [seconds(second, 1) for second in range(4)]


def quarters(first: int, count: int) -> Span:
    return Span.of_samples(4 * START + first, count, 4)


def test_a_second_is_divided_where_a_channel_ends() -> None:
    cut = cut_blocks(
        numbered(seconds(0, 2), 64), {"A": [numbered(quarters(0, 3)), numbered(seconds(1, 1))]}
    )
    assert [block.span for block in cut] == [quarters(0, 3), quarters(3, 1), seconds(1, 1)]
    found = witness_at(cut, "A")
    assert [found[index] for index in (0, 11, 12, 15, 16)] == [0, 11, MISSING, MISSING, 16]


def test_a_second_is_not_divided_between_the_samples_of_another_channel() -> None:
    state = numbered(seconds(0, 1), 1)
    cut = cut_blocks(numbered(seconds(0, 1), 64), {"A": [numbered(quarters(0, 3))]}, state)
    assert [block.span for block in cut] == [seconds(0, 1)]
    assert cut[0].witnesses["A"] == Gap(seconds(0, 1), MISSING)
    assert isinstance(cut[0].state, Series)


@pytest.mark.parametrize("late", [seconds(0, 4), seconds(1, 2), seconds(2, 4), seconds(-2, 8)])
def test_the_first_piece_stands_and_a_later_one_adds_to_it(late: Span) -> None:
    pieces: list[Piece] = [numbered(seconds(0, 4)), numbered(late, offset=0.5)]
    found = witness_at(cut_blocks(numbered(seconds(-2, 8), 64), {"A": pieces}), "A")
    there = {i - START * 16 for i in range(*late.indices(16))}
    for index, sample in found.items():
        if 0 <= index < 64:
            assert sample == index
        else:
            assert sample == (index + 0.5 if index in there else MISSING)


def test_samples_come_before_a_gap_that_was_given_first() -> None:
    pieces: list[Piece] = [Gap(seconds(0, 3), "invalid"), numbered(seconds(1, 1))]
    filled = fill(pieces, seconds(0, 4))
    assert [(p.span, type(p)) for p in filled] == [
        (seconds(0, 1), Gap),
        (seconds(1, 1), Series),
        (seconds(2, 1), Gap),
        (seconds(3, 1), Gap),
    ]
    assert [p.reason for p in filled if isinstance(p, Gap)] == ["invalid", "invalid", MISSING]


def test_a_rate_that_changes_is_no_series() -> None:
    filled = fill([numbered(seconds(0, 1)), numbered(seconds(1, 1), 32)], seconds(0, 2))
    assert [p.rate for p in filled if isinstance(p, Series)] == [16, 32]
    assert whole(filled, seconds(0, 2)) == Gap(seconds(0, 2), BAD_RATE)


def test_a_channel_keeps_its_dtype() -> None:
    """Joined with another dtype, integers beyond 2^53 would be rounded."""
    big = Series(seconds(0, 1), 2, np.array([2**62 + 1, 0]))
    filled = fill([big, Series(seconds(1, 1), 2, np.array([0.5, 0.5]))], seconds(0, 2))
    assert [p.samples.dtype.kind for p in filled if isinstance(p, Series)] == ["i", "f"]


def test_reasons_and_strain_gaps_pass_through() -> None:
    gap = Gap(seconds(0, 3), "strain_missing")
    flagged: list[Piece] = [Gap(seconds(0, 2), "invalid")]
    cut = cut_blocks(gap, {"A": flagged}, Gap(seconds(0, 3), "no_state"))
    assert [b.span for b in cut] == [seconds(0, 1), seconds(1, 1), seconds(2, 1)]
    assert [b.strain for b in cut] == [Gap(b.span, "strain_missing") for b in cut]
    assert [b.state for b in cut] == [Gap(b.span, "no_state") for b in cut]
    reasons = [b.witnesses["A"].reason for b in cut if isinstance(b.witnesses["A"], Gap)]
    assert reasons == ["invalid", "invalid", MISSING]


def test_the_state_vector_is_cut_alike() -> None:
    state = numbered(seconds(0, 3))
    cut = cut_blocks(numbered(seconds(0, 3), 64), {"A": [numbered(seconds(1, 1))]}, state)
    pieces = [b.state.samples for b in cut if isinstance(b.state, Series)]
    assert [len(piece) for piece in pieces] == [16, 16, 16]
    assert np.concatenate(pieces).tolist() == state.samples.tolist()
