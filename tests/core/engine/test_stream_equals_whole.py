"""The promise: however the input is cut, whenever the engine is started, the same samples.

Bit for bit at the same hop; to rounding at another hop, and against one computation over the whole
array that shares no code with the engine (tests.helpers.reference_chain).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import CleanedBlock, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
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
    same_bits,
    strain_of,
    wiener,
)
from tests.helpers.reference_chain import (
    COUPLINGS,
    LENGTH,
    SETTINGS,
    WINDOWS,
    at_once,
    independent,
    record,
)
from tests.helpers.settings import bandpass_settings, engine_settings, predict_settings

ROUNDING = 1e-6
"""Root mean square of a difference, in units of the subtracted noise's: the network is float32."""

PEAK = 5e-6
"""The same for the largest difference of some ten thousand."""

HOPS = [(SIXTEENTH, 10, 3), (NS, 40, 6), (16 * NS, LENGTH, 20)]
"""Hops, the seconds of data that suit them, and how many at either end are not compared."""

every_hop = pytest.mark.parametrize(("hop", "seconds", "margin"), HOPS)


def complete(engine: Engine, fed: Span) -> Span:
    """Return the whole hops of which all that they depend on is in `fed`."""
    hop = engine.settings.hop
    start = -(-(fed.start + engine.history) // hop) * hop
    end = (fed.end - engine.lookahead) // hop * hop
    span = Span(start, end)
    assert fed.covers(engine.needs(span))
    return span


def assert_same(found: Sequence[CleanedBlock], whole: CleanedBlock, span: Span) -> None:
    """Assert that consecutive blocks have the bits of the whole over a span, fully cleaned."""
    found_over = over(found, span)
    assert_same_bits(found_over, over([whole], span))
    assert (found_over[2] == 1).all()


lengths = st.lists(
    st.one_of(st.integers(1, 16), st.integers(1, 64).map(lambda s: 16 * s)), min_size=2, max_size=12
)
"""Of blocks, in sixteenths of a second."""


@pytest.mark.parametrize(
    ("kind", "coupling"),
    [("waits", "pass"), ("waits", "windows"), *(("hasty", c) for c in COUPLINGS)],
)
@settings(max_examples=3)
@given(start=st.integers(0, 20 * 16), end=st.integers(40 * 16, 70 * 16), cuts=lengths)
def test_any_cut_and_start(kind: str, coupling: str, start: int, end: int, cuts: list[int]) -> None:
    whole = at_once(coupling, kind)
    engine = make_engine(SETTINGS[kind], COUPLINGS[coupling])
    fed = record().between(start * SIXTEENTH, end * SIXTEENTH)
    blocks = fed.blocks(cuts)
    cleaned = clean(engine, blocks)
    assert [block.source for block in cleaned] == blocks
    assert_same(cleaned, whole, complete(engine, fed.span))


@pytest.mark.parametrize(
    ("kind", "coupling", "seconds"),
    [*(("waits", c, 6) for c in ("pass", "windows", "average")), ("hasty", "wiener", 12)],
)
@settings(max_examples=3)
@given(start=st.integers(0, 16), cuts=lengths)
def test_short_hops_in_any_cut_give_the_same_bits(
    kind: str, coupling: str, seconds: int, start: int, cuts: list[int]
) -> None:
    """With hops shorter than any filter, what one hop leaves behind serves many others."""
    whole = at_once(coupling, kind, SIXTEENTH, seconds)
    engine = make_engine(replace(SETTINGS[kind], hop=SIXTEENTH), COUPLINGS[coupling])
    fed = record().between(start * SIXTEENTH, seconds * NS)
    assert_same(clean(engine, fed.blocks(cuts)), whole, complete(engine, fed.span))


faults = st.lists(
    st.tuples(st.sampled_from(list(RATES)), st.integers(0, 150), st.integers(1, 12)), max_size=4
)
"""Of witnesses: which, from what sixteenth of a second, and for how many."""


@pytest.mark.parametrize("hop", [SIXTEENTH, NS])
@settings(max_examples=5)
@given(faults, lengths)
def test_faults_in_any_cut(hop: int, bad: list[tuple[str, int, int]], cuts: list[int]) -> None:
    data = record().between(0, 10 * NS)
    for name, start, count in bad:
        begin = data.span.start + start * SIXTEENTH
        span = Span(begin, min(begin + count * SIXTEENTH, data.span.end))
        data = data.replaced(**{name: changed(data.witnesses[name], span, np.nan)})
    spec = Small(network=wiener(3))
    shared = replace(SMALL, hop=hop)
    (whole,) = clean(make_engine(shared, spec), [data.block(data.span)])
    pieces = clean(make_engine(shared, spec), data.blocks(cuts))
    one, other = estimate(pieces), estimate([whole])
    assert same_bits(one.gain, other.gain)
    assert same_bits(one.gain * one.noise, other.gain * other.noise)
    assert same_bits(strain_of(pieces), strain_of([whole]))


@settings(max_examples=6)
@given(st.lists(st.integers(10 * 16, 30 * 16), min_size=2, max_size=3), lengths)
def test_restarts_in_mid_stream_give_the_same_bits(runs: list[int], cuts: list[int]) -> None:
    """Each run begins a history before the last one's end, as a restarted daemon does."""
    whole = at_once("pass")
    first = 10 * NS
    for run in runs:
        engine = make_engine()
        begin = (first - engine.history - engine.settings.hop) // SIXTEENTH * SIXTEENTH
        done = min(first + run * SIXTEENTH, LENGTH * NS)
        fed = record().between(begin, done)
        wanted = complete(engine, fed.span)
        assert wanted.start <= record().span.start + first
        assert_same(clean(engine, fed.blocks(cuts)), whole, wanted)
        first = (done - engine.lookahead) // SIXTEENTH * SIXTEENTH


def assert_equals_whole(
    found: CleanedBlock, data: Record, engine: Engine, spec: Small, margin: int
) -> None:
    """Assert that a cleaned record is the independent computation, `margin` seconds inside."""
    shared = engine.settings
    noise = independent(data, engine.versions.production[0], spec, shared)
    inside = slice(margin * shared.strain_rate, -margin * shared.strain_rate)
    (part,) = found.estimates.values()
    assert (part.gain[inside] == 1).all()
    difference = (part.noise - noise)[inside]
    assert np.sqrt(np.mean(difference**2)) <= ROUNDING * noise.std()
    assert np.abs(difference).max() <= PEAK * noise.std()
    assert isinstance(data.strain, Series)
    assert found.cleaned is not None
    residual = (found.cleaned - (data.strain.samples - noise))[inside]
    assert np.abs(residual).max() <= PEAK * noise.std()


@every_hop
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_every_hop_and_mode_is_whole(coupling: str, hop: int, seconds: int, margin: int) -> None:
    engine = make_engine(replace(SMALL, hop=hop), COUPLINGS[coupling])
    data = record().between(0, seconds * NS)
    (cleaned,) = clean(engine, [data.block(data.span)])
    assert_equals_whole(cleaned, data, engine, COUPLINGS[coupling], margin)


@pytest.mark.parametrize("strain_rate", [16384, 20000])
def test_production_rates_equal_the_whole(strain_rate: int) -> None:
    shared = engine_settings(strain_rate=strain_rate)
    spec = Small(bandpass=bandpass_settings(), predict=predict_settings())
    engine = make_engine(shared, spec)
    data = make_record(8, strain_rate=strain_rate)
    (whole,) = clean(engine, [data.block(data.span)])
    assert_equals_whole(whole, data, engine, spec, margin=3)
    # And in seconds, from another start.
    again = make_engine(shared, spec)
    fed = data.between(NS, 8 * NS)
    assert_same(clean(again, fed.blocks()), whole, complete(again, fed.span))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
@every_hop
def test_butterworth_to_its_tolerance(
    hop: int, seconds: int, margin: int, tolerance: float
) -> None:
    """Each sample of a hop lacks two tails at most, each of the tolerance's energy."""
    spec = Small(bandpass=bandpass_settings("butterworth", tolerance=tolerance))
    engine = make_engine(replace(SMALL, hop=hop), spec)
    data = record().between(0, seconds * NS)
    (cleaned,) = clean(engine, [data.block(data.span)])
    noise = independent(data, engine.versions.production[0], spec, engine.settings)
    inside = slice(margin * SMALL.strain_rate, -margin * SMALL.strain_rate)
    difference = (cleaned.estimates["60Hz"].noise - noise)[inside]
    assert 0 < np.sqrt(np.mean(difference**2)) <= np.sqrt(2) * tolerance * noise.std()


def test_networks_differ_and_matter() -> None:
    """What the other tests compare is not nothing."""
    noises = [at_once(name).estimates["60Hz"].noise for name in ("pass", "wiener")]
    assert min(noise.std() for noise in noises) > 1e-23
    assert np.abs(noises[0] - noises[1]).max() > 1e-23


def test_couplings_add_up_and_agree_with_each_alone() -> None:
    specs = [
        Small("60Hz"),
        Small("quiet", ("FAST",), wiener(1, 65), bandpass=bandpass_settings(transition=3.0)),
        Small("windows", ("ODD", "SLOW"), wiener(2), predict=WINDOWS, bands=((100.0, 130.0),)),
    ]
    data = record().between(0, 40 * NS)
    engine = make_engine(SMALL, *specs)
    together = clean(engine, data.blocks())
    inside = slice(10 * SMALL.strain_rate, -10 * SMALL.strain_rate)
    total = np.zeros(40 * SMALL.strain_rate)
    for spec in specs:
        alone_engine = make_engine(SMALL, spec)
        assert alone_engine.lookahead <= engine.lookahead
        assert alone_engine.history <= engine.history
        alone = estimate(clean(alone_engine, data.blocks()), spec.name)
        found = estimate(together, spec.name)
        # Resampled in other hops, hence to rounding only.
        np.testing.assert_allclose(
            found.noise[inside], alone.noise[inside], rtol=0, atol=ROUNDING * alone.noise.std()
        )
        assert (found.gain[inside] == 1).all()
        total += found.gain * found.noise
    assert isinstance(data.strain, Series)
    assert same_bits(strain_of(together)[inside], (data.strain.samples - total)[inside])
