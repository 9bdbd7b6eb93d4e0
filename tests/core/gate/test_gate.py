"""The gate: its table, and what it does to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock, Gap, Quality, Series
from deepclean.core.gate.quality import FAST_STEP, BandPower
from deepclean.core.gate.table import (
    Gate,
    GateSettings,
    GateState,
    Verdict,
    conclude,
    harms,
    improves_significantly,
    is_urgent,
    judge,
)
from deepclean.core.products import State, state_bits
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    SIXTEENTH,
    Record,
    changed,
    clean,
    push_all,
    raw_of,
    same_bits,
    strain_of,
    transparent,
)
from tests.helpers.faulty_input import assert_sound
from tests.helpers.gated_stream import GATED, GATES, RATE, engine, gate_of, record, scaled, shut

verdicts = st.lists(st.sampled_from(Verdict), min_size=1, max_size=120)

TABLE = GateSettings(window=4 * NS, dwell=4 * FAST_STEP, memory=10 * FAST_STEP)
REACH = (TABLE.memory + TABLE.dwell) // FAST_STEP


def walked(start: int, given: Sequence[Verdict]) -> list[GateState]:
    gate = Gate(start * FAST_STEP)
    return [gate.step((start + i) * FAST_STEP, v, TABLE) for i, v in enumerate(given)]


@given(verdicts)
def test_the_table(given: list[Verdict]) -> None:
    """On: a good verdict late enough after any bad one, and none too long ago."""
    for now, state in enumerate(walked(0, given)):
        bad = max((i for i in range(now + 1) if given[i] is Verdict.BAD), default=0)
        good = [i for i in range(bad + 4, now + 1) if given[i] is Verdict.GOOD]
        assert (state is GateState.ON) == (
            given[now] is not Verdict.BAD
            and any(now - i < 10 or given[now] is Verdict.GOOD for i in good[-1:])
        )


@given(verdicts, st.integers(0, 119))
def test_its_memory_ends(given: list[Verdict], skipped: int) -> None:
    """Wherever it starts, it agrees with one that has always run."""
    skipped = min(skipped, len(given) - 1)
    late = walked(skipped, given[skipped:])
    assert late[REACH:] == walked(0, given)[skipped + REACH :]


@pytest.mark.parametrize("state", GateState)
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("rested", [False, True])
@pytest.mark.parametrize("stale", [False, True])
def test_every_transition(state: GateState, verdict: Verdict, rested: bool, stale: bool) -> None:
    now = 1000 * FAST_STEP
    bad = now - TABLE.dwell - 20 * FAST_STEP if rested else now - FAST_STEP
    good = now - TABLE.memory if stale else now - FAST_STEP
    gate = Gate(bad, good, state)
    expected = {
        Verdict.BAD: GateState.OFF,
        Verdict.GOOD: GateState.ON if rested else state,
    }.get(verdict, GateState.OFF if stale else state)
    assert gate.step(now, verdict, TABLE) is expected


def last(
    raw: float, clean: float, chance: float, *, power: float = 50.0, worst: float = 0.0
) -> BandPower:
    """Return band powers whose difference in power has a standard deviation `chance`."""
    variance = chance**2 / 1.05
    return BandPower(
        raw=np.full(2, raw),
        clean=np.full(2, clean),
        power=np.full(2, power),
        variance=np.full(2, variance),
        excess=clean - raw,
        worst=worst,
        noise=np.ones(11),
    )


WELL = Quality(in_band=0.7, worst=1.2, guard=1.0, outside=1.0)


@given(
    st.sampled_from(["in_band", "worst", "guard", "outside"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_is_no_number_never_opens(name: str, value: float) -> None:
    assert judge(replace(WELL, **{name: value}), GATES) is Verdict.BAD
    for part in (last(value, 1, 1), last(1, value, 1), last(1, 1, value)):
        assert harms([part], GATES) is Verdict.BAD
    assert harms([last(1, 1, 1, worst=abs(value))], GATES) is Verdict.BAD


@pytest.mark.parametrize(
    ("quality", "verdict"),
    [
        (None, Verdict.UNKNOWN),
        (WELL, Verdict.GOOD),
        (replace(WELL, in_band=1.001), Verdict.GOOD),
        (replace(WELL, in_band=1.002), Verdict.FAIR),
        (replace(WELL, in_band=1.0031), Verdict.BAD),
        (replace(WELL, outside=1.0031), Verdict.BAD),
        (replace(WELL, guard=1.031), Verdict.BAD),
        (replace(WELL, worst=3.1), Verdict.BAD),
    ],
)
def test_the_thresholds(quality: Quality | None, verdict: Verdict) -> None:
    assert judge(quality, GATES) is verdict


@pytest.mark.parametrize(
    ("part", "verdict"),
    [
        # 3.1 standard deviations of harm, and 8.1 from what it should gain.
        (last(100, 131, 10), Verdict.BAD),
        # What is loud enough need not be that bad, but in units of the floor.
        (last(100, 129, 10), Verdict.BAD),
        (last(100, 109, 10), Verdict.UNKNOWN),
        # What cannot gain much must be clearly bad.
        (last(100, 131, 10, power=10), Verdict.UNKNOWN),
        (last(100, 151, 10, power=10), Verdict.BAD),
        # Too little to matter.
        (last(100, 100.9, 0.1), Verdict.UNKNOWN),
        # Bad by the power of a few bins only.
        (replace(last(100, 131, 10), excess=-0.1), Verdict.UNKNOWN),
    ],
)
def test_brief_harm(part: BandPower, verdict: Verdict) -> None:
    assert harms([part], GATES) is verdict


def test_over_the_band_one_second_must_be_worse_than_several() -> None:
    part = replace(
        last(100, 119, 10),
        raw=np.array([100.0, 100.0]),
        clean=np.array([119.0, 60.0]),  # the lines themselves are better
    )
    assert harms([part], GATES) is Verdict.UNKNOWN
    assert harms([part] * 3, GATES) is Verdict.BAD
    assert harms([part, part, None], GATES) is Verdict.UNKNOWN
    assert harms([], GATES) is Verdict.UNKNOWN


def test_what_has_vanished_has_nothing_to_lose() -> None:
    part = last(100, 102, 10, power=2)
    assert harms([part] * 3, GATES) is Verdict.UNKNOWN
    assert harms([part] * 3, GATES, vanished=True) is Verdict.BAD
    assert harms([last(100, 99, 10)] * 3, GATES, vanished=True) is Verdict.UNKNOWN
    assert harms([last(100, 100, 0)] * 3, GATES, vanished=True) is Verdict.UNKNOWN


def test_what_is_bad_over_the_whole_band_presses() -> None:
    assert is_urgent(last(100, 131, 10), GATES)
    assert not is_urgent(last(100, 115, 2), GATES)
    lines = replace(last(100, 150, 10), clean=np.array([125.0, 150.0]))
    assert is_urgent(replace(lines, variance=np.array([16.0**2, 10.0]) / 1.05), GATES)
    assert not is_urgent(replace(lines, variance=np.array([17.0**2, 10.0]) / 1.05), GATES)
    assert is_urgent(last(np.nan, 1, 1), GATES)
    assert not is_urgent(None, GATES)


def test_a_bin_that_stands_out_is_bad_at_once() -> None:
    assert harms([last(100, 99, 10, worst=15.9)], GATES) is Verdict.UNKNOWN
    assert harms([last(100, 99, 10, worst=16.1)], GATES) is Verdict.BAD
    assert harms([last(100, 99, 10, worst=16.1), None], GATES) is Verdict.UNKNOWN


def test_what_is_better_beyond_chance_is_proven() -> None:
    assert improves_significantly(last(100, 49, 10), GATES)
    assert not improves_significantly(last(100, 51, 10), GATES)
    assert not improves_significantly(replace(last(100, 49, 10), excess=0.1), GATES)
    assert not improves_significantly(None, GATES)


def test_good_is_only_what_gains_beyond_chance() -> None:
    window = [last(100, 90, 10)] * 9  # 90 +- 30
    assert conclude(WELL, window[1:], GATES) is Verdict.FAIR
    assert conclude(WELL, [*window, window[0]], GATES) is Verdict.GOOD
    assert conclude(WELL, [], GATES) is Verdict.FAIR
    assert conclude(WELL, [None] * 9, GATES) is Verdict.FAIR
    assert conclude(None, [*window, window[0]], GATES) is Verdict.UNKNOWN
    assert conclude(WELL, [*window, last(100, 131, 10)], GATES) is Verdict.BAD


def test_it_opens_when_it_has_seen_enough() -> None:
    cleaned = clean(engine(), record(20).blocks())
    assert_sound(cleaned)
    # Two of the window's three transforms of 2 s are enough; the first of valid data begins in the
    # second second.
    assert shut(gate_of(cleaned)) == [(0.0, 4.0)]
    assert cleaned[3].estimates["all"].reasons == (reasons.UNSETTLED,)
    bits = [int(np.bitwise_and.reduce(state_bits(block))) for block in cleaned]
    assert [bool(b & State.IN_SPEC) for b in bits] == [False] * 5 + [True] * 15
    assert [bool(b & State.SETTLED) for b in bits] == [False] * 5 + [True] * 15


@pytest.mark.parametrize("factor", [-1.0, 2.5, 4.0, 20.0])
@pytest.mark.parametrize("offset", [0, 0.3, 0.9])
def test_an_estimate_that_turns_bad_is_kept_out(factor: float, offset: float) -> None:
    low, high = 15 + offset, 18 + offset
    cleaned = clean(engine(), scaled(record(40), low, high, factor).blocks())
    assert_sound(cleaned)
    closed = shut(gate_of(cleaned))[1:]
    (start, end), *others = closed
    assert others == []
    # From the slot in which it jumps, or when enough of it has been seen and the gate has faded.
    assert low - 1 / 16 <= start <= low + 1.0 + 0.5 * GATES.fade / NS
    # Open again when the bad has left the window, and the gate has rested.
    assert high + 2 <= end <= high + 7
    why = {reason for block in cleaned[15:18] for reason in block.estimates["all"].reasons}
    assert why <= {reasons.OUT_OF_SPEC, reasons.JUMP}
    assert same_bits(
        strain_of(cleaned)[round(start * RATE) : round(end * RATE)],
        raw_of(cleaned)[round(start * RATE) : round(end * RATE)],
    )


def test_nothing_subtracted_does_no_harm() -> None:
    cleaned = clean(engine(), scaled(record(40), 15.3, 16.9, 0.0).blocks())
    assert shut(gate_of(cleaned))[1:] == []


def test_a_jump_closes_within_its_slot() -> None:
    data = scaled(record(40), 20.25, 20.5, 50.0)
    cleaned = clean(engine(), data.blocks())
    closed = shut(gate_of(cleaned))[1:]
    assert closed[0][0] == 20.25


def test_production_is_subtracted_whatever_the_gate_says() -> None:
    data = scaled(record(30), 15, 18, -1.0)
    gated = clean(engine(), data.blocks())
    free = clean(engine(replace(GATED, gate=None)), data.blocks())
    for one, other in zip(gated, free, strict=True):
        ungated, expected = one.estimates["all"].ungated(), other.estimates["all"]
        assert same_bits(ungated.noise, expected.noise)
        assert same_bits(ungated.gain, expected.gain)


@pytest.mark.parametrize("hop", [SIXTEENTH, NS // 4, 4 * NS])
def test_the_gate_is_where_it_is_whatever_the_hop(hop: int) -> None:
    data = scaled(scaled(record(40), 15.3, 17, -1.0), 28.1, 28.2, 60.0)
    expected = gate_of(clean(engine(), data.blocks()))[: 36 * RATE]
    found = gate_of(clean(engine(replace(GATED, hop=hop)), data.blocks()))[: 36 * RATE]
    assert len(shut(expected)) == 3
    assert same_bits(found, expected)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_the_gate_is_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    data = scaled(record(24), 12.4, 14, -1.0)
    whole = clean(engine(), data.blocks((16,)))
    parts = clean(engine(), data.blocks(cuts))
    assert same_bits(gate_of(whole), gate_of(parts))
    assert same_bits(strain_of(whole), strain_of(parts))


bad_times = st.lists(
    st.tuples(st.floats(0, 55), st.floats(0.2, 4), st.sampled_from([-1.0, 1.4, 5.0, np.nan])),
    max_size=5,
)


@settings(max_examples=15, deadline=None)
@given(bad_times, st.integers(0, 20 * 16))
def test_engines_agree_after_history(bad: list[tuple[float, float, float]], skipped: int) -> None:
    data = record(60)
    for low, length, factor in bad:
        data = scaled(data, low, low + length, factor)
    long = clean(engine(), data.blocks())
    begin = data.span.start + skipped * SIXTEENTH
    short = clean(engine(), data.between(skipped * SIXTEENTH, 60 * NS).blocks((16,)))
    agreed = begin + engine().history
    first = (-(-agreed // NS) * NS - data.span.start) * RATE // NS
    # The last block lacks its look-ahead where the last one of the other does.
    until = 58 * RATE
    expected = strain_of(long)[first:until]
    offset = skipped * RATE // 16
    assert same_bits(strain_of(short)[first - offset : until - offset], expected)
    found = gate_of(short)[first - offset : until - offset]
    assert same_bits(found, gate_of(long)[first:until])


def test_what_comes_later_changes_nothing() -> None:
    data = record(40)
    wild = scaled(data, 30, 40, 100.0)
    assert engine().lookahead <= NS
    before = clean(engine(), data.blocks())[:29]
    after = clean(engine(), wild.blocks())[:29]
    assert same_bits(strain_of(before), strain_of(after))


def with_state(data: Record, ready: Sequence[bool]) -> list[Block]:
    """Return one-second blocks with a state vector that is ready, or not, second by second."""
    blocks = []
    for block, is_ready in zip(data.blocks(), ready, strict=True):
        bits = np.full(16, 0b111 if is_ready else 0b001, dtype=np.uint32)
        blocks.append(replace(block, state=Series(block.span, 16, bits)))
    return blocks


def settled(blocks: list[CleanedBlock]) -> list[bool]:
    return [bool(np.bitwise_and.reduce(state_bits(block)) & State.SETTLED) for block in blocks]


def test_statistics_hold_while_not_ready_and_begin_anew_at_lock() -> None:
    data = record(44)
    raw = data.strain
    assert isinstance(raw, Series)
    # The detector falls out of lock: what the strain is then must count for nothing.
    lost = Span.of_seconds(data.span.start // NS + 16, 2)
    rng = np.random.default_rng(1)
    wild = changed(raw, lost, 1e6 * raw.samples[: 2 * RATE] * rng.standard_normal(2 * RATE))
    ready = [not 16 <= second < 18 for second in range(44)]
    cleaned = clean(engine(), with_state(Record(data.span, wild, data.witnesses), ready))
    # Cleaning goes on, and the gate is as it was.
    assert shut(gate_of(cleaned)) == [(0.0, 5.0)]
    assert (cleaned[17].estimates["all"].gain == 1).all()
    # The window is full of what came after the lock, not before.
    assert settled(cleaned) == [5 <= s < 17 or s >= 22 for s in range(44)]
    quality = [block.estimates["all"].quality for block in cleaned]
    assert quality[17] is not None
    assert quality[17] == quality[19]
    assert quality[24] is not None
    assert quality[24].in_band < 0.2


def test_a_gate_that_sees_nothing_good_for_long_closes() -> None:
    ready = [not 16 <= second < 30 for second in range(44)]
    cleaned = clean(engine(), with_state(record(44), ready))
    (_, (start, end)) = shut(gate_of(cleaned))
    # Six seconds after the last good verdict, gently; open again when it has seen enough of
    # the new lock.
    assert start == 22.0 + GATES.fade / NS
    assert end == 33.0
    assert cleaned[25].estimates["all"].reasons == (reasons.UNSETTLED,)


@pytest.mark.parametrize("lost", ["strain", "witness", "nan"])
def test_missing_data_hold_the_statistics(lost: str) -> None:
    data = record(40)
    blocks = data.blocks()
    for second in (18, 19):
        block = blocks[second]
        if lost == "strain":
            blocks[second] = replace(block, strain=Gap(block.span, "strain_missing"))
        elif lost == "witness":
            blocks[second] = replace(block, witnesses={})
        else:
            assert isinstance(block.strain, Series)
            wrong = changed(block.strain, block.span, np.nan)
            blocks[second] = replace(block, strain=wrong)
    cleaned = clean(engine(), blocks)
    assert_sound(cleaned)
    gates = [block.estimates["all"].gate for block in cleaned if block.cleaned is not None]
    assert all((gate == 1).all() for gate in gates[7:] if gate is not None)


def test_releasing_changes_nothing_that_comes() -> None:
    data = scaled(record(30), 15, 17, -1.0)
    expected = push_all(engine(), data.blocks())
    other, found = engine(), []
    for block in data.blocks():
        found += other.push(block)
        if block.span.start // NS % 3 == 0:
            found += other.release()
    by_span = {block.span: block for block in found}
    same = [one for one in expected if _valid(by_span[one.span]) == _valid(one)]
    assert len(same) > 15
    for one in same:
        assert same_bits(gate_of([by_span[one.span]]), gate_of([one]))


def _valid(block: CleanedBlock) -> bytes:
    valid = block.estimates["all"].valid
    assert valid is not None
    return valid.tobytes()


def test_ramps_are_smooth() -> None:
    cleaned = clean(engine(), scaled(record(40), 15.3, 18, -1.0).blocks())
    gate = gate_of(cleaned)
    assert np.abs(np.diff(gate)).max() <= 1.001 * np.pi / 2 / (GATED.ramp * RATE // NS)
    for one, other in pairwise(shut(gate)):
        assert other[0] - one[1] > 2 * GATED.ramp / NS


def test_a_ramp_of_odd_length_is_refused() -> None:
    with pytest.raises(ValueError, match="whole sixteenths"):
        replace(GATED, ramp=NS // 32)


def test_a_gate_without_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the bands"):
        transparent(GATED, "FAST")
