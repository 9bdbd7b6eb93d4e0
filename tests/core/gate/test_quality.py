"""Running spectra: the same figures as scipy's, whatever the rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import signal

from deepclean.core.gate.quality import (
    FAST_SEGMENT,
    LEAST,
    SEGMENT,
    BandPower,
    Bins,
    RunningSpectra,
    StrainLevel,
    band_power,
    density,
    median_bias,
    transform,
)
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
        spectra = [transform(samples[part], RATE, STOP) for samples in (raw, estimate)]
        window.add(start * NS, *spectra)
    return window


def test_density_is_welchs() -> None:
    samples = noise(0, 2)
    _, expected = signal.welch(samples, RATE, nperseg=2 * RATE, detrend=False)
    found = density(transform(samples, RATE, STOP), SEGMENT)
    # From the first bins on: the two Hann windows are the same, nothing else is done.
    np.testing.assert_allclose(found[1:], expected[1 : len(found)], rtol=1e-12)


def test_a_stream_has_the_same_transform_at_any_rate() -> None:
    spectra = []
    for rate in (512, 4096, 16384):
        times = np.arange(2 * rate) / rate
        wave = np.cos(2 * np.pi * 60.2 * times + 0.3) + 0.1 * np.sin(2 * np.pi * 31.0 * times)
        spectra.append(transform(wave, rate, 200.0))
    for one in spectra[1:]:
        # But for what aliases, which the window lets fall with the cube of the distance.
        np.testing.assert_allclose(one, spectra[0], atol=1e-8)


@given(st.integers(1, 31))
def test_bias_of_the_median_is_scipys(count: int) -> None:
    samples = np.random.default_rng(count).standard_exponential((200_000 // count, count))
    odd = count if count % 2 else count - 1
    assert np.median(samples[:, :odd], axis=1).mean() == pytest.approx(median_bias(count), rel=0.02)


def test_measures_are_those_of_the_whole_stretch() -> None:
    raw, estimate = noise(1), 0.4 * noise(2) + 0.3 * noise(1)
    quality, level = window_over(raw, estimate).measure()
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
    # Few bins are only as bad as the median and the mean say.
    assert quality.worst == pytest.approx(np.minimum(ratio, means)[inside].max(), rel=1e-12)
    assert quality.worst < ratio[inside].max()
    expected = min(ratio[beside].mean(), means[beside].mean())
    assert quality.guard == pytest.approx(expected, rel=1e-12)
    outside = (frequencies >= 10) & (frequencies <= STOP) & ~inside & ~beside
    expected = np.sqrt((mean_after / mean_before)[outside].mean())
    assert quality.outside == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(level.floor, np.minimum(after, before)[inside], rtol=1e-12)
    rms = np.sqrt(before[inside].sum() * 0.5)
    assert level.rms == pytest.approx(rms, rel=1e-12)


def test_nothing_subtracted_changes_nothing() -> None:
    quality, _ = window_over(noise(3), np.zeros(SECONDS * RATE)).measure()
    assert quality.in_band == quality.worst == quality.guard == quality.outside == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_said(value: float) -> None:
    estimate = np.zeros(SECONDS * RATE)
    estimate[:] = value
    with np.errstate(invalid="ignore"):
        quality, _ = window_over(noise(4), estimate).measure()
    assert not quality.finite


def test_a_strain_of_zeros_is_no_measure() -> None:
    quality, _ = window_over(np.zeros(SECONDS * RATE), np.zeros(SECONDS * RATE)).measure()
    assert not quality.finite


def test_a_window_forgets() -> None:
    window = window_over(noise(5), 0.1 * noise(6))
    assert window.full
    window.drop_before(9 * NS)
    assert not window.full
    assert window.enough
    window.drop_before(13 * NS)
    assert not window.enough
    twin = window.copy()
    window.clear()
    assert not window.enough
    twin.add(20 * NS, *[transform(noise(7, 2), RATE, STOP)] * 2)


@pytest.mark.parametrize(
    ("bands", "inside"),
    [
        (((55.0, 56.0),), [110, 111, 112]),
        (((60.1, 60.2),), [120]),
        (((55.0, 56.0), (80.0, 80.5)), [110, 111, 112, 160, 161]),
    ],
)
def test_bins_of_bands(bands: tuple[tuple[float, float], ...], inside: list[int]) -> None:
    bins = Bins(bands, 2.0, 100.0, SEGMENT)
    assert bins.inside.tolist() == inside
    every = np.concatenate([bins.inside, bins.guard, bins.outside])
    assert sorted(every.tolist()) == list(range(20, 201))


FAST = Bins(BANDS, 6.0, STOP, FAST_SEGMENT)
SLOW = Bins(BANDS, 6.0, STOP, SEGMENT)
WHITE = np.full(len(SLOW.inside), 2.0 / RATE)
"""The density of noise of variance 1."""


def briefly(
    raw: NDArray[np.float64],
    estimate: NDArray[np.float64],
    *,
    highest: float = 0.0,
    usual: float = 1.0,
) -> BandPower:
    """Return the power in a second, in a band whose floor is white noise."""
    level = StrainLevel(floor=WHITE / LEAST, usual=usual * WHITE, rms=1.0)
    strain, other = (transform(samples, RATE, STOP) for samples in (raw, estimate))
    return band_power(strain, other, FAST, SLOW, level, highest)


def test_brief_powers_are_in_units_of_what_is_usual_and_of_the_floor() -> None:
    sums = np.zeros((3, 2))
    for seed in range(200):
        found = briefly(noise(seed, 1), 0.5 * noise(1000 + seed, 1))
        sums += [found.raw, found.clean, found.power]
    per_bin = np.outer([1.0, 1.25, 0.25], [1.0, LEAST])
    np.testing.assert_allclose(sums / 200, len(FAST.inside) * per_bin, rtol=0.1)


def test_the_variance_is_that_of_the_difference() -> None:
    """For an estimate that is right, and one that is not; with a signal it is no less.

    Bins side by side are not independent, so that it is a little more in a line, and up to twice
    in amplitude where a signal is as short as a click.
    """
    line = np.sin(2 * np.pi * 60 * np.arange(RATE) / RATE)
    wave = np.exp(-(((np.arange(RATE) / RATE - 0.5) / 0.02) ** 2))
    for coupling, size in ((1.0, 0.0), (0.5, 0.0), (-1.0, 0.0), (1.0, 3.0), (1.0, 30.0)):
        off, variance = [], []
        for seed in range(200):
            phase = np.cos(2 * np.pi * (60 * np.arange(RATE) / RATE + seed / 200))
            found = briefly(noise(seed, 1) + coupling * line + size * wave * phase, line, usual=500)
            expected = (1 - 2 * coupling) * found.power
            off.append(found.clean - found.raw - expected)
            variance.append(found.variance)
        ratio = np.mean(np.square(off), axis=0) / np.mean(variance, axis=0)
        print(f"coupling {coupling}, signal {size}: {ratio}")
        assert (ratio < (4 if size else 1.8)).all()
        assert size or (ratio > 0.5).all()


def test_a_fault_of_the_estimate_is_not_taken_for_a_signal() -> None:
    """A line in the estimate only, beside one that is right: the strain has none of it."""
    time = np.arange(RATE) / RATE
    line, fault = np.sin(2 * np.pi * 60 * time), np.sin(2 * np.pi * 57 * time)
    raw = noise(1, 1) + line
    found = briefly(raw, line + fault, usual=500)
    assert (found.variance < 0.1 * found.power**2).all()


def test_a_bin_that_was_as_loud_before_does_not_stand_out() -> None:
    line = 30 * np.sin(2 * np.pi * 60 * np.arange(RATE) / RATE)
    raw = noise(1, 1)
    assert briefly(raw, line).worst > 100
    loud = float(briefly(raw, line).noise.max())
    assert briefly(raw, line, highest=loud).worst < 2


def test_excess_is_the_mean_of_what_is_added() -> None:
    raw = noise(1, 1)
    assert briefly(raw, -0.1 * raw).excess == pytest.approx(
        0.1 * np.sqrt(density(transform(raw, RATE, STOP), FAST_SEGMENT)[55:66] / WHITE[0]).mean()
    )
    assert briefly(raw, raw).excess < 0
    assert briefly(raw, 0 * raw).excess == 0
    assert (briefly(raw, 0 * raw).variance == 0).all()


def test_the_skirt_of_a_line_is_no_signal() -> None:
    """A pure line is wider over one second than over two."""
    two = 100 * np.sin(2 * np.pi * 60 * np.arange(2 * RATE) / RATE)
    usual = WHITE + density(transform(two, RATE, STOP), SEGMENT)[SLOW.inside]
    level = StrainLevel(floor=WHITE / LEAST, usual=usual, rms=1.0)
    raw, line = (transform(x, RATE, STOP) for x in (noise(1, 1) + two[:RATE], two[:RATE]))
    found = band_power(raw, line, FAST, SLOW, level)
    assert found.raw[1] - found.clean[1] > 20 * np.sqrt(found.variance[1])
