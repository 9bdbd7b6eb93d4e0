"""A gain for each feature of a closed form, in cascade before the fast gains, in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.settings import AdaptSettings, Member
from deepclean.core.block import CleanedBlock, Float64, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.predict import Network
from deepclean.core.time import NS, Span
from deepclean.models.closed.parts import EstimateParts
from deepclean.models.closed_form import ClosedForm
from tests.helpers.bad_stretches import Bad, assert_cuts_do_not_matter, lengths, stretches
from tests.helpers.builders import (
    NOISE,
    RATES,
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
)
from tests.helpers.settings import predict_settings

SECONDS = 66

FAST = AdaptSettings((Member(8, slope=True), Member(4)), judged=4, unit=2)
SLOW = AdaptSettings((Member(12, slope=True),), cadence=2, guard=1, unit=2)
"""Windows so short that records of seconds fill them."""

FEATURES = [[[1, "wide", 0]], [[2, "wide", 0]], [[2, "wide", 0], [0, "slow", 0]]]
NEEDS = [{1}, {2}, {0, 2}]
"""The witnesses of each feature: ODD, FAST, and FAST times SLOW."""

RATES_OF_DRIFT = np.array([0.02, -0.02 - 0.015j, 0.02j])
"""By which the true factor on each feature changes in a second."""


def closed_form(kept: Sequence[int] = range(3)) -> ClosedForm:
    """Return the model, with the weights of some of its features and zeros for the others."""
    made = ClosedForm(
        3,
        decimation=1,
        features=FEATURES,
        taps=[[-2, 0], [0, 1], [-1, 0]],
        halves={"wide": 0, "slow": 0, "out": 0},
    )
    weights = torch.tensor([0.5, -0.3, 0.4, 0.2, 0.3, 0.3])
    weights *= torch.tensor([index in kept for index, _ in made.lags])
    ones = {name: torch.ones(1) for name in ("wide", "slow", "out")}
    made.load_state_dict({**made.state_dict(), **ones, "weights": weights})
    return made.eval()


class Lacking:
    """The model without the features that need a missing witness."""

    uses = frozenset({0, 1, 2})

    def without(self, missing: frozenset[int]) -> Network | None:
        """Return the network; None where nothing is left."""
        kept = [number for number, needs in enumerate(NEEDS) if not needs & missing]
        return EstimateParts(closed_form(kept), range(3)) if kept else None


MODEL = closed_form()
FIXED = Small(network=(MODEL, 2, 1), predict=predict_settings(mode="pass", kernel=512, edge=16))
PARTS = replace(
    FIXED,
    network=(EstimateParts(MODEL, range(3)), 2, 1),
    parts=3,
    adapt=replace(FAST, features=SLOW),
    carriers=(2,),
)

COUPLINGS = {
    "carrier": PARTS,
    "delay": replace(PARTS, carriers=()),
    "reduced": replace(PARTS, reduced=Lacking()),
}

ENGINES = {
    "waits": SMALL,
    "hasty": replace(SMALL, forecast=ForecastSettings(memory=4 * NS)),
    "short hops": replace(SMALL, hop=SIXTEENTH),
    "long hops": replace(SMALL, hop=4 * NS),
}

USUAL = [("waits", "carrier"), ("hasty", "reduced"), ("long hops", "delay")]

pairs = pytest.mark.parametrize(
    ("kind", "coupling"),
    [
        pytest.param(kind, coupling, marks=() if (kind, coupling) in USUAL else pytest.mark.slow)
        for kind in ENGINES
        for coupling in COUPLINGS
    ],
)
"""Every engine with every coupling; not all in every run of the tests."""


def drifts(seconds: Float64) -> Complex:
    """Return the true factor on each feature: 1, and from the 20th second on changing."""
    return np.asarray(1.0 + RATES_OF_DRIFT[:, None] * np.clip(seconds - 20.0, 0.0, None))


def analytic(samples: Float64) -> Complex:
    """Return the analytic signal of a record."""
    spectrum = np.fft.fft(samples)
    spectrum[len(samples) // 2 + 1 :] = 0.0
    spectrum[1 : len(samples) // 2] *= 2.0
    return np.asarray(np.fft.ifft(spectrum))


@lru_cache
def truth() -> tuple[Record, Float64]:
    """Return a record whose features drift each by itself, and what they add to its strain."""
    quiet = make_record(SECONDS)
    alone = []
    for number in range(3):
        one = replace(FIXED, network=(closed_form([number]), 2, 1))
        cleaned = clean(make_engine(SMALL, one), [quiet.block(quiet.span)])
        alone.append(analytic(estimate(cleaned).noise))
    time = np.arange(len(alone[0])) / SMALL.strain_rate
    noise = (drifts(time) * np.array(alone)).sum(axis=0).real
    assert isinstance(quiet.strain, Series)
    samples = 0.1 * noise.std() * quiet.strain.samples[: len(noise)] / NOISE + noise
    rest = quiet.strain.samples[len(noise) :]
    strain = Series(quiet.span, SMALL.strain_rate, np.concatenate([samples, rest]))
    return Record(quiet.span, strain, quiet.witnesses), noise


def record() -> Record:
    return truth()[0]


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


def error(small: Small, kind: str = "waits") -> float:
    """Return what is left of the coupling in the late seconds, in units of its own."""
    (cleaned,) = clean(make_engine(ENGINES[kind], small), [record().block(record().span)])
    late = slice(44 * SMALL.strain_rate, 60 * SMALL.strain_rate)
    noise = truth()[1][late]
    return float(np.std(noise - estimate([cleaned]).noise[late]) / noise.std())


@pytest.mark.parametrize("kind", ["waits", "hasty"])
def test_each_feature_is_followed_by_itself(kind: str) -> None:
    fixed, gain = error(FIXED, kind), error(replace(FIXED, adapt=FAST, carriers=(2,)), kind)
    features = error(PARTS, kind)
    print(kind, "error fixed, gain, features", np.round([fixed, gain, features], 4))
    assert fixed > 0.4
    assert gain > 0.05
    # Where nothing waits, the forecasts' errors are the greater part.
    assert features < (0.3 if kind == "waits" else 0.95) * gain


def test_without_gains_the_parts_are_the_estimate() -> None:
    """To the rounding of the network; and where nothing is learnt, so are those under gains."""
    quiet = make_record(8)
    whole, parts, young = (
        estimate(clean(make_engine(SMALL, one), [quiet.block(quiet.span)])).noise
        for one in (FIXED, replace(PARTS, adapt=None), PARTS)
    )
    assert np.abs(parts - whole).max() < 1e-5 * whole.std()
    assert same_bits(young[: 2 * SMALL.strain_rate], parts[: 2 * SMALL.strain_rate])


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


@pairs
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(stretches(RATES, last=34), lengths, st.booleans())
def test_faults_in_any_cut(
    kind: str, coupling: str, bad: list[Bad], cuts: list[int], lost: bool
) -> None:
    data = record().between(0, 40 * NS)
    assert_cuts_do_not_matter(lambda: engine(kind, coupling), data, bad, cuts, lost)


@pytest.mark.parametrize(
    "kind",
    ["waits", "hasty", pytest.param("short hops", marks=pytest.mark.slow), "long hops"],
)
def test_the_strain_of_a_second_changes_no_gain_of_it(kind: str) -> None:
    """The gains of a second rest on the seconds before it, so no signal subtracts itself."""
    data, whole = record(), at_once(kind, "carrier")
    instant = data.span.start + 40 * NS
    rng = np.random.default_rng(0)
    late = Span(instant, data.span.end)
    loud = 100 * NOISE * rng.standard_normal(late.samples(SMALL.strain_rate))
    other = Record(data.span, changed(data.strain, late, loud), data.witnesses)
    noise = estimate(clean(engine(kind, "carrier"), other.blocks())).noise
    # The interpolation to the strain's rate reads 16 samples of the model's rate further.
    until = Span(data.span.start, instant + NS)
    samples = until.samples(SMALL.strain_rate) - 16 * SMALL.strain_rate // SMALL.model_rate
    change = np.abs(noise - estimate([whole]).noise) / noise[:samples].std()
    # One transform bandpasses a hop, so what changes late in a hop rounds all of it otherwise.
    assert change[:samples].max() < 1e-12
    assert change[samples : samples + 8 * SMALL.strain_rate].max() > 1e-6


@pytest.mark.parametrize("kind", ["waits", "hasty", "short hops"])
def test_what_is_before_the_history_changes_no_bit(kind: str) -> None:
    made, data = engine(kind, "carrier"), record()
    assert made.history >= (FAST.memory + SLOW.memory) * NS
    span = Span(data.span.start + 56 * NS, data.span.start + 58 * NS)
    edge = (span.start - made.history) // NS * NS
    before = Span(data.span.start, edge)
    assert before.duration > 5 * NS
    rng = np.random.default_rng(0)
    witnesses = {
        name: changed(one, before, rng.standard_normal(before.samples(RATES[name])))
        for name, one in data.witnesses.items()
    }
    other = Record(data.span, changed(data.strain, before, 3.0 * NOISE), witnesses)
    cleaned = push_all(made, other.blocks((16, 3, 5)))
    assert_same_bits(over(cleaned, span), over([at_once(kind, "carrier")], span))


def test_the_estimate_goes_on_without_a_witness() -> None:
    """The other features are subtracted under their gains, as they were before."""
    span = Span(record().span.start + 50 * NS, record().span.start + 54 * NS)
    data = record().replaced(ODD=changed(record().witnesses["ODD"], span, np.nan))
    (cleaned,) = clean(engine("waits", "reduced"), [data.block(data.span)])
    made = estimate([cleaned])
    assert made.gain[10 * SMALL.strain_rate : 60 * SMALL.strain_rate].min() == 1.0
    lost = slice(51 * SMALL.strain_rate, 53 * SMALL.strain_rate)
    dead = record().replaced(ODD=Gap(record().span, "missing"))
    (without,) = clean(engine("waits", "reduced"), [dead.block(dead.span)])
    assert made.noise[lost].std() > 0.3 * truth()[1][lost].std()
    assert np.abs(without.estimates["60Hz"].gain[lost]).min() == 1.0


def test_parts_need_a_pass_and_their_guard() -> None:
    windows = replace(PARTS, predict=predict_settings(mode="windows", kernel=512, edge=16))
    with pytest.raises(ValueError, match="in one pass"):
        make_engine(SMALL, windows)
    hasty = replace(PARTS, adapt=replace(FAST, features=replace(SLOW, guard=0)))
    with pytest.raises(ValueError, match="guard of the features' gains"):
        make_engine(SMALL, hasty)
