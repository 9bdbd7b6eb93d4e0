"""Spectra of the running stream: levels, lines, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from deepclean.core.block import Float64
from deepclean.core.recent_spectra import HELD, RecentSpectra, RecentStretch
from deepclean.core.spectra import SEGMENT, asd
from deepclean.core.time import NS, Span

RATE = 1024
COUNT = 2 * RATE
LEVEL = 3e-23
TIMES = np.arange(COUNT) / RATE


def stretch(number: int, raw: Float64, cleaned: Float64, **estimates: Float64) -> RecentStretch:
    start = number * SEGMENT
    return RecentStretch(Span(start, start + SEGMENT), raw, cleaned, estimates)


def white(seed: int) -> Float64:
    """Return noise whose one-sided density is LEVEL: a variance of LEVEL^2 RATE / 2."""
    variance = LEVEL**2 * RATE / 2
    return np.random.default_rng(seed).normal(0.0, variance**0.5, COUNT)


def spectra() -> RecentSpectra:
    return RecentSpectra({"60Hz": [(55.0, 65.0)]}, RATE)


def test_white_noise_has_its_density() -> None:
    found = spectra()
    for number in range(HELD):
        found.add(stretch(number, white(number), white(number), **{"60Hz": white(99)}))
    for one in (found.whole(), found.near("60Hz")):
        level = np.sqrt(np.mean(one.raw**2))
        assert level == pytest.approx(LEVEL, rel=0.1)
    assert found.end == HELD * SEGMENT
    assert found.count == HELD


def test_it_is_the_median_density_of_the_strain() -> None:
    """Bin by bin around a band: what Welch's method with the same stretches gives."""
    found, pieces = spectra(), [white(number) for number in range(3)]
    for number, raw in enumerate(pieces):
        found.add(stretch(number, raw, raw))
    near = found.near("60Hz")
    powers = [asd(np.concatenate([raw]), RATE)[1] ** 2 for raw in pieces]
    bins = np.round(near.frequencies * 2).astype(int)
    expected = np.sqrt(np.median(powers, axis=0) / (5 / 6))
    np.testing.assert_allclose(near.raw, expected[bins], rtol=1e-3)


def test_a_line_stands_in_raw_and_estimate_only() -> None:
    found, line = spectra(), 1e-21 * np.sin(2 * np.pi * 60.0 * TIMES)
    for number in range(HELD):
        noise = white(number)
        found.add(stretch(number, noise + line, noise, **{"60Hz": line}))
    near = found.near("60Hz")
    assert near.estimate is not None
    at = int(np.argmax(near.raw))
    assert near.frequencies[at] == 60.0
    assert near.estimate[at] == pytest.approx(near.raw[at], rel=0.1)
    assert near.cleaned[at] < 3 * LEVEL
    assert near.estimate[0] < 1e-6 * near.raw[at]


def test_a_glitch_does_not_move_it() -> None:
    quiet, loud = spectra(), spectra()
    for number in range(HELD):
        raw = white(number)
        quiet.add(stretch(number, raw, raw))
        glitch = 1e3 * raw if number == 2 else raw
        loud.add(stretch(number, glitch, glitch))
    ratio = loud.near("60Hz").raw / quiet.near("60Hz").raw
    assert ratio.max() < 2.0


def test_what_is_not_finite_is_left_out() -> None:
    found, raw = spectra(), white(1)
    found.add(stretch(0, raw, raw))
    bad = raw.copy()
    bad[7] = np.nan
    found.add(stretch(1, bad, raw))
    assert (found.count, found.end) == (1, SEGMENT)


def test_memory_is_bounded() -> None:
    found, raw = spectra(), white(1)
    for number in range(3 * HELD):
        found.add(stretch(number, raw, raw))
    assert found.count == HELD


@pytest.mark.parametrize("rate", [512, 4096, 16384, 20000])
@pytest.mark.parametrize("bands", [[(10.0, 30.0)], [(8.0, 9.0), (400.0, 500.0)], [(0.5, 1.0)]])
def test_groups_suit_any_rate_and_bands(rate: int, bands: list[tuple[float, float]]) -> None:
    found = RecentSpectra({"one": bands}, rate)
    flat = np.random.default_rng(3).standard_normal(2 * rate)
    found.add(RecentStretch(Span(0, 2 * NS), flat, flat, {"one": flat}))
    for one in (found.whole(), found.near("one")):
        assert 0 < len(one.frequencies) <= 160
        assert len(one.raw) == len(one.cleaned) == len(one.frequencies)
        assert (np.diff(one.frequencies) > 0).all()
        assert one.frequencies[-1] <= 0.45 * rate + 0.5
        assert (one.raw > 0).all()
