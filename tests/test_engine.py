"""The engine in bad weather: every kind of fault, and what comes out nevertheless."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series
from deepclean.core.engine import Engine
from deepclean.core.plan import EngineSettings
from deepclean.core.predict import Network, PredictSettings
from deepclean.core.resample import ResampleSettings
from deepclean.core.time import NS, Span
from tests.builders import (
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
    push_all,
    raw_of,
    same_bits,
    strain_of,
    transparent,
)

LINEAR = EngineSettings(strain_rate=512, model_rate=512, ramp=NS // 8)
"""Quick, and an estimate is the mean of a witness over `BOX` samples either side."""

BOX = 40

RATE = LINEAR.strain_rate


def linear(witness: str, shared: EngineSettings = LINEAR) -> Engine:
    return transparent(shared, witness, settle_in=BOX)


def record(seconds: int = 10) -> Record:
    return make_record(seconds, strain_rate=RATE)


def at(start: int, end: int) -> Span:
    """Return a span in sixteenths of a second from the record's start."""
    begin = record().span.start
    return Span(begin + start * SIXTEENTH, begin + end * SIXTEENTH)


Fault = Callable[[Record, str, Span], list[Block]]
"""Takes a record, a witness and a span; returns the blocks with a fault of the witness there."""


def in_blocks(data: Record, span: Span, fault: Callable[[Block], list[Block]]) -> list[Block]:
    """Cut a record at a span, let `fault` change the block there, and the rest into seconds."""
    low, high = span.start - data.span.start, span.end - data.span.start
    whole = data.span.duration
    return [
        *data.between(0, low).blocks(),
        *fault(data.block(span)),
        *data.between(high, whole).blocks(),
    ]


def with_witness(block: Block, name: str, channel: Series | Gap | None) -> Block:
    witnesses = {n: w for n, w in block.witnesses.items() if n != name}
    if channel is not None:
        witnesses[name] = channel
    return Block(block.span, block.strain, witnesses)


def gap(data: Record, name: str, span: Span) -> list[Block]:
    missing = Gap(span, "missing")
    return in_blocks(data, span, lambda b: [with_witness(b, name, missing)])


def absent(data: Record, name: str, span: Span) -> list[Block]:
    return in_blocks(data, span, lambda b: [with_witness(b, name, None)])


def too_slow(data: Record, name: str, span: Span) -> list[Block]:
    slow = Series(span, 8, np.ones(span.samples(8)))
    return in_blocks(data, span, lambda b: [with_witness(b, name, slow)])


def no_block(data: Record, name: str, span: Span) -> list[Block]:
    return in_blocks(data, span, lambda b: [])


def samples_of(value: float) -> Fault:
    def fault(data: Record, name: str, span: Span) -> list[Block]:
        return data.replaced(**{name: changed(data.witnesses[name], span, value)}).blocks()

    return fault


FAULTS: dict[str, Fault] = {
    "gap": gap,
    "absent": absent,
    "too slow": too_slow,
    "no block": no_block,
    "nan": samples_of(np.nan),
    "inf": samples_of(np.inf),
    "-inf": samples_of(-np.inf),
}

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
def test_a_fault_silences_what_rests_on_it_and_no_more(
    fault: Fault, witness: str, span: Span
) -> None:
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


def assert_sound(cleaned: Sequence[CleanedBlock]) -> None:
    """Assert what holds for any output: promises 1 and 3."""
    for block in cleaned:
        strain = block.source.strain
        if isinstance(strain, Gap):
            assert block.cleaned is None
            assert block.estimates == {}
            continue
        assert block.cleaned is not None
        raw = np.asarray(strain.samples, dtype=np.float64)
        assert block.cleaned.dtype == np.float64
        assert (np.isfinite(block.cleaned) == np.isfinite(raw)).all()
        silent = np.ones(len(raw), dtype=bool)
        for part in block.estimates.values():
            assert np.isfinite(part.noise).all()
            assert ((part.gain >= 0) & (part.gain <= 1)).all()
            silent &= part.gain == 0
        assert same_bits(block.cleaned[silent], raw[silent])


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


REACH = (linear("FAST").history + linear("FAST").lookahead) // SIXTEENTH


