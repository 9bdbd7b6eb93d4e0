"""Witnesses find their strain by the time they stand at."""

import weakref
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.align import Aligner
from deepclean.core.block import Block, Gap, Series
from deepclean.core.reasons import MISSING
from deepclean.core.time import NS, Span
from tests.helpers.builders import START


def seconds(start: int, duration: int) -> Span:
    return Span.of_seconds(START + start, duration)


def numbered(span: Span, rate: int = 16, offset: float = 0) -> Series:
    """Return a series whose samples tell their own index from START (and the piece by `offset`)."""
    first, stop = span.indices(rate)
    return Series(span, rate, np.arange(first, stop) - START * rate + offset)


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
    aligner = Aligner("ABC")
    present: dict[str, set[int]] = {name: set() for name in "ABC"}
    pieces: list[tuple[str, Series]] = []
    for name, parts in layout.items():
        at = 0
        for there, duration in parts:
            if there:
                pieces.append((name, numbered(seconds(at, duration), offset=ord(name) / 1000)))
                present[name] |= set(range(16 * at, 16 * (at + duration)))
            at += duration
    random.shuffle(pieces)
    for name, piece in pieces:
        aligner.add({name: piece})
    for duration in frames:
        strain = numbered(seconds(start, duration), 64)
        blocks = aligner.blocks(strain)
        assert blocks[0].span.start == strain.span.start
        assert blocks[-1].span.end == strain.span.end
        assert all(a.span.end == b.span.start for a, b in pairwise(blocks))
        raw = [b.strain.samples for b in blocks if isinstance(b.strain, Series)]
        assert np.concatenate(raw).tolist() == strain.samples.tolist()
        for name in "ABC":
            expected = {
                i: i + ord(name) / 1000 if i in present[name] else MISSING
                for i in range(16 * start, 16 * (start + duration))
            }
            assert witness_at(blocks, name) == expected
        start += duration
        aligner.drop_before(strain.span.end)


def test_no_more_blocks_than_pieces_need() -> None:
    aligner = Aligner("AB")
    aligner.add({"A": numbered(seconds(0, 64)), "B": numbered(seconds(0, 2))})
    assert len(aligner.blocks(numbered(seconds(0, 1)))) == 1
    assert [b.span for b in aligner.blocks(numbered(seconds(1, 3)))] == [
        seconds(1, 1),
        seconds(2, 2),
    ]


@pytest.mark.parametrize("late", [seconds(0, 4), seconds(1, 2), seconds(2, 4), seconds(-2, 8)])
def test_the_first_piece_stands_and_a_later_one_adds_to_it(late: Span) -> None:
    aligner = Aligner("A")
    aligner.add({"A": numbered(seconds(0, 4))})
    aligner.add({"A": numbered(late, offset=0.5)})
    found = witness_at(aligner.blocks(numbered(seconds(-2, 8), 64)), "A")
    there = {i - START * 16 for i in range(*late.indices(16))}
    for index, sample in found.items():
        if 0 <= index < 64:
            assert sample == index
        else:
            assert sample == (index + 0.5 if index in there else MISSING)


def test_reasons_and_strain_gaps_pass_through() -> None:
    aligner = Aligner("A")
    aligner.add({"A": Gap(seconds(0, 2), "invalid")})
    gap = Gap(seconds(0, 3), "strain_missing")
    blocks = aligner.blocks(gap, Gap(seconds(0, 3), "no_state"))
    assert [b.span for b in blocks] == [seconds(0, 2), seconds(2, 1)]
    assert [b.strain for b in blocks] == [Gap(b.span, "strain_missing") for b in blocks]
    assert [b.state for b in blocks] == [Gap(b.span, "no_state") for b in blocks]
    assert [b.witnesses["A"] for b in blocks] == [
        Gap(seconds(0, 2), "invalid"),
        Gap(seconds(2, 1), MISSING),
    ]


def test_the_state_vector_is_cut_alike() -> None:
    aligner = Aligner("A")
    aligner.add({"A": numbered(seconds(1, 1))})
    state = numbered(seconds(0, 3))
    blocks = aligner.blocks(numbered(seconds(0, 3), 64), state)
    pieces = [b.state.samples for b in blocks if isinstance(b.state, Series)]
    assert [len(piece) for piece in pieces] == [16, 16, 16]
    assert np.concatenate(pieces).tolist() == state.samples.tolist()


def test_the_same_again_is_not_kept() -> None:
    aligner = Aligner("A")
    pieces = [numbered(seconds(0, 2)), numbered(seconds(0, 2)), numbered(seconds(1, 1))]
    kept = [weakref.ref(piece.samples) for piece in pieces]
    while pieces:
        aligner.add({"A": pieces.pop(0)})
    assert [reference() is not None for reference in kept] == [True, False, False]


def test_channels_that_are_not_wanted_are_ignored() -> None:
    aligner = Aligner("A")
    aligner.add({"A": numbered(seconds(0, 1)), "Z": numbered(seconds(0, 1))})
    (block,) = aligner.blocks(numbered(seconds(0, 1), 64))
    assert set(block.witnesses) == {"A"}


def test_what_has_passed_is_forgotten() -> None:
    aligner = Aligner("A")
    for second in range(4):
        aligner.add({"A": numbered(seconds(second, 1))})
    aligner.drop_before((START + 2) * NS)
    found = witness_at(aligner.blocks(numbered(seconds(0, 4), 64)), "A")
    assert [found[16 * second] for second in range(4)] == [MISSING, MISSING, 32.0, 48.0]
