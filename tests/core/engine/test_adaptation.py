"""Gains that are learnt, inside the engine: they follow, and every promise of the engine holds."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings, Member
from deepclean.core.block import CleanedBlock, Float64, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.time import NS, Span
from tests.helpers.bad_stretches import Bad, assert_cuts_do_not_matter, lengths, stretches
from tests.helpers.builders import (
    NOISE,
    SIXTEENTH,
    SMALL,
    Record,
    Small,
    assert_same_bits,
    changed,
    clean,
    estimate,
    make_engine,
    make_record,
    over,
    push_all,
    same_bits,
    wiener,
)
from tests.helpers.reduced_networks import Subsets, coupling

SECONDS = 50

ADAPT = AdaptSettings((Member(8, slope=True), Member(4)), judged=4, unit=2)
"""Windows so short that records of seconds fill them."""

FIXED = Small(network=wiener(3))

COUPLINGS = {
    "delay": replace(FIXED, adapt=ADAPT),
    "carrier": replace(FIXED, adapt=ADAPT, carriers=(2,)),
    "windowed": replace(
        FIXED, adapt=AdaptSettings((Member(6),), cadence=2, guard=1, unit=2), carriers=(1, 2)
    ),
}

ENGINES = {
    "waits": SMALL,
    "hasty": replace(SMALL, forecast=ForecastSettings(memory=4 * NS)),
    "short hops": replace(SMALL, hop=SIXTEENTH),
    "long hops": replace(SMALL, hop=4 * NS),
    "long hasty hops": replace(SMALL, hop=4 * NS, forecast=ForecastSettings(memory=4 * NS)),
}

every_engine = pytest.mark.parametrize("kind", ENGINES)
USUAL = [
    ("waits", "carrier"),
    ("hasty", "delay"),
    ("short hops", "windowed"),
    ("long hops", "delay"),
    ("long hasty hops", "carrier"),
]

pairs = pytest.mark.parametrize(
    ("kind", "coupling"),
    [
        pytest.param(kind, coupling, marks=() if (kind, coupling) in USUAL else pytest.mark.slow)
        for kind in ENGINES
        for coupling in COUPLINGS
    ],
)
"""Every engine with every coupling; not all in every run of the tests."""

every_coupling = pytest.mark.parametrize("coupling", COUPLINGS)

LOUD = 20.0
"""Of the coupling in the strain, in units of the model's estimate."""


def drift(seconds: Float64) -> Float64:
    """Return the true factor on the estimate: 1, and from the 25th second on rising."""
    return 1.0 + 0.04 * np.clip(seconds - 25.0, 0.0, None)


@lru_cache
def record() -> Record:
    """Return a record whose strain holds the model's own estimate under a gain that drifts."""
    quiet = make_record(SECONDS)
    noise = estimate(clean(make_engine(SMALL, FIXED), [quiet.block(quiet.span)])).noise
    assert isinstance(quiet.strain, Series)
    time = np.arange(len(noise)) / SMALL.strain_rate
    floor = 0.1 * noise.std() * quiet.strain.samples / NOISE
    strain = floor + drift(time) * noise
    return Record(quiet.span, Series(quiet.span, SMALL.strain_rate, strain), quiet.witnesses)


def engine(kind: str, coupling: str) -> Engine:
    return make_engine(ENGINES[kind], COUPLINGS[coupling])


@lru_cache
def at_once(kind: str, coupling: str) -> CleanedBlock:
    (whole,) = clean(engine(kind, coupling), [record().block(record().span)])
    return whole


