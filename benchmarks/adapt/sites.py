"""Simulated sites of which the truth is known, at 512 Hz and in strain's own units.

`LineSite` has a 60 Hz line whose phase wanders, and slow channels that multiply it. Its model is a
closed form that is fitted to data of its own, so it is as good as a real one and not better.
`BroadbandSite` has one witness of white noise. Its model is the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex, derivative
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band, BandpassSettings, make_bandpass

RATE = 512
FLOOR = 1e-21
"""Root mean square of the floor, which is white."""
BANDPASS = BandpassSettings("fir", order=8, transition=6.0, tolerance=1e-3, settle_in=None)
DENSITY = FLOOR * np.sqrt(2 / RATE)
"""Amplitude spectral density of the floor."""

Factor = Complex | complex
"""What the coupling is multiplied by: a number, or one for each sample."""


class Filters:
    """A coupling's bandpass, its analytic twin and the derivative's, applied to whole records."""

    def __init__(self, band: Band) -> None:
        self.band = band
        self.bandpass = make_bandpass(BANDPASS, [band], RATE)
        self._analytic = AnalyticBandpass(self.bandpass, RATE)
        self._derivative = AnalyticBandpass(self.bandpass, RATE, derivative(*band))

    def real(self, samples: Float64) -> Float64:
        """Return a record in the band."""
        return self.bandpass.apply(np.pad(samples, self.bandpass.settle_in))

    def analytic(self, samples: Float64) -> Complex:
        """Return a record's analytic signal in the band."""
        return self._analytic.apply(np.pad(samples, self.bandpass.settle_in))

    def delayed(self, samples: Float64) -> Complex:
        """Return the group that follows a delay."""
        return self._derivative.apply(np.pad(samples, self.bandpass.settle_in))


def times(seconds: int) -> Float64:
    """Return the time of each sample of a record, in seconds."""
    return np.arange(seconds * RATE) / RATE


def slow_noise(seed: list[int], seconds: int, low: float, high: float) -> Float64:
    """Return Gaussian noise of unit power between two frequencies in Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(seconds * RATE))
    frequencies = np.fft.rfftfreq(seconds * RATE, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    noise = np.fft.irfft(spectrum, seconds * RATE)
    return np.asarray(noise / noise.std())


def white(seed: list[int], seconds: int) -> Float64:
    """Return white noise of unit power."""
    return np.random.default_rng(seed).standard_normal(seconds * RATE)


def ramps(seconds: int, duration: float, start: float = 0.0) -> Float64:
    """Return a record that goes from -1 to 1 and back along straight lines.

    Args:
        seconds: of the record.
        duration: of one line, in seconds.
        start: where on the way it begins, from 0 (at -1) to 1 (there again).
    """
    phase = (times(seconds) / (2 * duration) + start) % 1.0
    return 1 - 4 * np.abs(phase - 0.5)


def wander(size: Float64, turn: Float64, amount: float = 0.5, angle: float = 60.0) -> Complex:
    """Return a factor of 1 +- `amount` and +- `angle` degrees, by records from -1 to 1."""
    return np.asarray((1 + amount * size) * np.exp(1j * np.radians(angle) * turn))


@dataclass(frozen=True)
class LineSite:
    """A line and its sidebands.

    Args:
        seconds: of the record.
        sidebands: their density in units of the floor's.
        seed: of the record; the coupling is the same for all seeds.
        line: its height in spectra of 2 s, in units of the floor.
        slow: number of channels that multiply the line.
    """

    seconds: int
    sidebands: float
    seed: int
    line: float = 20.0
    slow: int = 20
    band: Band = (55.0, 65.0)

    @property
    def floor(self) -> Float64:
        """The strain without the coupling."""
        return FLOOR * white([self.seed, 0], self.seconds)

    @property
    def carrier(self) -> Complex:
        """The line as an analytic signal, its frequency within about 0.02 Hz of 60 Hz."""
        drift = 0.01 * np.cumsum(slow_noise([self.seed, 1], self.seconds, 0.001, 0.02)) / RATE
        return np.asarray(np.exp(2j * np.pi * (60 * times(self.seconds) + drift)))

    def channel(self, index: int) -> Float64:
        """Return what multiplies the line: 1 for the line itself, then the slow channels."""
        if index == 0:
            return np.ones(self.seconds * RATE)
        return slow_noise([self.seed, 1 + index], self.seconds, 0.1, 2.5)

    @property
    def coefficients(self) -> Complex:
        """The coupling: amplitude and phase of the line and of each channel's sidebands."""
        random = np.random.default_rng(1)
        sides = random.standard_normal(self.slow) + 1j * random.standard_normal(self.slow)
        # Power within 2.5 Hz either side of the line; the Hann window is 1.5 bins of 0.5 Hz wide.
        sides *= self.sidebands * DENSITY * np.sqrt(2 * 5.0) / np.linalg.norm(sides)
        return np.append(self.line * DENSITY * np.sqrt(2 * 0.75) * np.exp(0.7j), sides)

    def coupling(self, line: Factor = 1, sides: Factor | Callable[[int], Factor] = 1) -> Float64:
        """Return the noise in the strain, the line and the sidebands each times a factor."""
        total = np.zeros(self.seconds * RATE, dtype=np.complex128)
        for index, coefficient in enumerate(self.coefficients):
            factor = line if index == 0 else sides(index) if callable(sides) else sides
            total += coefficient * factor * self.channel(index)
        return np.asarray((total * self.carrier).real)

    def features(self) -> Float64:
        """Return what a closed form has to work with: the line, and its products."""
        carrier = self.carrier.real
        return np.stack([carrier * self.channel(index) for index in range(self.slow + 1)])


