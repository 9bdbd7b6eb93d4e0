"""Hops that do not wait: nothing of what comes later is used, and no step is left between them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.bandpass import make_bandpass
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.predict import Network, Predictor
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    NOISE,
    RATES,
    SIXTEENTH,
    START,
    Record,
    assert_same_bits,
    changed,
    clean,
    estimate,
    first_channel,
    make_engine,
    make_record,
    over,
    push_all,
    same_bits,
    strain_of,
)
from tests.helpers.reference_chain import COUPLINGS, SETTINGS, at_once, record
from tests.helpers.settings import (
    bandpass_settings,
    engine_settings,
    gate_settings,
    predict_settings,
)

FORECASTING = SETTINGS["hasty"]

GATES = gate_settings(window=4 * NS, dwell=2 * NS, memory=6 * NS, fade=NS // 2)

faults = st.lists(
    st.tuples(st.sampled_from(list(RATES)), st.integers(0, 230), st.integers(1, 24), st.booleans()),
    max_size=4,
)
"""Of witnesses: which, from what sixteenth of a second, for how many, and whether as no number."""


def faulty(data: Record, bad: Sequence[tuple[str, int, int, bool]]) -> list[Block]:
    """Return sixteenths of a record in which witnesses are missing or no numbers."""
    missing: set[tuple[str, int]] = set()
    for name, start, count, nonfinite in bad:
        begin = data.span.start + start * SIXTEENTH
        span = Span(begin, min(begin + count * SIXTEENTH, data.span.end))
        if nonfinite:
            data = data.replaced(**{name: changed(data.witnesses[name], span, np.nan)})
        else:
            missing |= {(name, at) for at in range(span.start, span.end, SIXTEENTH)}
    return [
        Block(
            block.span,
            block.strain,
            {
                name: Gap(block.span, "missing") if (name, block.span.start) in missing else each
                for name, each in block.witnesses.items()
            },
        )
        for block in data.blocks([1])
    ]


@pytest.mark.parametrize("hop", [SIXTEENTH, NS])
@settings(max_examples=4)
@given(bad=faults, absent=st.integers(0, 14))
def test_the_future_is_not_used(
    hop: int, bad: list[tuple[str, int, int, bool]], absent: int
) -> None:
    """What leaves with the input up to an instant is what leaves when more follows."""
    shared = replace(FORECASTING, hop=hop, gate=GATES if hop == NS else None)
    blocks = faulty(record().between(0, 15 * NS), bad)
    del blocks[16 * absent : 16 * absent + 3]
    whole = push_all(make_engine(shared, COUPLINGS["wiener"]), blocks)
    assert len(whole) == len(blocks)
    for until in (5, 13):
        end = record().span.start + until * NS
        given_ = [block for block in blocks if block.span.end <= end]
        found = push_all(make_engine(shared, COUPLINGS["wiener"]), given_)
        assert [one.span for one in found] == [block.span for block in given_]
        same = whole[: len(found)]
        assert same_bits(strain_of(found), strain_of(same))
        assert same_bits(estimate(found).gain, estimate(same).gain)


@settings(max_examples=6)
@given(seed=st.integers(0, 100), at=st.integers(20, 30))
def test_nothing_before_the_history_matters(seed: int, at: int) -> None:
    engine = make_engine(FORECASTING, COUPLINGS["wiener"])
    begin = record().span.start
    wanted = Span(begin + at * NS, begin + (at + 2) * NS)
    kept = engine.needs(wanted).start
    other = make_record(40, seed=seed + 1)
    middle = -(-kept // NS) * NS - begin
    blocks = [*other.between(0, middle).blocks(), *record().between(middle, (at + 2) * NS).blocks()]
    whole = at_once("wiener", "hasty")
    assert_same_bits(over(push_all(engine, blocks), wanted), over([whole], wanted))


# Lines that can be forecast: the estimate is what a hop that waits would give.

RATE = 4096

BAND = ((55.0, 65.0),)


def through(
    network: Network = first_channel, *names: str, forecast: bool = True, **other: object
) -> Engine:
    """Return an engine at full rates whose estimate is its network's, in one band."""
    settings_ = engine_settings(
        strain_rate=RATE, ramp=NS // 8, forecast=ForecastSettings() if forecast else None
    )
    count = max(len(names), 1)
    predictor = Predictor(network, np.zeros(count), np.ones(count), 0.0, NOISE, Reach.both(0), 1)
    bandpass = make_bandpass(bandpass_settings(), BAND, RATE)
    coupling = Coupling(
        "60Hz", names or ("MAINS",), predictor, predict_settings(edge=0), bandpass, BAND
    )
    return Engine(replace(settings_, **other), [coupling])  # type: ignore[arg-type]


