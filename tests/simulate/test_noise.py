"""Noise by GPS second, finite filters, slow envelopes: what a simulated site is made of."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import welch

from deepclean.core.block import Samples
from deepclean.simulate.envelope import (
    COARSE,
    band_envelope,
    interpolated,
    line_envelope,
    phasor,
    wander,
)
from deepclean.simulate.noise import Stream, around, filtered, generator, remembered, white

GPS = 1370000000
ROUNDING = 1e-12


def over(stream: Stream, seconds: int, start: int = GPS) -> Samples:
    return np.concatenate([stream(start + second) for second in range(seconds)])


def test_white_noise_is_pinned() -> None:
    # Written down: histories made today must agree with live streams made by a later version.
    first = generator(0, "H1:GDS-CALIB_STRAIN background", GPS).integers(0, 2**32, 3)
    assert first.tolist() == [848179, 2771790003, 699952181]


def test_white_noise_differs_by_seed_name_and_second() -> None:
    draws = {
        float(white(seed, name, 16)(second)[0])
        for seed in (0, 1)
        for name in ("a", "b")
        for second in (GPS, GPS + 1)
    }
    assert len(draws) == 8


def test_white_noise_is_white_and_normal() -> None:
    samples = over(white(0, "x", 1024), 64)
    assert abs(samples.mean()) < 0.02
    assert samples.std() == pytest.approx(1, abs=0.01)
    assert np.mean(samples**4) == pytest.approx(3, abs=0.1)
    assert abs(np.mean(samples[1:] * samples[:-1])) < 0.02


def test_remembered_calls_once_and_is_read_only() -> None:
    calls = []

    def stream(second: int) -> Samples:
        calls.append(second)
        return np.zeros(4)

    memory = remembered(stream, 2)
    for second in (1, 2, 1, 2, 3, 2):
        memory(second)
    assert calls == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        memory(2)[0] = 1


@given(second=st.integers(GPS, GPS + 1000))
def test_filter_is_the_linear_convolution(second: int) -> None:
    rate = 16
    kernel = np.random.default_rng(1).standard_normal(2 * rate)
    source = white(3, "x", rate)
    long = np.convolve(over(source, 5, second - 2), kernel)[rate:]  # time zero at index `rate`
    found = filtered(source, kernel)(second)
    assert found == pytest.approx(long[2 * rate : 3 * rate], abs=ROUNDING)


@pytest.mark.parametrize(("frequency", "width"), [(0.0, 0.1), (1.1, 0.2), (0.0, 3.3)])
def test_wander_has_its_spectrum(frequency: float, width: float) -> None:
    samples = over(wander(0, "m", frequency, width), 4096)
    assert samples.std() == pytest.approx(1, abs=0.1)
    hertz, density = welch(samples, COARSE, nperseg=64 * COARSE, detrend=False)
    power = density / density.sum()
    # One-sided: around 0 the mean absolute frequency of a Gaussian is width * sqrt(2 / pi).
    middle = frequency or width * np.sqrt(2 / np.pi)
    assert np.sum(power * hertz) == pytest.approx(middle, abs=0.1 * width)
    spread = np.sqrt(np.sum(power * (hertz - frequency) ** 2))
    assert spread == pytest.approx(width, rel=0.1)
    assert np.sum(power[hertz > frequency + 6 * width]) < 1e-6


def test_wander_has_no_seams() -> None:
    # Noise that ends at 3 Hz is smooth, also across a second's end: its fifth difference is small.
    samples = over(wander(0, "m", 1.1, 0.2), 256)
    rough = np.abs(np.diff(samples, 5)) / samples.std()
    across = (np.arange(rough.size) + 5) % COARSE < 5
    assert rough[across].max() < 1.1 * rough[~across].max() < 0.01


def test_line_envelope_wanders_as_stated() -> None:
    samples = over(line_envelope(0, "mains", 0.1, 0.5, 0.1), 2048)
    assert np.mean(np.abs(samples) ** 2) / 2 == pytest.approx(1, abs=0.05)
    assert np.std(np.abs(samples)) / np.mean(np.abs(samples)) == pytest.approx(0.1, rel=0.1)
    assert np.std(np.angle(samples)) == pytest.approx(0.5, rel=0.1)


def test_band_envelope_has_unit_variance() -> None:
    samples = over(band_envelope(0, "hum", 2.0), 512)
    assert np.mean(np.abs(samples) ** 2) / 2 == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("rate", [16, 50, 256, 500, 2048, 10000, 16384, 20000])
@pytest.mark.parametrize("delay", [0, 1_700_000])
def test_interpolation_follows_a_tone(rate: int, delay: int) -> None:
    frequency = 3.2

    def tone(second: int) -> Samples:
        time = (second - GPS) + np.arange(COARSE) / COARSE
        samples: Samples = np.exp(2j * np.pi * frequency * time)
        return samples

    found = over(interpolated(tone, rate, delay), 3)
    time = np.arange(3 * rate) / rate - delay * 1e-9
    assert np.abs(found - np.exp(2j * np.pi * frequency * time)).max() < 1e-4


def test_interpolation_keeps_real_signals_real() -> None:
    fine = interpolated(wander(0, "m", 1.1, 0.2), 256)(GPS)
    assert fine.dtype == np.float64
    assert around(wander(0, "m", 1.1, 0.2), GPS, 1).shape == (3 * COARSE,)


@given(
    frequency=st.integers(1, 700),
    rate=st.sampled_from([2048, 16384, 20000]),
    second=st.integers(1_000_000_000, 2_000_000_000),
    sample=st.integers(0, 2047),
)
def test_phase_counts_from_gps_zero(frequency: int, rate: int, second: int, sample: int) -> None:
    turns = Fraction(frequency) * (second + Fraction(sample, rate)) % 1
    exact = np.exp(2j * np.pi * float(turns))
    assert abs(phasor(frequency, rate)[sample] - exact) < ROUNDING


def test_phase_is_later_by_the_delay() -> None:
    delay = 2_000_000
    turned = phasor(60, 16384, delay) / phasor(60, 16384)
    assert np.abs(turned - np.exp(-2j * np.pi * 60 * 0.002)).max() < ROUNDING