_TAPS = (-2, 0, 2)
"""Samples: a quarter of the line's period apart, so they make any gain and phase."""


def fit(site: LineSite, filters: Filters) -> Float64:
    """Return a closed form's weights, `(features, taps)`, by least squares in the band."""
    target = filters.real(site.coupling() + site.floor)
    rows = np.stack([filters.real(np.roll(one, tap)) for one in site.features() for tap in _TAPS])[
        :, RATE:-RATE
    ]
    gram, onto = rows @ rows.T, rows @ target[RATE:-RATE]
    scale = 1 / np.sqrt(np.diag(gram))
    unit = gram * np.outer(scale, scale) + 1e-3 * np.eye(len(gram))
    return (scale * np.linalg.solve(unit, scale * onto)).reshape(-1, len(_TAPS))


def predict(features: Float64, weights: Float64) -> Float64:
    """Return each feature's part of the model's prediction."""
    return np.stack(
        [
            sum(weight * np.roll(one, tap) for weight, tap in zip(row, _TAPS, strict=True))
            for one, row in zip(features, weights, strict=True)
        ]
    )


@dataclass(frozen=True)
class BroadbandSite:
    """One witness, whose noise is `loud` times the floor."""

    seconds: int
    loud: float
    seed: int
    band: Band = (110.0, 130.0)

    @property
    def floor(self) -> Float64:
        """The strain without the coupling."""
        return FLOOR * white([self.seed, 0], self.seconds)

    def coupling(self, factor: Factor = 1) -> Float64:
        """Return the noise in the strain, times a factor."""
        spectrum = np.fft.rfft(white([self.seed, 1], self.seconds))
        whole = np.concatenate([2 * spectrum[:-1], np.zeros(len(spectrum) - 1)])
        return np.asarray(self.loud * FLOOR * (factor * np.fft.ifft(whole)).real)

    def delayed(self, delay: Float64) -> Float64:
        """Return the noise in the strain later by `delay` seconds, one for each sample."""
        spectrum = np.fft.rfft(white([self.seed, 1], self.seconds))
        turn = -2j * np.pi * np.fft.rfftfreq(self.seconds * RATE, 1 / RATE)
        # Between noise of fixed delays, 0.1 ms apart.
        steps = np.arange(int(delay.max() * 1e4) + 2) / 1e4
        total = np.zeros(len(delay))
        for step in steps:
            near = np.maximum(1 - np.abs(delay - step) * 1e4, 0)
            total += near * np.fft.irfft(spectrum * np.exp(turn * step), len(delay))
        return self.loud * FLOOR * total
