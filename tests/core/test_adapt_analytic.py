"""The analytic bandpass against tones, and what it needs of the future."""

from dataclasses import replace

import numpy as np
import pytest

from deepclean.core.adapt.analytic import AnalyticBandpass, derivative
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Bandpass, BandpassSettings, make_bandpass
from tests.helpers.adapted_stream import same

RATE = 512
FIR = BandpassSettings(filter="fir", order=8, transition=6.0, tolerance=1e-3, settle_in=None)
KINDS = {
    "fir": make_bandpass(FIR, [(55, 65)], RATE),
    "narrow": make_bandpass(replace(FIR, transition=2.0), [(59, 61)], RATE),
    "low": make_bandpass(replace(FIR, transition=4.0), [(10, 20)], RATE),
    "two bands": make_bandpass(FIR, [(55, 65), (110, 130)], RATE),
    "butterworth": make_bandpass(replace(FIR, filter="butterworth"), [(55, 65)], RATE),
}
TONES = {"fir": 57.3, "narrow": 60.2, "low": 12.1, "two bands": 119.0, "butterworth": 58.8}


def tone(frequency: float, count: int) -> Float64:
    return np.cos(2 * np.pi * frequency * np.arange(count) / RATE + 0.4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tone_in_the_band_has_its_sine_as_quadrature(kind: str) -> None:
    bandpass = KINDS[kind]
    half, count = bandpass.settle_in, 1000
    found = AnalyticBandpass(bandpass, RATE).apply(tone(TONES[kind], count + 2 * half))
    phase = 2 * np.pi * TONES[kind] * np.arange(half, half + count) / RATE + 0.4
    # Twice the bandpass's own tolerance: what is cut off of the quadrature comes on top.
    assert np.abs(found - np.exp(1j * phase)).max() < 2e-3 + np.abs(
        1 - bandpass.response(np.array([TONES[kind]]))[0]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_real_part_is_the_bandpass_itself(kind: str) -> None:
    bandpass = KINDS[kind]
    window = np.random.default_rng(0).standard_normal(700 + 2 * bandpass.settle_in)
    found = AnalyticBandpass(bandpass, RATE).apply(window)
    assert same(np.ascontiguousarray(found.real), bandpass.apply(window))


@pytest.mark.parametrize("frequency", [3.0, 40.0, 80.0, 200.0])
def test_a_tone_outside_dies_in_both_parts(frequency: float) -> None:
    bandpass = KINDS["fir"]
    found = AnalyticBandpass(bandpass, RATE).apply(tone(frequency, 2000))
    assert np.abs(found).max() < 3e-3


@pytest.mark.parametrize("frequency", [56.0, 60.0, 63.0])
def test_the_derivative_is_as_loud_as_the_distance_from_the_middle(frequency: float) -> None:
    bandpass = KINDS["fir"]
    group = AnalyticBandpass(bandpass, RATE, derivative(55.0, 65.0))
    found = group.apply(tone(frequency, 1000 + 2 * bandpass.settle_in))
    phase = 2 * np.pi * frequency * np.arange(1000) / RATE
    phase += 2 * np.pi * frequency * bandpass.settle_in / RATE + 0.4
    assert np.abs(found - (frequency - 60) / 5 * np.exp(1j * phase)).max() < 0.01


def test_a_small_delay_is_two_gains() -> None:
    # exp(-2 pi i f tau) = exp(-2 pi i f0 tau) (1 - 2 pi i df tau) + O((df tau)^2).
    bandpass, delay = KINDS["fir"], 0.002
    window = np.random.default_rng(1).standard_normal(4096)
    spectrum = np.fft.rfft(window)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(4096, 1 / RATE) * delay)
    late = np.fft.irfft(spectrum * turn)
    estimate = AnalyticBandpass(bandpass, RATE).apply(window)
    slope = AnalyticBandpass(bandpass, RATE, derivative(55.0, 65.0)).apply(window)
    middle = np.exp(-2j * np.pi * 60 * delay)
    found = (middle * (estimate - 2j * np.pi * 5 * delay * slope)).real
    part = slice(400, -400)
    true = bandpass.apply(late)[part]
    # The next term is (2 pi 5 Hz 2 ms)^2 / 2 = 0.002 at the band's edges; more in the transition.
    assert np.std(found[part] - true) < 5e-3 * np.std(true)
    assert np.std((middle * estimate).real[part] - true) > 0.03 * np.std(true)


@pytest.mark.parametrize("kind", KINDS)
def test_it_reaches_as_far_as_the_bandpass(kind: str) -> None:
    bandpass: Bandpass = KINDS[kind]
    window = np.random.default_rng(0).standard_normal(50 + 2 * bandpass.settle_in)
    assert AnalyticBandpass(bandpass, RATE).apply(window).shape == (50,)
    assert AnalyticBandpass(bandpass, RATE).settle_in == bandpass.settle_in
