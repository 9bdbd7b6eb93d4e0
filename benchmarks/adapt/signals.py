"""Signals and glitches."""

from __future__ import annotations

import numpy as np

from benchmarks.adapt.sites import times
from deepclean.core.block import Float64

SUN = 4.925491e-6
"""Solar mass in seconds."""


def sine_gaussian(seconds: int, at: float, frequency: float, quality: float) -> Float64:
    """Return a sine-Gaussian."""
    time = times(seconds) - at
    width = quality / (2 * np.pi * frequency)
    return np.asarray(np.exp(-((time / width) ** 2)) * np.cos(2 * np.pi * frequency * time + 0.3))


def chirp(seconds: int, at: float, mass: float) -> Float64:
    """Return a merger's Newtonian chirp from 20 to 250 Hz, of a chirp mass in solar masses."""
    before = at - times(seconds)
    time = np.maximum(before, 1e-4)
    scale = mass * SUN
    frequency = (5 / (256 * time)) ** 0.375 * scale**-0.625 / np.pi
    wave = time**-0.25 * np.cos(2 * (time / (5 * scale)) ** 0.625)
    return np.where((before > 0) & (frequency > 20) & (frequency < 250), wave, 0.0)


def continuous(seconds: int, frequency: float, height: float) -> Float64:
    """Return a continuous wave."""
    return height * np.cos(2 * np.pi * frequency * times(seconds))