@pytest.mark.parametrize("hole", [1, 16, REACH, REACH + 1, 300])
def test_missing_blocks_are_gaps_of_any_length(hole: int) -> None:
    """Also beyond what history and look-ahead span, where the engine begins anew."""
    data = record(30)
    span = at(65, 65 + hole)
    engine = linear("FAST")
    with_gaps = clean(linear("FAST"), gap(data, "FAST", span))
    without = clean(engine, no_block(data, "FAST", span))
    rest = [block for block in with_gaps if not block.span.overlap(span)]
    assert [b.span for b in rest] == [b.span for b in without]
    assert same_bits(strain_of(rest), strain_of(without))
    assert same_bits(estimate(rest, "all").gain, estimate(without, "all").gain)


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
    """A constant witness stays constant, with a gap at the seams and nowhere else."""
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
    chosen = PredictSettings(mode, kernel=64, edge=0)
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


def test_strain_may_be_missing_or_no_number() -> None:
    data = record()
    assert isinstance(data.strain, Series)
    samples = data.strain.samples.copy()
    samples[5 * RATE + 3 : 5 * RATE + 9] = [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324]
    blocks = Record(data.span, Series(data.span, RATE, samples), data.witnesses).blocks()
    missing = Gap(blocks[6].span, "missing")
    blocks[6] = Block(blocks[6].span, missing, blocks[6].witnesses)
    cleaned = clean(linear("FAST"), blocks)
    assert [b.source for b in cleaned] == blocks
    assert_sound(cleaned)
    assert cleaned[6].cleaned is None
    # The strain is not what the estimate rests on.
    whole = clean(linear("FAST"), data.blocks())
    for index in (4, 5, 7):
        one, other = cleaned[index].estimates["all"], whole[index].estimates["all"]
        assert same_bits(one.noise, other.noise)
        assert same_bits(one.gain, other.gain)


