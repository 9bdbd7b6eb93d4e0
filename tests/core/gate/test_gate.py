"""What the gate does to a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock, Gap, Series, Version
from deepclean.core.gate.cadence import FAST_STEP, SLOT
from deepclean.core.gate.monitor import GateMonitor
from deepclean.core.gate.table import Gate, GateState, Verdict, step
from deepclean.core.gate.verdicts import conclude
from deepclean.core.output.products import State, state_bits
from deepclean.core.strain import StrainSpectra
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    NOISE,
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
from tests.helpers.gated_stream import (
    BANDS,
    GATED,
    GATES,
    RATE,
    WELL,
    engine,
    gate_of,
    look,
    record,
    scaled,
    shut,
)


@given(
    st.sampled_from(["in_band", "worst", "guard", "outside", "net"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_what_is_no_number_never_opens(name: str, value: float) -> None:
    well, late = [look(100, 90, 10)] * 10, 100 * NS
    opened, _ = step(Gate.start(0), conclude(WELL, well, GATES).verdict, late, GATES)
    assert opened.state is GateState.ON
    for part in (look(value, 1, 1), look(1, value, 1), look(1, 1, value)):
        assert conclude(WELL, [*well, part], GATES).verdict in (Verdict.BAD, Verdict.URGENT)
    spike = look(1, 1, 1, worst=abs(value))
    assert conclude(WELL, [*well, spike], GATES).verdict is Verdict.BAD
    verdict = conclude(replace(WELL, **{name: value}), well, GATES).verdict
    for gate in (Gate.start(0), opened):
        assert step(gate, verdict, late, GATES)[0].state is GateState.OFF


def test_it_opens_when_it_has_seen_enough() -> None:
    cleaned = clean(engine(), record(20).blocks())
    assert_sound(cleaned)
    # Two of the window's three transforms of 2 s are enough to measure, the first of valid data
    # begins in the second second; a second later the gain is beyond chance.
    assert shut(gate_of(cleaned)) == [(0.0, 5.0)]
    assert cleaned[3].estimates["all"].reasons == (reasons.UNSETTLED,)
    bits = [int(np.bitwise_and.reduce(state_bits(block))) for block in cleaned]
    assert [bool(b & State.IN_SPEC) for b in bits] == [False] * 6 + [True] * 14
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
    data = scaled(record(40), 20.3125, 20.5, 50.0)
    cleaned = clean(engine(), data.blocks())
    closed = shut(gate_of(cleaned))[1:]
    assert closed[0][0] == 20.3125
    assert reasons.JUMP in cleaned[20].estimates["all"].reasons


def test_what_was_right_when_it_was_as_loud_does_not_jump_again() -> None:
    # In many bins, so that a second says beyond chance that cleaning makes it better.
    wide = transparent(GATED, "FAST", bands=((40.0, 140.0),))
    data = record(30)
    for low in (20, 22.5):
        data = scaled(data, low, low + 1, 10.0)
    witness = data.witnesses["FAST"]
    assert isinstance(witness, Series)
    floor = np.random.default_rng(1).standard_normal(len(witness.samples))
    strain = Series(data.span, RATE, NOISE * (witness.samples + 0.1 * floor))
    cleaned = clean(wide, Record(data.span, strain, data.witnesses).blocks())
    ((_, opened), (start, end)) = shut(gate_of(cleaned))
    assert opened < 10
    assert start == 20
    assert end < 22
    assert cleaned[20].estimates["all"].reasons == (reasons.JUMP,)


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


def test_one_bad_sample_costs_the_same_however_the_stream_is_cut() -> None:
    """It was charged to its block: of 4 s, or of a minute, none of which could be judged."""
    data = record(24)
    assert isinstance(data.strain, Series)
    samples = data.strain.samples.copy()
    samples[12 * RATE + 100] = np.nan
    data = replace(data, strain=Series(data.span, RATE, samples))
    one, *others = [clean(engine(), data.blocks(cuts)) for cuts in ([16], [1], [64], [24 * 16])]
    for other in others:
        assert same_bits(gate_of(other), gate_of(one))
        bits, expected = (
            np.concatenate([state_bits(block) for block in run]) for run in (other, one)
        )
        np.testing.assert_array_equal(bits, expected)


@settings(max_examples=8, deadline=None)
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
    assert shut(gate_of(cleaned)) == [(0.0, 6.0)]
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
    # As long as it takes to have seen enough again.
    patient = replace(GATED, gate=replace(GATES, memory=8 * NS))
    cleaned = clean(engine(patient), blocks)
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


def test_the_reasons_of_a_closed_gate_have_an_order() -> None:
    monitor = GateMonitor(GATES, {"all": BANDS}, StrainSpectra(RATE, 0.45 * RATE), RATE)
    state, version = monitor.start(0), Version("all", 1)
    monitor.add(state, version)
    watched = state.couplings[version]
    watched.faded.add(20 * NS, 21 * NS, reasons.OUT_OF_SPEC)
    for number, reason in enumerate((reasons.UNSETTLED, reasons.JUMP)):
        watched.closed.add((22 + number) * NS, (23 + number) * NS, reason)
    gain, why = monitor.gain(watched, Span.of_seconds(10, 4), GATED.ramp)
    assert (gain == 1).all()
    assert why == ()
    gain, why = monitor.gain(watched, Span.of_seconds(20, 4), GATED.ramp)
    assert shut(gain) == [(0.0, 1.0), (2.0, 4.0)]
    assert why == reasons.OF_GATES


def test_a_copy_goes_its_own_way() -> None:
    monitor = GateMonitor(GATES, {"all": BANDS}, StrainSpectra(RATE, 0.45 * RATE), RATE)
    state, version = monitor.start(0), Version("all", 1)
    monitor.add(state, version)
    twin = state.copy()
    theirs, ours = twin.couplings[version], state.couplings[version]
    theirs.closed.add(0, NS, reasons.JUMP)
    theirs.levels.append(1.0)
    theirs.gate, _ = step(theirs.gate, Verdict.URGENT, NS, GATES)
    assert ours.closed.overlapping(FAST_STEP, NS) == []
    assert list(ours.levels) == []
    assert ours.gate == Gate.start(0)
    # What bounds a queue is copied too.
    assert theirs.levels.maxlen == ours.levels.maxlen == GATES.window // SLOT


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
