"""The engine in bad weather: every kind of fault, and what comes out nevertheless."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.predict import Network
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    NOISE,
    RATES,
    SIXTEENTH,
    SMALL,
    Record,
    Small,
    changed,
    clean,
    estimate,
    first_channel,
    make_engine,
    make_record,
    raw_of,
    same_bits,
    strain_of,
    transparent,
)
from tests.helpers.faulty_input import (
    BOX,
    FAULTS,
    LINEAR,
    RATE,
    Fault,
    assert_sound,
    at,
    gap,
    in_blocks,
    linear,
    no_block,
    record,
)
from tests.helpers.settings import engine_settings, predict_settings

every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)

SPANS = [at(66, 68), at(64, 80), at(48, 98)]


def aligned(cleaned: Sequence[CleanedBlock], values: Float64, like: Record) -> Float64:
    """Return samples of blocks in the record's places, NaN where there is no block."""
    found = np.full(like.span.samples(RATE), np.nan)
    begin, _ = like.span.indices(RATE)
    taken = 0
    for block in cleaned:
        first, stop = (i - begin for i in block.span.indices(RATE))
        found[first:stop] = values[taken : taken + stop - first]
        taken += stop - first
    return found


@every_fault
@pytest.mark.parametrize("witness", RATES)
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_fault_silences_what_rests_on_it(fault: Fault, witness: str, span: Span) -> None:
    data = record()
    whole = estimate(clean(linear(witness), data.blocks()), "all")
    wild = data.replaced(**{witness: changed(data.witnesses[witness], span, 1e3)})
    other = estimate(clean(linear(witness), wild.blocks()), "all")
    touched = np.abs(other.noise - whole.noise) > 1e-12 * NOISE
    cleaned = clean(linear(witness), fault(data, witness, span))
    found = estimate(cleaned, "all")
    gain, noise = (aligned(cleaned, part, data) for part in (found.gain, found.noise))
    there = np.isfinite(gain)
    # Where it matters, nothing is subtracted; where something is, it is the right thing.
    assert (gain[there & touched] == 0).all()
    weighed = there & (gain > 0)
    np.testing.assert_allclose(noise[weighed], whole.noise[weighed], rtol=0, atol=1e-12 * NOISE)
    # Not more than the filters reach: the longest witness filter, the box, and two samples.
    begin, _ = data.span.indices(RATE)
    low, high = (i - begin for i in span.indices(RATE))
    reach = RATE // 4 + BOX + 2
    ramp = LINEAR.ramp * RATE // NS
    warm, end = reach + ramp, len(gain) - reach - ramp - RATE
    beyond = np.r_[warm : low - reach - ramp, high + reach + ramp : end]
    assert (gain[beyond] == 1).all()
    zeros = np.flatnonzero(gain[warm:end] == 0) + warm
    assert low - reach <= zeros.min()
    assert zeros.max() < high + reach
    assert_sound(cleaned)