def test_raw_is_raw_bit_for_bit_before_history_is_there() -> None:
    data = record(2)
    strain = np.tile([-0.0, 0.0, np.nan, -np.nan], RATE // 2)
    cleaned = clean(
        linear("FAST"), Record(data.span, Series(data.span, RATE, strain), data.witnesses).blocks()
    )
    gain = estimate(cleaned, "all").gain
    assert (gain[: RATE // 4] == 0).all()
    assert (gain[RATE // 2 : RATE] == 1).any()
    silent = gain == 0
    assert same_bits(strain_of(cleaned)[silent], strain[silent])


@settings(max_examples=20)
@given(st.integers(1, 9 * 16), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_release_gives_all_and_spoils_nothing_after_it(moment: int, cuts: list[int]) -> None:
    data = record()
    plain = push_all(linear("FAST"), data.blocks(cuts))
    engine, cleaned, done = linear("FAST"), [], False
    blocks = data.blocks(cuts)
    released: list[CleanedBlock] = []
    for block in blocks:
        cleaned += engine.push(block)
        if not done and block.span.end >= data.span.start + moment * SIXTEENTH:
            done = True
            pending = engine.pending
            released = engine.release()
            assert len(released) == pending
            assert engine.pending == 0
            assert engine.release() == []
            frontier = block.span.end
            cleaned += released
    assert [b.source for b in cleaned] == blocks[: len(cleaned)]
    assert_sound(cleaned)
    for found, expected in zip(cleaned, plain, strict=False):
        one, other = found.estimates["all"], expected.estimates["all"]
        if engine.needs(found.span).end <= frontier or found not in released:
            assert same_bits(one.noise, other.noise)
            assert same_bits(one.gain, other.gain)
    if released:
        # Towards the end of the input the gain falls to 0.
        gain = released[-1].estimates["all"].gain
        assert gain[-1] == 0
        assert (
            estimate(released, "all").gain <= estimate(plain + released, "all").gain.max()
        ).all()


def test_release_is_like_a_gap_after_the_input() -> None:
    data = record()
    blocks = data.blocks()
    engine = linear("FAST")
    head = push_all(engine, blocks[:5]) + engine.release()
    expected = clean(linear("FAST"), gap(data, "FAST", at(80, 159)))[:5]
    assert same_bits(strain_of(head), strain_of(expected))
    assert same_bits(estimate(head, "all").gain, estimate(expected, "all").gain)


def test_before_any_input_there_is_nothing_to_release() -> None:
    engine = linear("FAST")
    assert engine.release() == []
    assert engine.pending == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[3], "starts before the end of the input so far"),
        (lambda b: Block(b[5].span, Series(b[5].span, 1024, np.zeros(1024))), "strain at 1024 Hz"),
    ],
    ids=["again", "rate"],
)
def test_what_is_refused_changes_nothing(
    spoil: Callable[[list[Block]], Block], message: str
) -> None:
    blocks = record().blocks()
    engine = linear("FAST")
    cleaned = push_all(engine, blocks[:5])
    pending = engine.pending
    with pytest.raises(ValueError, match=message):
        engine.push(spoil(blocks))
    assert engine.pending == pending
    cleaned += clean(engine, blocks[5:])
    expected = clean(linear("FAST"), blocks)
    assert same_bits(strain_of(cleaned), strain_of(expected))


def test_a_refused_first_block_is_no_beginning() -> None:
    engine = linear("FAST")
    span = at(0, 16)
    with pytest.raises(ValueError, match="expected 512 Hz"):
        engine.push(Block(span, Series(span, 1024, np.zeros(1024))))
    blocks = make_record(10, strain_rate=RATE, start=record().span.start // NS - 100).blocks()
    assert clean(engine, blocks)[0].source is blocks[0]


def test_an_engine_has_couplings_of_different_names() -> None:
    coupling = Small().coupling()
    for couplings in ([], [coupling, coupling]):
        with pytest.raises(ValueError, match="at least one coupling, each with its own name"):
            Engine(SMALL, couplings)


def test_a_mode_that_does_not_suit_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="mode 'pass' needs an equivariant network"):
        make_engine(SMALL, Small(predict=PredictSettings("pass", 512, edge=64)))


def test_it_states_its_witnesses() -> None:
    engine = make_engine(SMALL, Small("a", ("SLOW", "FAST")), Small("b", ("ODD", "FAST")))
    assert engine.witnesses == ("FAST", "ODD", "SLOW")


@given(st.integers(-40, 40), st.integers(1, 64), st.sampled_from([1, 4, 16, 32]))
def test_needs_are_those_of_the_hops_a_span_touches(start: int, length: int, hop: int) -> None:
    engine = linear("FAST", replace(LINEAR, hop=hop * SIXTEENTH))
    span = at(start, start + length)
    needed = engine.needs(span)
    touched = Span(
        span.start // (hop * SIXTEENTH) * hop * SIXTEENTH,
        -(-span.end // (hop * SIXTEENTH)) * hop * SIXTEENTH,
    )
    assert touched.covers(span)
    assert needed == Span(touched.start - engine.history, touched.end + engine.lookahead)


def test_versions_are_those_of_the_predictors() -> None:
    engine = make_engine(SMALL, Small("a", version=3), Small("b", version=8))
    for block in clean(engine, make_record(4).blocks()):
        assert {n: e.version for n, e in block.estimates.items()} == {"a": 3, "b": 8}


@pytest.mark.parametrize("cuts", [(1,), (16,), (64,)])
def test_what_has_passed_is_not_kept(cuts: Sequence[int]) -> None:
    """Memory is bounded: input is let go once no block can need it."""
    engine = make_engine(replace(SMALL, resample=ResampleSettings()))
    kept = []
    frontier = 0
    for index in range(10):
        data = make_record(8, start=1_400_000_000 + 8 * index)
        for block in data.blocks(cuts):
            witness = block.witnesses["ODD"]
            assert isinstance(witness, Series)
            # A copy: a cut is a view, and all views of an array keep it alive.
            own = Series(block.span, witness.rate, witness.samples.copy())
            strain = block.strain
            assert isinstance(strain, Series)
            strain = Series(block.span, strain.rate, strain.samples.copy())
            engine.push(Block(block.span, strain, {**block.witnesses, "ODD": own}))
            for series in (own, strain):
                kept.append((block.span.end, weakref.ref(series.samples)))
            frontier = block.span.end
    del own, strain, series, witness, block
    reach = engine.history + engine.lookahead + engine.settings.hop + max(cuts) * SIXTEENTH
    alive = [end for end, reference in kept if reference() is not None]
    assert alive
    assert min(alive) > frontier - reach
