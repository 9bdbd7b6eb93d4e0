"""One cleaned frame for one frame, whole and in order, and frames joined into longer ones."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.block import Series
from deepclean.core.engine.frames import Assembler, FrameJoiner
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    SIXTEENTH,
    START,
    Record,
    clean,
    make_record,
    raw_of,
    same_bits,
    strain_of,
    transparent,
)
from tests.helpers.settings import engine_settings

QUICK = engine_settings(strain_rate=512, model_rate=512, hop=SIXTEENTH, ramp=NS // 16)

RECORD = make_record(12, {"FAST": 512}, strain_rate=512)


def frame_of(record: Record) -> InputFrame:
    return InputFrame(record.span, record.blocks((1, 3)))


def frames_of(durations: list[int]) -> list[InputFrame]:
    """Cut the record into frames of so many seconds, each of several blocks."""
    edges = np.cumsum([0, *durations]).tolist()
    return [frame_of(RECORD.between(a * NS, b * NS)) for a, b in pairwise(edges)]


def passed(frames: list[InputFrame]) -> list[CleanedFrame]:
    """Return frames through an engine that subtracts one witness."""
    assembler = Assembler(transparent(QUICK))
    return [f for frame in frames for f in assembler.push(frame)] + assembler.release()


durations = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@settings(max_examples=20)
@given(durations)
def test_one_whole_frame_out_for_one_in(seconds: list[int]) -> None:
    frames = frames_of(seconds)
    cleaned = passed(frames)
    assert [frame.source for frame in cleaned] == frames
    assert [frame.span for frame in cleaned] == [frame.span for frame in frames]
    for frame in cleaned:
        assert [block.source for block in frame.blocks] == list(frame.source.blocks)
    blocks = [block for frame in frames for block in frame.blocks]
    expected = strain_of(clean(transparent(QUICK), blocks))
    assert same_bits(strain_of([b for f in cleaned for b in f.blocks]), expected)


def test_a_frame_comes_when_its_last_block_does() -> None:
    assembler = Assembler(transparent(QUICK))
    frames = frames_of([1, 1, 1])
    assert assembler.push(frames[0]) == []
    assert [f.source for f in assembler.push(frames[1])] == [frames[0]]
    assert [f.source for f in assembler.release()] == [frames[1]]
    assert assembler.release() == []
    # The stream goes on after a release.
    assert assembler.push(frames[2]) == []
    assert [f.source for f in assembler.release()] == [frames[2]]


def test_a_stretch_that_is_missing_makes_no_frame() -> None:
    frames = frames_of([1, 1, 1, 4, 1])
    kept = [frames[0], frames[2], frames[4]]
    assert [frame.source for frame in passed(kept)] == kept


def test_a_refused_frame_leaves_no_trace() -> None:
    assembler = Assembler(transparent(QUICK))
    frames = frames_of([1, 1, 1])
    assembler.push(frames[0])
    finished = assembler.push(frames[1])
    with pytest.raises(ValueError, match="before the end of the input"):
        assembler.push(frames[0])
    finished += assembler.push(frames[2]) + assembler.release()
    assert [frame.source for frame in finished] == frames
    assert all(f.span == Span(f.blocks[0].span.start, f.blocks[-1].span.end) for f in finished)


def joined(frames: list[CleanedFrame], duration: int | None) -> list[CleanedFrame]:
    joiner = FrameJoiner(duration)
    return [f for frame in frames for f in joiner.push(frame)] + joiner.flush()


@pytest.mark.parametrize("duration", [1, 2, 4, 8])
def test_joined_frames_lie_between_multiples(duration: int) -> None:
    frames = passed(frames_of([1] * 11))
    longer = joined(frames, duration * NS)
    one, other = ([b for f in held for b in f.blocks] for held in (longer, frames))
    assert [b.source.strain for b in one] == [b.source.strain for b in other]
    assert not any(b.source.witnesses for b in one)
    first = START
    for frame in longer:
        last = min(first - first % duration + duration, START + 11)
        assert frame.span == Span(first * NS, last * NS) == frame.source.span
        assert list(frame.source.blocks) == [b.source for b in frame.blocks]
        first = last
    assert first == START + 11


def test_joined_frames_end_before_a_hole() -> None:
    frames = passed(frames_of([1] * 8))
    del frames[5]
    spans = [(f.span.start // NS - START, f.span.end // NS - START) for f in joined(frames, 4 * NS)]
    assert START % 4 == 0
    assert spans == [(0, 4), (4, 5), (6, 8)]
    blocks = [b for f in joined(frames, 4 * NS) for b in f.blocks]
    assert same_bits(raw_of(blocks), raw_of([b for f in frames for b in f.blocks]))


def test_frames_may_stay_as_they_are() -> None:
    frames = passed(frames_of([1, 3]))
    assert joined(frames, None) == frames
    assert FrameJoiner(NS).flush() == []


@pytest.mark.parametrize("refill", [0, 1, 2])
def test_frames_to_be_passed_through_come_at_once_and_cleaning_goes_on(refill: int) -> None:
    """The history is given again before it does: time goes back, but not for the engine."""
    frames = frames_of([1] * 12)
    assembler = Assembler(transparent(QUICK))
    cleaned = [f for frame in frames[:4] for f in assembler.push(frame)]
    for frame in frames[4:7]:
        cleaned += assembler.push(replace(frame, bypass=True))
        assert cleaned[-1].span == frame.span
        for block in cleaned[-1].blocks:
            assert isinstance(block.source.strain, Series)
            assert block.cleaned is not None
            assert same_bits(block.cleaned, block.source.strain.samples)
            assert block.estimates["all"].reasons == (reasons.LATE,)
            assert {fault.reason for fault in block.faults} == {reasons.LATE}
    again = [replace(frame, wanted=False) for frame in frames[7 - refill : 7]]
    for frame in [*again, *frames[7:]]:
        cleaned += assembler.push(frame)
    cleaned += assembler.release()
    wanted = [frame for frame in cleaned if frame.source.wanted]
    assert [frame.span for frame in wanted] == [frame.span for frame in frames]
    gain = np.concatenate([b.estimates["all"].gain for b in wanted[7].blocks])
    assert (gain[0] == 1) == (refill > 0)
    assert (np.concatenate([b.estimates["all"].gain for b in wanted[9].blocks]) == 1).all()
