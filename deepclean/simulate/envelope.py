"""Slow signals: seismic motion and the envelopes of lines and bands, on a coarse and a fine grid.

Everything that couples in a simulated site is narrow: a motion of a few hertz, or a carrier at a
whole number of hertz times a complex envelope of a few hertz. Envelopes are computed at `COARSE`
samples per second. They are white noise filtered to a Gaussian spectrum, whose kernel is a Gaussian
in time too and therefore short. They are multiplied on the coarse grid and then interpolated to the
rate of a channel.
"""

from __future__ import annotations

from math import gcd

import numpy as np
import scipy.fft
from scipy.signal import upfirdn

from deepclean.core.block import Float64, Samples
from deepclean.core.time import NS
from deepclean.simulate.noise import Stream, around, remembered, white

COARSE = 64
"""Samples per second of an envelope. The spectrum of an envelope must end below `WIDEST` Hz."""

WIDEST = 20.0
"""End of the interpolation's pass band in Hz."""

_HALF = 8  # half-length of the interpolation kernel, in coarse samples
_BETA = 9.0  # parameter of its Kaiser window, which suppresses images by 90 dB


def wander(seed: int, name: str, frequency: float, width: float) -> Stream:
    """Return real Gaussian noise of unit variance around a frequency, on the coarse grid.

    Args:
        seed: of the site.
        name: of the source.
        frequency: centre of its power spectral density in Hz; 0 for a slow drift about zero.
        width: standard deviation of the (Gaussian) power spectral density in Hz, at least 0.05.

    The kernel extends over seven of its standard deviations on each side, `0.8 / width` seconds,
    where it has fallen to 2e-11.
    """
    reach = int(np.ceil(0.8 / width))
    count = (2 * reach + 1) * COARSE
    hertz = np.arange(count // 2 + 1) * (COARSE / count)
    response = _bump(hertz - frequency, width) + _bump(hertz + frequency, width)
    variance = np.sum(scipy.fft.irfft(response, count) ** 2)
    response /= np.sqrt(variance)
    source = remembered(white(seed, name, COARSE), 2 * reach + 4)

    def make(second: int) -> Float64:
        spectrum = scipy.fft.rfft(around(source, second, reach)) * response
        samples: Float64 = scipy.fft.irfft(spectrum, count)
        return samples[reach * COARSE : (reach + 1) * COARSE].copy()

    return remembered(make, 4)


def line_envelope(seed: int, name: str, amplitude: float, phase: float, width: float) -> Stream:
    """Return the complex envelope of a line of unit mean square whose size and phase wander.

    Args:
        seed: of the site.
        name: of the line.
        amplitude: standard deviation of the relative amplitude.
        phase: standard deviation of the phase, in radians.
        width: width of both, as in `wander`, in Hz.
    """
    size = wander(seed, f"{name} amplitude", 0.0, width)
    angle = wander(seed, f"{name} phase", 0.0, width)
    scale = np.sqrt(2 / (1 + amplitude**2))

    def make(second: int) -> Samples:
        turned: Samples = np.exp(1j * phase * angle(second))
        turned *= scale * (1 + amplitude * size(second))
        return turned

    return remembered(make, 4)


def band_envelope(seed: int, name: str, width: float) -> Stream:
    """Return the complex envelope of band-limited noise of unit variance (see `wander`)."""
    cosine = wander(seed, f"{name} cosine", 0.0, width)
    sine = wander(seed, f"{name} sine", 0.0, width)

    def make(second: int) -> Samples:
        return cosine(second) + 1j * sine(second)

    return remembered(make, 4)


def interpolated(envelope: Stream, rate: int, delay: int = 0) -> Stream:
    """Return a real or complex coarse signal at `rate` Hz, delayed by `delay` nanoseconds.

    This is Kaiser-windowed sinc interpolation by `rate / COARSE`, which may be any rational number.
    Both grids begin with every GPS second, so all seconds are filtered in arrays of one shape.
    """
    common = gcd(rate, COARSE)
    up, down = rate // common, COARSE // common
    place = np.arange(-_HALF * up, _HALF * up + 1) / up - delay * COARSE / NS
    inside = np.clip(1 - (place / _HALF) ** 2, 0, None)
    kernel = np.sinc(place) * np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    before = _HALF + (-2 * _HALF) % down  # so that the second's start is an output sample
    first = (before + _HALF) * up // down

    def make(second: int) -> Samples:
        coarse = around(envelope, second, 1)[COARSE - before : 2 * COARSE + _HALF]
        parts = [coarse.real, coarse.imag] if np.iscomplexobj(coarse) else [coarse]
        fine = [upfirdn(kernel, part, up, down)[first : first + rate] for part in parts]
        whole: Samples = fine[0] + 1j * fine[1] if len(fine) == 2 else fine[0]
        return whole

    return make


def phasor(frequency: int, rate: int, delay: int = 0) -> Samples:
    """Return `exp(2 pi i f (t - delay))` over one second, shape `(rate,)`, complex.

    At a whole number of hertz, the phase at the start of every second is a whole number of turns
    since GPS 0. The same table therefore serves all seconds, and no phase grows: `f n mod rate` is
    exact.

    Args:
        frequency: whole hertz.
        rate: samples per second.
        delay: nanoseconds.
    """
    turns = (frequency * np.arange(rate) % rate) / rate - (frequency * delay % NS) / NS
    table: Samples = np.exp(2j * np.pi * turns)
    return table


def _bump(hertz: Samples, width: float) -> Float64:
    """Return the square root of a Gaussian of standard deviation `width`, 1 at its middle."""
    bump: Float64 = np.exp(-((hertz / (2 * width)) ** 2))
    return bump
