"""The signals that a simulated coupling is made of, as whole arrays of any length.

Everything is shaped in the frequency domain over the whole stretch and a margin at either end,
which is cut off: the filters' responses have died there, so a stretch has no beginning. All signals
are functions of one random generator, in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepclean.core.block import Float64

Complex = NDArray[np.complex128]
Response = Callable[[Float64], NDArray[np.complex128] | Float64]

MARGIN = 8
"""Seconds at either end that are made and cut off."""


class Scene:
    """A stretch of time in which things move.

    Args:
        generator: of all that is random in it.
        seconds: length, without the margins.
        rate: samples per second.
    """

    def __init__(self, generator: np.random.Generator, seconds: int, rate: int) -> None:
        self.random, self.rate, self.seconds = generator, rate, seconds
        self.count = (seconds + 2 * MARGIN) * rate
        self.time = np.arange(self.count) / rate
        self.hertz = scipy.fft.rfftfreq(self.count, 1 / rate)

    def cut(self, samples: Float64) -> Float64:
        """Return the samples without the margins."""
        return samples[..., MARGIN * self.rate : self.count - MARGIN * self.rate]

    def noise(self, response: Response) -> Float64:
        """Return noise of one-sided amplitude spectral density `|response|`, per root Hz."""
        white = self.random.standard_normal(self.count) * np.sqrt(self.rate / 2)
        return self.filtered(white, response)

    def filtered(self, samples: Float64, response: Response) -> Float64:
        """Return the samples after a filter of that frequency response (argument in Hz)."""
        spectrum = scipy.fft.rfft(samples) * response(self.hertz)
        return np.asarray(scipy.fft.irfft(spectrum, self.count), dtype=np.float64)

    def delayed(self, samples: Float64, seconds: float) -> Float64:
        """Return the samples later by any time."""
        return self.filtered(samples, lambda f: np.exp(-2j * np.pi * f * seconds))

    def motion(self, centre: float, width: float) -> Float64:
        """Return Gaussian noise of unit variance around a frequency, in Hz."""
        power = 1 / np.sqrt(2 * np.pi) / width
        return self.noise(lambda f: np.sqrt(power * np.exp(-((f - centre) ** 2) / (2 * width**2))))

    def broad(self, low: float, high: float) -> Float64:
        """Return noise of unit density per root Hz in a band, with edges of a tenth of it."""
        edge = 0.1 * (high - low)

        def response(f: Float64) -> Float64:
            rise = np.clip((f - low + edge) / edge, 0, 1)
            fall = np.clip((high + edge - f) / edge, 0, 1)
            return np.asarray(np.sin(np.pi / 2 * rise) * np.sin(np.pi / 2 * fall))

        return self.noise(response)

    def line(
        self, frequency: float, amplitude: float = 0.1, phase: float = 0.5, wander: float = 0.1
    ) -> Complex:
        """Return the analytic signal of a line of unit mean square whose size and phase wander."""
        size = 1 + amplitude * self.motion(0.0, wander) / np.sqrt(2)
        angle = 2 * np.pi * frequency * self.time + phase * self.motion(0.0, wander) / np.sqrt(2)
        scale = np.sqrt(2 / (1 + amplitude**2))
        return np.asarray(scale * size * np.exp(1j * angle), dtype=np.complex128)

    def white(self, density: float) -> Float64:
        """Return white noise of that density per root Hz."""
        samples: Float64 = self.random.standard_normal(self.count)
        return density * float(np.sqrt(self.rate / 2)) * samples


def resonance(frequency: float, quality: float) -> Response:
    """Return the response of a damped oscillator that is driven by a force, 1 at its peak."""

    def response(f: Float64) -> Complex:
        width = frequency / quality
        driven = frequency**2 - f**2 + 1j * f * width
        return np.asarray(1j * frequency * width / driven, dtype=np.complex128)

    return response


def floor_density(f: Float64) -> Float64:
    """Return the shape of a detector's floor: steep below 30 Hz, flat, slowly rising."""
    held = np.maximum(f, 8.0)
    return np.asarray(np.sqrt(1 + (25 / held) ** 8 + (held / 300) ** 2), dtype=np.float64)
