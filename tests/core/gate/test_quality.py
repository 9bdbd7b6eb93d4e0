"""Running spectra: the same figures as scipy's over the whole stretch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from deepclean.core.copying import copy_state
from deepclean.core.gate.quality import RunningSpectra, measure
from deepclean.core.spectra import SEGMENT, Bins, density, transform
from deepclean.core.time import NS

RATE = 1024
SECONDS = 8
BANDS = ((55.0, 65.0),)
STOP = 400.0


def noise(seed: int, seconds: int = SECONDS, rate: int = RATE) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(seconds * rate)


def window_over(raw: NDArray[np.float64], estimate: NDArray[np.float64]) -> RunningSpectra:
    """Return a window that has seen all of these."""
    window = RunningSpectra(Bins(BANDS, 6.0, STOP, SEGMENT), SECONDS * NS)
    for start in range(SECONDS - 1):
        part = slice(start * RATE, (start + 2) * RATE)
        strain, other = (transform(samples[part], RATE, STOP) for samples in (raw, estimate))
        window.add(start * NS, strain, density(strain, SEGMENT), other)
    return window


def test_measures_are_those_of_the_whole_stretch() -> None:
    raw, estimate = noise(1), 0.4 * noise(2) + 0.3 * noise(1)
    quality, level = measure([window_over(raw, estimate)])[0]
    options = {"nperseg": 2 * RATE, "detrend": False}
    frequencies, before = signal.welch(raw, RATE, average="median", **options)
    _, after = signal.welch(raw - estimate, RATE, average="median", **options)
    inside = (frequencies >= 55) & (frequencies <= 65)
    beside = (frequencies >= 49) & (frequencies <= 71) & ~inside
    ratio = np.sqrt(after / before)
    assert quality.in_band == pytest.approx(ratio[inside].mean(), rel=1e-12)
    _, mean_before = signal.welch(raw, RATE, **options)
    _, mean_after = signal.welch(raw - estimate, RATE, **options)
    means = np.sqrt(mean_after / mean_before)
    # One bin is only as bad as the median and the mean say.
    near = inside | beside
    assert quality.worst == pytest.approx(np.minimum(ratio, means)[near].max(), rel=1e-12)
    assert quality.worst < ratio[near].max()
    assert quality.guard == pytest.approx(ratio[beside].mean(), rel=1e-12)
    outside = (frequencies >= 10) & (frequencies <= STOP) & ~inside & ~beside
    expected = np.sqrt((mean_after / mean_before)[outside].mean())
    assert quality.outside == pytest.approx(expected, rel=1e-12)
    # All bins count alike, each by its logarithm; the band's are charged with all of them.
    worth = np.log(ratio[near]).sum() + np.log(means[outside]).sum()
    assert quality.net == pytest.approx(np.exp(worth / inside.sum()), rel=1e-9)
    np.testing.assert_allclose(level.floor, np.minimum(after, before)[inside], rtol=1e-12)
    rms = np.sqrt(before[inside].sum() * 0.5)
    assert level.rms == pytest.approx(rms, rel=1e-12)


def test_nothing_subtracted_changes_nothing() -> None:
    quality, _ = measure([window_over(noise(3), np.zeros(SECONDS * RATE))])[0]
    assert quality.in_band == quality.worst == quality.guard == quality.outside == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_said(value: float) -> None:
    estimate = np.zeros(SECONDS * RATE)
    estimate[:] = value
    with np.errstate(invalid="ignore"):
        quality, _ = measure([window_over(noise(4), estimate)])[0]
    assert not quality.finite


def test_a_strain_of_zeros_is_no_measure() -> None:
    quality, _ = measure([window_over(np.zeros(SECONDS * RATE), np.zeros(SECONDS * RATE))])[0]
    assert not quality.finite


def test_a_window_forgets() -> None:
    window = window_over(noise(5), 0.1 * noise(6))
    assert window.full
    window.drop_before(9 * NS)
    assert not window.full
    assert window.enough
    window.drop_before(13 * NS)
    assert not window.enough
    twin = copy_state(window)
    window.clear()
    assert not window.enough
    assert len(twin.held) == 2


@pytest.mark.parametrize(("coupled", "wrong"), [(2.0, 0.0), (0.0, 0.0), (0.0, 0.5), (2.0, 3.0)])
def test_the_net_effect_has_no_bias(coupled: float, wrong: float) -> None:
    """What is gained and lost in each bin, from medians in some and from means in others."""
    bins = Bins(BANDS, 6.0, STOP, SEGMENT)
    found = []
    for seed in range(0, 60, 3):
        right, floor, other = (noise(seed + number) for number in range(3))
        raw, estimate = floor + coupled * right, coupled * right + wrong * other
        found.append(np.log(measure([window_over(raw, estimate)])[0][0].net))
    charged = (len(bins.near) + len(bins.outside)) / len(bins.inside)
    expected = charged * np.log((1 + wrong**2) / (1 + coupled**2)) / 2
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected, abs=4 * error + 1e-12)
