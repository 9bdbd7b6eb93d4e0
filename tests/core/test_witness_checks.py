"""Each witness is judged by itself: absent, zero, frozen, not finite, flagged invalid, clipped."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepclean.core import nonfinite, reasons, witness_checks
from deepclean.core.block import CleanedBlock, Gap, Series, WitnessFault
from deepclean.core.engine.engine import Engine
from deepclean.core.nonfinite import runs
from deepclean.core.output.products import State, state_bits
from deepclean.core.time import NS, Span
from deepclean.core.witness_checks import ConstantRun, Run, WitnessSettings, clipped, frozen
from tests.helpers.builders import (
    SIXTEENTH,
    Record,
    Small,
    changed,
    clean,
    estimate,
    first_channel,
    make_engine,
    make_record,
    same_bits,
    strain_of,
    transparent,
)
from tests.helpers.faulty_input import BOX, LINEAR, RATE, assert_sound, at

JUDGING = replace(
    LINEAR, witness=WitnessSettings(frozen=NS // 2, limits={"FAST": 50.0, "SLOW": 50.0})
)

values = st.lists(st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, np.nan]), min_size=1, max_size=60)


def judged(samples: NDArray[np.float64], cuts: list[int], rate: int, duration: int) -> list[int]:
    """Return the indices of frozen samples, judged in pieces, from index 1000 on."""
    held: ConstantRun | None = None
    found: list[Run] = []
    edges = [0, *sorted(set(cuts)), len(samples)]
    for low, high in pairwise(edges):
        if low < high:
            runs, held = frozen(samples[low:high], 1000 + low, rate, duration, held)
            found += runs
    return [index - 1000 for low, high in found for index in range(low, high)]


@given(values, st.data(), st.integers(1, 6))
def test_frozen_samples_repeat(samples: list[float], data: st.DataObject, count: int) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=8))
    expected = [
        i
        for i in range(count, len(samples))
        if samples[i] != 0 and all(samples[j] == samples[i] for j in range(i - count, i))
    ]
    assert judged(np.array(samples), cuts, 16, count * NS // 16) == expected


def test_what_went_before_counts_only_where_it_follows_at_once() -> None:
    ones = np.ones(4)
    _, held = frozen(ones, 0, 16, NS // 4, None)
    assert frozen(ones, 4, 16, NS // 4, held)[0] == [(4, 8)]
    assert frozen(ones, 5, 16, NS // 4, held)[0] == []


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30))
def test_a_sample_is_clipped_from_the_limit_on(samples: list[float]) -> None:
    found = [i for low, high in clipped(np.array(samples), 7, 2.0) for i in range(low, high)]
    assert found == [i + 7 for i, sample in enumerate(samples) if abs(sample) >= 2.0]


def bits(blocks: list[CleanedBlock], bit: State) -> NDArray[np.bool_]:
    """Return a bit of the state vector over consecutive blocks, at 16 Hz."""
    return np.concatenate([state_bits(block) & bit != 0 for block in blocks])


def faults(blocks: list[CleanedBlock]) -> set[tuple[str, str]]:
    return {(fault.witness, fault.reason) for block in blocks for fault in block.faults}


STALE = at(64, 96)
"""Two seconds of the record, from its fifth."""


def held_value(data: Record, name: str, span: Span, value: float) -> Record:
    return data.replaced(**{name: changed(data.witnesses[name], span, value)})


def test_a_frozen_witness_is_let_go_of_and_comes_back() -> None:
    data = make_record(12, strain_rate=RATE)
    engine = transparent(JUDGING, "FAST", settle_in=BOX)
    cleaned = clean(engine, held_value(data, "FAST", STALE, 3.0).blocks())
    assert_sound(cleaned)
    gain = estimate(cleaned, "all").gain
    begin, _ = data.span.indices(RATE)
    # Half a second after it froze, until it moves again; the estimate's reach either side.
    low = (STALE.start + NS // 2) * RATE // NS - begin
    high = STALE.end * RATE // NS - begin
    assert (gain[low:high] == 0).all()
    reach = RATE // 4 + BOX + 2 + JUDGING.ramp * RATE // NS
    warm = 2 * RATE
    assert (gain[warm : low - reach] == 1).all()
    assert (gain[high + reach : -2 * RATE] == 1).all()
    assert faults(cleaned) == {("FAST", reasons.FROZEN)}
    why = {r for block in cleaned[4:8] for r in block.estimates["all"].reasons}
    assert why == {reasons.FROZEN}
    good = bits(cleaned, State.WITNESSES_GOOD)
    assert np.flatnonzero(~good).tolist() == list(range(64 + 8, 96))


@pytest.mark.parametrize("name", ["SLOW", "ODD", "FAST"])
def test_a_frozen_witness_is_the_same_however_the_stream_is_cut(name: str) -> None:
    data = held_value(make_record(12, strain_rate=RATE), name, at(57, 99), -2.0)
    whole = clean(transparent(JUDGING, name, settle_in=BOX), data.blocks((16,)))
    parts = clean(transparent(JUDGING, name, settle_in=BOX), data.blocks((1, 5, 16, 3)))
    for one, other in zip(_of(whole), _of(parts), strict=True):
        assert same_bits(one, other)
    np.testing.assert_array_equal(
        bits(whole, State.WITNESSES_GOOD), bits(parts, State.WITNESSES_GOOD)
    )


def _of(blocks: list[CleanedBlock]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = estimate(blocks, "all")
    return found.gain, found.noise


def test_history_is_enough_to_know_that_a_witness_is_frozen() -> None:
    """An engine begun `H` before a block agrees with one that saw it freeze long ago."""
    data = held_value(make_record(14, strain_rate=RATE), "FAST", at(40, 160), 1.5)

    def engine() -> Engine:
        return transparent(JUDGING, "FAST", settle_in=BOX)

    long = clean(engine(), data.blocks())
    second = data.span.start + 9 * NS
    needed = engine().needs(Span(second, second + NS)).start
    start = needed // SIXTEENTH * SIXTEENTH - data.span.start
    short = clean(engine(), data.between(start, data.span.duration).blocks((1,)))
    gain = np.concatenate([b.estimates["all"].gain for b in short if b.span.start >= second])
    expected = np.concatenate([b.estimates["all"].gain for b in long if b.span.start >= second])
    assert same_bits(gain, expected)
    assert (expected[: RATE // 2] == 0).all()


def test_a_clipped_witness_costs_what_rests_on_the_clipped_samples() -> None:
    data = held_value(make_record(10, strain_rate=RATE), "FAST", at(70, 72), 60.0)
    cleaned = clean(transparent(JUDGING, "FAST", settle_in=BOX), data.blocks())
    assert_sound(cleaned)
    assert faults(cleaned) == {("FAST", reasons.CLIPPED)}
    assert np.flatnonzero(~bits(cleaned, State.WITNESSES_GOOD)).tolist() == [70, 71]
    other = clean(transparent(LINEAR, "FAST", settle_in=BOX), data.blocks())
    assert faults(other) == set()


@pytest.mark.parametrize("value", [60.0, np.nan], ids=["clipped", "not finite"])
def test_thousands_of_gaps_cost_no_more_than_one(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gaps that are close to one another are one gap: the output is the same, bit for bit."""
    rng = np.random.default_rng(4)
    data = make_record(10, {"FAST": 16384}, strain_rate=RATE)
    witness = data.witnesses["FAST"]
    assert isinstance(witness, Series)
    samples = np.array(witness.samples)
    noisy = slice(4 * 16384, 5 * 16384)  # every sixth or so; further on a few, far apart
    samples[noisy] = np.where(rng.random(16384) < 0.15, value, samples[noisy])
    samples[6 * 16384 + np.array([0, 7, 900, 5000, 5001, 9000])] = value
    data = replace(data, witnesses={"FAST": replace(witness, samples=samples)})

    def cleaned() -> list[CleanedBlock]:
        return clean(transparent(JUDGING, "FAST", settle_in=BOX), data.blocks())

    found, close = cleaned(), runs
    count = sum(len(block.faults) for block in found)
    for module in (nonfinite, witness_checks):
        monkeypatch.setattr(module, "runs", lambda marked, _=0: close(marked))
    each = cleaned()
    assert sum(len(block.faults) for block in each) > 1500
    assert count < 10
    assert same_bits(strain_of(found), strain_of(each))
    assert same_bits(estimate(found, "all").gain, estimate(each, "all").gain)
    assert estimate(found, "all").reasons == estimate(each, "all").reasons