def complete(made: Engine, fed: Span) -> Span:
    """Return the whole hops of which all that they depend on is in `fed`."""
    hop = made.settings.hop
    start = -(-(fed.start + made.history) // hop) * hop
    return Span(start, (fed.end - made.lookahead) // hop * hop)


def knots_of(cleaned: Sequence[CleanedBlock]) -> list[Knot]:
    return [k for block in cleaned for k in block.estimates["60Hz"].knots or ()]


@every_coupling
def test_the_gain_follows_the_drift(coupling: str) -> None:
    (fixed,) = clean(make_engine(SMALL, FIXED), [record().block(record().span)])
    whole = at_once("waits", coupling)
    assert isinstance(fixed.source.strain, Series)
    noise = fixed.estimates["60Hz"].noise
    time = np.arange(len(noise)) / SMALL.strain_rate
    late = slice(40 * SMALL.strain_rate, 48 * SMALL.strain_rate)
    errors = [
        np.std((drift(time) * noise - block.estimates["60Hz"].noise)[late]) / noise.std()
        for block in (fixed, whole)
    ]
    print(coupling, "error of the fixed model and of the adapted one", np.round(errors, 4))
    assert errors[0] > 0.6
    assert errors[1] < (0.35 if coupling == "windowed" else 0.05)
    knot = knots_of([whole])[-4]
    true = drift(np.array([float(knot.second) - record().span.start / NS]))[0]
    assert abs(knot.whole - true) < 0.35
    assert knot.significance[0] > 100


def test_what_does_not_drift_keeps_the_models_bits() -> None:
    """Where nothing is significant the gain is 1, and the estimate the model's, bit for bit."""
    quiet = make_record(SECONDS)
    dead = quiet.replaced(FAST=Gap(quiet.span, "missing"))
    (fixed,) = clean(make_engine(SMALL, FIXED), [dead.block(dead.span)])
    (whole,) = clean(engine("waits", "delay"), [dead.block(dead.span)])
    assert same_bits(whole.estimates["60Hz"].noise, fixed.estimates["60Hz"].noise)
    assert {complex(k.whole) for k in knots_of([whole])} == {1.0 + 0.0j}


@pairs
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(start=st.integers(0, 3 * 16), cuts=lengths)
def test_any_cut_and_start_gives_the_same_bits(
    kind: str, coupling: str, start: int, cuts: list[int]
) -> None:
    """The engine begins anywhere, as a restarted daemon does; a history later all is the same."""
    made, whole = engine(kind, coupling), at_once(kind, coupling)
    fed = record().between(start * SIXTEENTH, SECONDS * NS)
    cleaned = clean(made, fed.blocks(cuts))
    span = complete(made, fed.span)
    assert span.duration >= 10 * NS
    assert_same_bits(over(cleaned, span), over([whole], span))
    known = {k.second: k for k in knots_of([whole])}
    for knot in (k for k in knots_of(cleaned) if k.second * NS > span.start):
        assert same_bits(knot.gains, known[knot.second].gains)


@pairs
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(stretches(["SLOW", "ODD", "FAST"], last=30), lengths, st.booleans())
def test_faults_in_any_cut(
    kind: str, coupling: str, bad: list[Bad], cuts: list[int], lost: bool
) -> None:
    data = record().between(0, 36 * NS)
    assert_cuts_do_not_matter(lambda: engine(kind, coupling), data, bad, cuts, lost)


@every_engine
def test_the_strain_of_a_second_changes_no_gain_of_it(kind: str) -> None:
    """The gains of a second rest on the seconds before it, so no signal subtracts itself."""
    made, data = engine(kind, "carrier"), record()
    (whole,) = [at_once(kind, "carrier")]
    instant = data.span.start + 30 * NS
    rng = np.random.default_rng(0)
    loud = changed(
        data.strain,
        Span(instant, data.span.end),
        NOISE * 100 * rng.standard_normal(20 * SMALL.strain_rate),
    )
    cleaned = clean(made, Record(data.span, loud, data.witnesses).blocks())
    # The interpolation to the strain's rate reads 16 samples of the model's rate further.
    until = Span(data.span.start, instant + NS)
    samples = until.samples(SMALL.strain_rate) - 16 * SMALL.strain_rate // SMALL.model_rate
    assert same_bits(estimate(cleaned).noise[:samples], whole.estimates["60Hz"].noise[:samples])
    after = slice(samples, samples + 4 * SMALL.strain_rate)
    assert not same_bits(estimate(cleaned).noise[after], whole.estimates["60Hz"].noise[after])


@pytest.mark.parametrize("kind", ["waits", "hasty", "short hops"])
def test_what_is_before_the_history_changes_no_bit(kind: str) -> None:
    made = engine(kind, "carrier")
    data, whole = record(), over([at_once(kind, "carrier")], Span(*_tail(record().span)))
    span = Span(*_tail(data.span))
    edge = (span.start - made.history) // SIXTEENTH * SIXTEENTH
    before = Span(data.span.start, edge)
    assert before.duration > 5 * NS
    rng = np.random.default_rng(0)
    witnesses = {
        name: changed(one, before, rng.standard_normal(before.samples(_rate(one))))
        for name, one in data.witnesses.items()
        if not (before.duration * _rate(one)) % NS
    }
    other = data.replaced(**witnesses)
    other = Record(data.span, changed(data.strain, before, 3.0 * NOISE), other.witnesses)
    assert_same_bits(over(push_all(made, other.blocks((16, 3, 5))), span), whole)


def _rate(series: Series | Gap) -> int:
    assert isinstance(series, Series)
    return series.rate


def _tail(span: Span) -> Sequence[int]:
    return span.start + 42 * NS, span.start + 44 * NS


def test_bands_are_needed() -> None:
    coupling = replace(COUPLINGS["delay"].coupling(), bands=())
    with pytest.raises(ValueError, match="needs its bands"):
        Engine(SMALL, [coupling])


@pytest.mark.parametrize("kind", ["waits", "hasty"])
def test_what_stands_for_a_missing_carrier_adds_nothing(kind: str) -> None:
    """Through the gap of a carrier that the model can spare, its mean does not matter."""
    gap = Span(record().span.start + 30 * NS, record().span.start + 33 * NS)
    made = coupling(tuple(record().witnesses), Subsets(3), ENGINES[kind])

    def noise(mean: float) -> Float64:
        predictor = replace(made.predictor, witness_mean=np.array([0.0, 0.25, mean]))
        one = replace(made, predictor=predictor, adapt=ADAPT, carriers=(2,))
        fast = record().witnesses["FAST"]
        assert isinstance(fast, Series)
        data = record().replaced(FAST=Series(fast.span, fast.rate, fast.samples + mean))
        blocks = [
            replace(block, witnesses={**block.witnesses, "FAST": Gap(block.span, "missing")})
            if block.span.overlap(gap)
            else block
            for block in data.blocks()
        ]
        cleaned = clean(Engine(ENGINES[kind], [one]), blocks)
        assert any(knot.gains[1] for knot in knots_of(cleaned))
        assert not any(block.estimates["60Hz"].reasons for block in cleaned[29:35])
        return estimate(cleaned).noise[4 * SMALL.strain_rate : -2 * SMALL.strain_rate]

    # Standardised samples are float32, so a mean costs them digits.
    one, other = noise(0.0), noise(1000.0)
    assert np.abs(one - other).max() < 0.01 * one.std()
