"""A site's samples are a function of GPS time alone, and its truth adds up."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.simulate import Injection, Simulator, Site
from deepclean.simulate.simulator import LOCKED
from tests.helpers.builders import same_series
from tests.helpers.sites import configured_site

GPS = 1370000000
SIXTEENTH = NS // 16
STRAIN = "H1:GDS-CALIB_STRAIN"
STATE = "H1:GDS-CALIB_STATE_VECTOR"
MERGER = (GPS + 5) * NS + 123_456_789


def rich(seed: int = 0) -> Site:
    """Return a site with everything: lines, hums, sidebands, an injection, a lost lock."""
    site = configured_site("H1", couplings=["60Hz", "105Hz"], seed=seed)
    witnesses = tuple(site.witnesses[index] for index in (0, 1, 3, 14, 15, 23, 28))
    unlock = Span((GPS + 2) * NS + SIXTEENTH, (GPS + 4) * NS + 1)
    return replace(
        site, witnesses=witnesses, unlocks=(unlock,), injections=(Injection(MERGER, lowest=60.0),)
    )


WHOLE = Span.of_seconds(GPS, 8)


@pytest.fixture(scope="module")
def whole() -> dict[str, Series]:
    simulator = Simulator(rich())
    return simulator.read(list(simulator.rates), WHOLE)


@settings(max_examples=10)
@given(cuts=st.sets(st.integers(1, 8 * 16 - 1), max_size=6), order=st.randoms())
def test_any_pieces_make_the_whole(whole: dict[str, Series], cuts: set[int], order: Random) -> None:
    edges = [0, *sorted(cuts), 8 * 16]
    spans = [
        Span(WHOLE.start + start * SIXTEENTH, WHOLE.start + end * SIXTEENTH)
        for start, end in pairwise(edges)
    ]
    order.shuffle(spans)
    simulator = Simulator(rich())
    pieces = {span: simulator.read(list(simulator.rates), span) for span in spans}
    for name, expected in whole.items():
        found = concatenate([pieces[span][name] for span in sorted(pieces)])
        assert same_series(found, expected), name


@settings(max_examples=20)
@given(start=st.integers(0, 7 * 512), count=st.integers(1, 512))
def test_span_of_part_seconds(whole: dict[str, Series], start: int, count: int) -> None:
    # Of 16384 samples a second every 32nd stands on a whole nanosecond.
    span = Span.of_samples(GPS * 512 + start, count, 512)
    made = Simulator(rich()).read([STRAIN], span)[STRAIN]
    assert same_series(made, whole[STRAIN].cut(span))


def test_channels_do_not_depend_on_what_else_is_read(whole: dict[str, Series]) -> None:
    span = Span.of_seconds(GPS + 3, 2)
    for name, expected in whole.items():
        assert same_series(Simulator(rich()).read([name], span)[name], expected.cut(span)), name


def test_virgo_in_pieces_is_virgo_in_one() -> None:
    site = configured_site("V1", couplings=["15-20Hz", "75-80Hz", "98-110Hz"])
    simulator = Simulator(site)
    names = list(simulator.rates)
    backwards = [simulator.read(names, Span.of_seconds(GPS + s, 1)) for s in (2, 1, 0)][::-1]
    at_once = Simulator(site).read(names, Span.of_seconds(GPS, 3))
    for name in names:
        assert same_series(concatenate([piece[name] for piece in backwards]), at_once[name]), name


def test_names_rates_and_types(whole: dict[str, Series]) -> None:
    site = rich()
    assert list(whole) == [*site.channels, *site.truth]
    for name, rate in (site.channels | site.truth).items():
        assert whole[name].rate == rate
        assert np.isfinite(whole[name].samples).all()
    assert whole[STRAIN].samples.dtype == np.float64
    assert whole[STATE].samples.dtype == np.uint32
    assert {whole[name].samples.dtype for name in site.truth} == {np.dtype(np.float64)}
    assert {whole[w.channel].samples.dtype for w in site.witnesses} == {np.dtype(np.float32)}


def test_the_truth_adds_up_exactly(whole: dict[str, Series]) -> None:
    total = np.zeros_like(whole[STRAIN].samples)
    for name in rich().truth:
        assert np.any(whole[name].samples != 0), name
        total += whole[name].samples
    assert total.tobytes() == whole[STRAIN].samples.tobytes()


def test_samples_belong_to_the_reader() -> None:
    span = Span.of_seconds(GPS + 4, 1)
    simulator = Simulator(rich())
    for name, series in simulator.read(list(simulator.rates), span).items():
        kept = series.samples.copy()
        series.samples[:] = 0
        again = simulator.read([name], span)[name]
        assert again.samples.tobytes() == kept.tobytes(), name


def test_the_state_vector_follows_the_script(whole: dict[str, Series]) -> None:
    locked = whole[STATE].samples == LOCKED
    assert LOCKED == 7
    lost = np.flatnonzero(~locked)
    # Unlocked from GPS + 2 + 1/16 s to a nanosecond into GPS + 4: that sample counts as lost too.
    assert lost.tolist() == list(range(2 * 16 + 1, 4 * 16 + 1))
    assert not whole[STATE].samples[lost].any()


def test_another_seed_is_another_noise_through_the_same_couplings() -> None:
    span = Span.of_seconds(GPS, 1)
    first, other = (Simulator(rich(seed)).read([STRAIN, STATE], span) for seed in (0, 1))
    assert not np.any(first[STRAIN].samples == other[STRAIN].samples)
    assert same_series(first[STATE], other[STATE])


def test_no_seam_between_seconds(whole: dict[str, Series]) -> None:
    # What couples is narrow, so the noise is smooth; a joint between seconds would not be.
    for name in ("H1:TRUTH-60HZ_NOISE", "H1:TRUTH-105HZ_NOISE"):
        rough = np.abs(np.diff(whole[name].samples, 4))
        across = (np.arange(rough.size) + 4) % 16384 < 4
        assert rough[across].max() < 1.01 * rough[~across].max(), name


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(InputError, match="no channel H1:GDS-CALIB_STRIAN; did you mean") as caught:
        Simulator(rich()).read(["H1:GDS-CALIB_STRIAN"], WHOLE)
    assert caught.value.channels == ("H1:GDS-CALIB_STRIAN",)