def mains(seconds: int, rate: int = 2048, frequency: float = 60.2) -> Record:
    """Return strain of zeros and a witness that is a line."""
    span = Span.of_seconds(START, seconds)
    line = np.sin(2 * np.pi * frequency * np.arange(seconds * rate) / rate)
    strain = Series(span, RATE, np.zeros(seconds * RATE))
    return Record(span, strain, {"MAINS": Series(span, rate, line)})


@pytest.mark.parametrize("rate", [256, 2048, 4096, 16384])
def test_line_is_cleaned_as_if_one_had_waited(rate: int) -> None:
    data = mains(26, rate)
    inside = slice(20 * RATE, 24 * RATE)
    waited = estimate(clean(through(forecast=False), data.blocks())).noise[inside]
    hasty = estimate(clean(through(), data.blocks()))
    assert (hasty.gain[inside] == 1).all()
    apart = np.abs(hasty.noise[inside] - waited)
    assert apart.max() < 0.02 * NOISE
    assert apart.std() < 0.004 * NOISE
    # In the middle of a hop everything is known.
    assert apart.reshape(4, RATE)[:, RATE // 4 : RATE // 2].max() < 1e-5 * NOISE


def test_there_is_no_step_between_hops() -> None:
    """A step of a part in a hundred would stand far above this; so would a kink."""
    noise = estimate(clean(through(), mains(26).blocks())).noise[19 * RATE : 25 * RATE]
    jumps = np.abs(np.diff(noise, 2)).reshape(-1)
    usual = (2 * np.pi * 60.2 / RATE) ** 2 * NOISE
    assert jumps.max() < 1.02 * usual


def test_what_cannot_be_forecast_leaves_no_line_at_the_hops() -> None:
    """White noise in the band: where waiting would help most, nothing goes out of the band."""
    seconds = 84
    span = Span.of_seconds(START, seconds)
    white = np.random.default_rng(3).standard_normal(seconds * RATE)
    data = Record(
        span, Series(span, RATE, np.zeros(seconds * RATE)), {"MAINS": Series(span, RATE, white)}
    )
    noise = estimate(clean(through(), data.blocks())).noise[20 * RATE :]
    power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
    step = len(noise) // RATE  # bins a Hz
    inside = power[57 * step : 63 * step].mean()
    for low, high in ((10, 45), (75, 150), (150, 1000)):
        part = power[low * step : high * step].reshape(-1, step)
        assert part.mean() < 1e-4 * inside
        # Multiples of the hops' rate stand out from nothing beside them.
        at_hops = power[low * step : high * step : step]
        assert np.mean(at_hops) < 2 * part.mean()


def test_gap_at_a_hop_dies_away_over_the_splice() -> None:
    data = mains(24)
    blocks = [
        Block(b.span, b.strain, {} if b.span.start == START * NS + 21 * NS else b.witnesses)
        for b in data.blocks()
    ]
    found = estimate(push_all(through(), blocks))
    lost = slice(21 * RATE, 22 * RATE)
    before = found.gain[20 * RATE : 21 * RATE]
    assert (before == 1).all()  # nobody knew
    gain = found.gain[lost]
    length = RATE // 8
    assert gain[0] == 1
    assert (np.diff(gain[:length]) < 0).all()
    assert (gain[length:] == 0).all()
    subtracted = found.gain * found.noise
    around = subtracted[20 * RATE + RATE // 2 : 21 * RATE + RATE // 2]
    usual = (2 * np.pi * 60.2 / RATE) ** 2 * NOISE
    assert np.abs(np.diff(around, 2)).max() < 1.05 * usual
    # The line goes on under the falling gain, as it was.
    line = NOISE * np.sin(2 * np.pi * 60.2 * np.arange(21 * RATE, 21 * RATE + length) / RATE)
    assert np.abs(subtracted[lost][:length] - gain[:length] * line).max() < 0.05 * NOISE


def test_witness_that_came_back_is_not_forecast_at_once() -> None:
    data = mains(27)
    back = START * NS + 21 * NS + 5 * SIXTEENTH
    blocks = [
        Block(
            b.span,
            b.strain,
            {} if 20 * NS <= b.span.start - START * NS < back - START * NS else b.witnesses,
        )
        for b in data.blocks([1])
    ]
    found = push_all(through(), blocks)
    gain = estimate(found).gain.reshape(-1, RATE)
    assert (gain[21] == 0).all()
    # Two thirds of a second old at the end of the hop before: the ramp begins here.
    assert gain[22, 0] < 1e-4
    assert (gain[22, RATE // 8 :] == 1).all()
    why = {reason for one in found[21 * 16 : 23 * 16] for reason in one.estimates["60Hz"].reasons}
    assert why == {reasons.MISSING, reasons.NO_FORECAST}
    steps = np.abs(np.diff(estimate(found).gain * estimate(found).noise))
    assert steps.max() < 1.05 * 2 * np.pi * 60.2 / RATE * NOISE


def test_wild_witness_gives_finite_strain() -> None:
    data = make_record(24)
    wild = changed(data.witnesses["FAST"], Span.of_seconds(START + 20, 1), 1e200)
    with np.errstate(all="ignore"):
        found = clean(
            make_engine(FORECASTING, COUPLINGS["wiener"]), data.replaced(FAST=wild).blocks()
        )
    assert np.isfinite(strain_of(found)).all()
    assert estimate(found).gain[-NS // NS * FORECASTING.strain_rate :].min() <= 1


def test_gate_acts_later_by_the_ramp_and_never_in_a_step() -> None:
    """A ramp before what the gate closes for would lie in what was given out already."""
    rng = np.random.default_rng(0)
    span = Span.of_seconds(START, 60)
    witness = rng.standard_normal(60 * RATE // 8)
    line = 5 * np.sin(2 * np.pi * 60 * np.arange(60 * RATE // 8) / 512)
    good = Series(span, 512, witness + line)
    strain = NOISE * np.repeat(good.samples, 8) + 0.1 * NOISE * rng.standard_normal(60 * RATE)
    jumping = good.samples.copy()
    jumping[45 * 512 :] *= 8
    data = Record(span, Series(span, RATE, strain), {"MAINS": Series(span, 512, jumping)})
    found = push_all(through(gate=GATES), data.blocks())
    gates = np.concatenate(
        [e.gate for one in found if (e := one.estimates["60Hz"]).gate is not None]
    )
    assert (gates[44 * RATE : 45 * RATE] == 1).all()
    ramp = RATE // 8
    shut = 45 * RATE + ramp
    assert gates[shut + RATE // 4] == 0
    steepest = 1.01 * 0.5 * np.pi / ramp
    assert np.abs(np.diff(gates)).max() < steepest


@pytest.mark.parametrize(("wanted", "said"), [(0.5, "rests on more"), (0.2, None)])
def test_version_that_needs_more_is_refused(wanted: float, said: str | None) -> None:
    engine = through()
    coupling = engine.versions.production[0]
    bandpass = make_bandpass(bandpass_settings(settle_in=wanted), BAND, RATE)
    other = replace(coupling, bandpass=bandpass, predictor=replace(coupling.predictor, version=2))
    if said is None:
        engine.versions.add(other)
        assert len(engine.versions.at_work) == 2
    else:
        with pytest.raises(ValueError, match=said):
            engine.versions.add(other)


def test_canary_changes_no_bit_of_production() -> None:
    data = mains(26)
    alone = push_all(through(), data.blocks())
    engine = through()
    coupling = engine.versions.production[0]
    other = replace(coupling, predictor=replace(coupling.predictor, strain_std=2.0, version=2))
    blocks = data.blocks()
    found = push_all(engine, blocks[:8])
    engine.versions.add(other)
    engine.versions.set_canary("60Hz", other.version)
    found += push_all(engine, blocks[8:])
    assert same_bits(strain_of(found), strain_of(alone))
    assert found[-1].canary["60Hz"].version == 2


def test_coupling_without_bands_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its bands"):
        Engine(FORECASTING, [replace(COUPLINGS["pass"].coupling(FORECASTING.model_rate), bands=())])


def test_bands_are_the_constants_of_the_plan() -> None:
    engine = make_engine(FORECASTING, COUPLINGS["pass"])
    waiting = make_engine(replace(FORECASTING, forecast=None), COUPLINGS["pass"])
    assert engine.lookahead == 0
    # All that is waited for else, but for the ramp, which follows.
    assert engine.schedule.forecast == waiting.lookahead - FORECASTING.ramp
    assert engine.history > 4 * NS