@pytest.mark.parametrize("offset", range(8))
def test_the_reason_goes_as_far_as_the_ramp(offset: int) -> None:
    """To the sample of the strain, also where the model's are finer."""
    shared = engine_settings(strain_rate=512, model_rate=2048, ramp=NS // 8)
    data = make_record(5, {"FAST": 2048}, strain_rate=512)
    assert isinstance(data.witnesses["FAST"], Series)
    samples = data.witnesses["FAST"].samples.copy()
    samples[5000 + offset] = np.nan
    wild = data.replaced(FAST=Series(data.span, 2048, samples))
    cleaned = clean(transparent(shared, "FAST", settle_in=BOX), wild.blocks((1,)))
    assert_sound(cleaned)
    marked = [i for i, b in enumerate(cleaned) if "witness_nonfinite" in b.estimates["all"].reasons]
    assert marked == list(range(marked[0], marked[-1] + 1))


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "no block"])
def test_ramps_are_smooth(name: str) -> None:
    cleaned = clean(linear("FAST"), FAULTS[name](record(), "FAST", SPANS[0]))
    gain = estimate(cleaned, "all").gain
    steepest = np.pi / 2 / (LINEAR.ramp * RATE // NS)
    assert np.abs(np.diff(gain)).max() <= 1.001 * steepest
    # Down to nothing and up again: at the start, around the fault, at the end.
    assert gain[0] == gain[-1] == 0
    assert (np.diff(np.flatnonzero(gain == 0)) > 1).sum() == 2


@every_fault
def test_missing_in_any_way_is_missing_alike(fault: Fault) -> None:
    """What a bad stretch holds does not matter, only that it is bad."""
    data, span = record(), at(64, 80)
    expected = estimate(clean(linear("FAST"), gap(data, "FAST", span)), "all")
    cleaned = clean(linear("FAST"), fault(data, "FAST", span))
    found = estimate(cleaned, "all")
    there = np.isfinite(aligned(cleaned, found.gain, data))
    assert same_bits(found.gain * found.noise, (expected.gain * expected.noise)[there])
    if fault is not no_block:
        # A sample is missing at an instant, a gap lasts until its end: 1/2048 s, one sample here.
        edge = np.flatnonzero(found.gain != expected.gain)
        assert len(edge) <= 2 * LINEAR.ramp * RATE // NS


def sixteenths_beyond(engine: Engine) -> int:
    """Return the shortest hole (1/16 s) after which an engine begins anew."""
    return (engine.history + engine.lookahead) // SIXTEENTH + 1


@pytest.mark.parametrize("make", [lambda: linear("FAST", LINEAR), make_engine], ids=["box", "fir"])
@pytest.mark.parametrize("hole", [1, 16, 24, 0, -1, 300])
def test_missing_blocks_are_gaps_of_any_length(make: Callable[[], Engine], hole: int) -> None:
    """Also just within and beyond what the engine can bridge, here 0 and -1."""
    engine = make()
    data = make_record(30, strain_rate=engine.settings.strain_rate)
    hole = hole if hole > 0 else sixteenths_beyond(engine) + hole
    span = at(65, 65 + hole)
    missing = {name: Gap(span, "missing") for name in RATES}
    with_gaps = clean(
        make(), in_blocks(data, span, lambda b: [Block(span, Gap(span, "missing"), missing)])
    )
    without = clean(engine, no_block(data, "FAST", span))
    rest = [block for block in with_gaps if not block.span.overlap(span)]
    assert [b.span for b in rest] == [b.span for b in without]
    assert same_bits(strain_of(rest), strain_of(without))
    (name,) = rest[0].estimates
    one, other = estimate(rest, name), estimate(without, name)
    assert same_bits(one.gain, other.gain)
    assert same_bits(one.gain * one.noise, other.gain * other.noise)


def test_a_missing_witness_leaves_couplings_without_it_alone() -> None:
    shared = [Small("both", ("FAST", "SLOW")), Small("fast", ("FAST",))]
    data = make_record(12)
    span = at(80, 96)
    cleaned = clean(make_engine(SMALL, *shared), gap(data, "SLOW", span))
    whole = clean(make_engine(SMALL, *shared), data.blocks())
    inside = slice(4 * SMALL.strain_rate, 9 * SMALL.strain_rate)
    assert (estimate(cleaned, "fast").gain[inside] == 1).all()
    assert same_bits(estimate(cleaned, "fast").noise, estimate(whole, "fast").noise)
    assert (estimate(cleaned, "both").gain[inside] == 0).any()
    fast = estimate(whole, "fast").noise
    silent = np.flatnonzero(estimate(cleaned, "both").gain[inside] == 0) + inside.start
    raw = raw_of(cleaned)
    assert same_bits(strain_of(cleaned)[silent], (raw - fast)[silent])


@pytest.mark.parametrize("rates", [(2048, 1024, 2048), (2048, 16, 512)])
def test_a_rate_may_change_and_change_back(rates: tuple[int, int, int]) -> None:
    """A constant witness stays constant, with a gap where blocks meet and nowhere else."""
    span = Span.of_seconds(record().span.start // NS, 12)
    strain = make_record(12, strain_rate=RATE).strain
    blocks = []
    for second in range(12):
        piece = Span(span.start + second * NS, span.start + (second + 1) * NS)
        rate = rates[second // 4]
        witness = Series(piece, rate, np.full(rate, 2.0))
        assert isinstance(strain, Series)
        blocks.append(Block(piece, strain.cut(piece), {"FAST": witness}))
    cleaned = clean(linear("FAST"), blocks)
    found = estimate(cleaned, "all")
    weighed = found.gain > 0
    np.testing.assert_allclose(found.noise[weighed], 2 * NOISE, rtol=1e-6)
    reach = RATE // 4 + BOX + 2
    middle = found.gain[2 * RATE : 10 * RATE]
    zeros = np.flatnonzero(middle == 0) + 2 * RATE
    near = np.minimum(np.abs(zeros - 4 * RATE), np.abs(zeros - 8 * RATE))
    assert near.max() <= reach
    assert {4 * RATE, 8 * RATE} <= set(zeros)
    assert_sound(cleaned)


def wrong_above(limit: float, value: float) -> Network:
    """Return a network that answers `value` where its input exceeds a limit."""

    def network(inputs: torch.Tensor) -> torch.Tensor:
        return torch.where(inputs[:, 0] > limit, torch.tensor(value), inputs[:, 0])

    return network


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["pass", "windows"])
def test_a_network_that_answers_nonsense_is_not_believed(value: float, mode: str) -> None:
    data = record()
    wild = data.replaced(FAST=changed(data.witnesses["FAST"], at(70, 71), 50.0))
    chosen = predict_settings(mode, kernel=64, edge=0)
    engines = [
        transparent(LINEAR, "FAST", settle_in=BOX, predict=chosen, network=network)
        for network in (wrong_above(20.0, value), first_channel)
    ]
    cleaned, plain = (clean(engine, wild.blocks()) for engine in engines)
    assert_sound(cleaned)
    found, expected = estimate(cleaned, "all"), estimate(plain, "all")
    bad = np.flatnonzero(expected.noise > 4 * NOISE)
    assert len(bad) > 0
    assert (found.gain[bad] == 0).all()
    zeros = np.flatnonzero(found.gain[RATE : 8 * RATE] == 0) + RATE
    assert zeros.max() - zeros.min() <= RATE // 16 + 2 * BOX + 60
    # The rest is what it would have been.
    weighed = found.gain > 0
    np.testing.assert_allclose(
        found.noise[weighed], expected.noise[weighed], rtol=0, atol=1e-9 * NOISE
    )


def test_a_network_that_is_always_wrong_changes_nothing() -> None:
    engine = transparent(
        LINEAR, "FAST", settle_in=BOX, network=lambda inputs: inputs[:, 0] * torch.nan
    )
    cleaned = clean(engine, record().blocks())
    assert same_bits(strain_of(cleaned), raw_of(cleaned))
    assert len(cleaned) == 10


@pytest.mark.parametrize("value", [1e30, -1e300, np.finfo(float).max])
def test_a_witness_out_of_all_bounds_raises_nothing(value: float) -> None:
    data = record()
    wild = data.replaced(FAST=changed(data.witnesses["FAST"], at(70, 71), value))
    cleaned = clean(linear("FAST"), wild.blocks())
    assert_sound(cleaned)
    if abs(value) > 1e300:
        # What float32 cannot hold is as good as missing.
        missing = data.replaced(FAST=changed(data.witnesses["FAST"], at(70, 71), np.nan))
        expected = estimate(clean(linear("FAST"), missing.blocks()), "all")
        found = estimate(cleaned, "all")
        assert (found.gain[expected.noise == 0] == 0).all()
    small = make_record(8)
    wild = small.replaced(FAST=changed(small.witnesses["FAST"], at(70, 71), value))
    assert_sound(clean(make_engine(), wild.blocks()))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int16", "uint8"])
def test_witnesses_of_any_type_are_their_values(dtype: str) -> None:
    data = record()
    counts = np.random.default_rng(0).integers(0, 100, 10 * 2048)
    found = [
        strain_of(clean(linear("FAST"), data.replaced(FAST=series).blocks()))
        for series in (Series(data.span, 2048, counts.astype(t)) for t in (dtype, "float64"))
    ]
    assert same_bits(*found)
