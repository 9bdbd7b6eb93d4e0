"""Transforms, densities, medians and the bins of bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from deepclean.core.spectra import (
    SEGMENT,
    Bins,
    asd,
    band_ratio,
    density,
    median,
    median_bias,
    transform,
    worst_outside,
)

RATE = 1024
STOP = 400.0


def test_density_is_welchs() -> None:
    samples = np.random.default_rng(0).standard_normal(2 * RATE)
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


@given(st.integers(8, 400), st.floats(0.01, 0.5), st.integers(1, 5), st.integers(0, 1000))
def test_a_transform_is_that_of_its_definition(
    count: int, part: float, rows: int, seed: int
) -> None:
    """At any length, and in few bins or all, for each row as if it were alone, bit for bit."""
    samples = np.random.default_rng(seed).standard_normal((rows, count))
    found = transform(samples, count, part * count)
    bins = np.arange(int(part * count) + 1)
    assert found.shape == (rows, len(bins))
    waves = np.exp(-2j * np.pi * np.outer(np.arange(count), bins) / count)
    window = signal.windows.hann(count, sym=False)
    np.testing.assert_allclose(found, (samples * window) @ waves / count, atol=1e-13)
    for row, one in zip(samples, found, strict=True):
        assert np.array_equal(transform(row, count, part * count), one)


@given(st.integers(1, 20), st.integers(0, 3), st.integers(0, 1000))
def test_the_median_is_numpys(count: int, bad: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_exponential((count, 5))
    values[rng.integers(count, size=bad), rng.integers(5, size=bad)] = np.nan
    assert np.array_equal(median(values), np.median(values, axis=0), equal_nan=True)


@given(st.integers(1, 31))
def test_bias_of_the_median_is_scipys(count: int) -> None:
    samples = np.random.default_rng(count).standard_exponential((200_000 // count, count))
    odd = count if count % 2 else count - 1
    assert np.median(samples[:, :odd], axis=1).mean() == pytest.approx(median_bias(count), rel=0.02)


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


def test_ratios_are_those_of_the_bins_of_a_band() -> None:
    rng = np.random.default_rng(1)
    raw, other = rng.standard_normal((2, 20 * RATE))
    frequencies, before = asd(raw, RATE)
    _, after = asd(raw + 0.3 * other, RATE)
    inside = (frequencies >= 55) & (frequencies <= 65)
    ratio = after / before
    found = band_ratio(raw + 0.3 * other, raw, RATE, [(55.0, 65.0)])
    assert found == pytest.approx(ratio[inside].mean(), rel=1e-12)
    beside = (frequencies >= 10) & (frequencies < RATE / 2) & (abs(frequencies - 60) > 11)
    worst = ratio[beside][np.argmax(abs(ratio[beside] - 1))]
    assert worst_outside(raw + 0.3 * other, raw, RATE, [(55.0, 65.0)], guard=6.0) == worst


def test_a_band_between_two_bins_has_a_ratio() -> None:
    raw = np.random.default_rng(2).standard_normal(20 * RATE)
    assert band_ratio(0.5 * raw, raw, RATE, [(60.1, 60.2)]) == 0.5