def test_zeros_are_data_and_are_counted() -> None:
    data = held_value(make_record(10, strain_rate=RATE), "FAST", at(48, 112), 0.0)
    cleaned = clean(transparent(JUDGING, "FAST", settle_in=BOX), data.blocks())
    assert faults(cleaned) == {("FAST", reasons.ZERO)}
    found = estimate(cleaned, "all")
    assert (found.gain[3 * RATE : -2 * RATE] == 1).all()
    # The line that is switched off stops being subtracted.
    assert (found.noise[4 * RATE : 6 * RATE] == 0).all()
    assert bits(cleaned, State.WITNESSES_GOOD).all()


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        (None, reasons.MISSING),
        (Gap(at(64, 80), reasons.INVALID), reasons.INVALID),
        (Gap(at(64, 80), reasons.CORRUPT), reasons.CORRUPT),
        (Series(at(64, 80), 8, np.ones(8)), reasons.BAD_RATE),
    ],
    ids=["absent", "invalid", "corrupt", "too slow"],
)
def test_what_is_wrong_is_said_channel_by_channel(
    channel: Series | Gap | None, reason: str
) -> None:
    data = make_record(10, strain_rate=RATE)
    blocks = data.blocks()
    witnesses = {name: w for name, w in blocks[4].witnesses.items() if name != "FAST"}
    if channel is not None:
        witnesses["FAST"] = channel
    blocks[4] = replace(blocks[4], witnesses=witnesses)
    cleaned = clean(make_engine(LINEAR_TWO, *TWO), blocks)
    assert faults(cleaned) == {("FAST", reason)}
    assert cleaned[4].faults == (WitnessFault("FAST", reason, at(64, 80)),)
    # The coupling that does not use it goes on.
    assert (cleaned[4].estimates["fast"].gain == 0).all()
    assert (cleaned[4].estimates["slow"].gain == 1).all()
    good = bits(cleaned, State.WITNESSES_GOOD)
    assert np.flatnonzero(~good).tolist() == list(range(64, 80))


LINEAR_TWO = replace(LINEAR, witness=JUDGING.witness)
TWO = (
    Small(name="fast", witnesses=("FAST",), network=(first_channel, 0, 1)),
    Small(name="slow", witnesses=("SLOW",), network=(first_channel, 0, 1)),
)
