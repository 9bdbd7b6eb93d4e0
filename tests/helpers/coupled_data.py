"""Small data with a known coupling: a carrier, slow motions that multiply it, and a floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from deepclean.core.block import Float64

RATE = 512
BAND = (24.0, 34.0)
CENTRE = 29.0
TRANSITION = 6.0


def passed(frequencies: Float64) -> Float64:
    """Return a response of 1 in the band that falls linearly over the transition."""
    beside = np.maximum(BAND[0] - frequencies, frequencies - BAND[1])
    return np.asarray(np.clip(1 - beside / TRANSITION, 0, 1))


@dataclass(frozen=True)
class Coupled:
    """Witnesses, `(channels, n)`, strain and the noise in it, both `(n,)`."""

    witnesses: Float64
    strain: Float64
    noise: Float64


def low(rng: np.random.Generator, count: int, cutoff: float) -> Float64:
    """Return noise of unit variance below a frequency in Hz."""
    taps = signal.firwin(2 * RATE + 1, cutoff, fs=RATE)
    samples = signal.fftconvolve(rng.standard_normal(count + 2 * RATE), taps, mode="valid")
    return np.asarray(samples / samples.std())


def coupled(seconds: int, seed: int, *, floor: float = 1.0, idle: int = 0) -> Coupled:
    """Return a line with the sidebands of two motions, its witness and theirs.

    The line is 12 samples late in the strain. The floor is white, of unit density per root Hz
    times `floor`; `idle` more witnesses see nothing of it.
    """
    rng = np.random.default_rng(seed)
    count = seconds * RATE
    time = np.arange(count + 12) / RATE
    phase = 2 * np.pi * CENTRE * time + 0.3 * np.cumsum(low(rng, count + 12, 1.0)) / RATE
    carrier = np.cos(phase)
    motions = [low(rng, count, 2.0) for _ in range(2)]
    late = carrier[:count]
    noise = 6 * late + 4 * late * motions[0] + 2 * np.sin(phase[:count]) * motions[1]
    others = [low(rng, count, 40.0) for _ in range(idle)]
    white = np.sqrt(RATE / 2) * rng.standard_normal(count)
    witnesses = np.stack([carrier[12:], *motions, *others])
    return Coupled(witnesses, floor * white + noise, noise)


def sidebands(seconds: int, seed: int, motions: int = 20) -> Coupled:
    """Return a line with the sidebands of many motions, each with an amplitude and a phase.

    The coupling is the same for every seed. The floor is white, of unit density per root Hz.
    """
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    count = seconds * RATE
    phase = 2 * np.pi * CENTRE * np.arange(count) / RATE
    phase += 0.3 * np.cumsum(low(rng, count, 1.0)) / RATE
    moving = np.stack([low(rng, count, 2.0) for _ in range(motions)])
    amplitudes = fixed.uniform(1.0, 2.0, motions) * np.exp(2j * np.pi * fixed.uniform(size=motions))
    noise = ((6 + amplitudes @ moving) * np.exp(1j * phase)).real
    white = np.sqrt(RATE / 2) * rng.standard_normal(count)
    return Coupled(np.stack([np.cos(phase), *moving]), white + noise, noise)


def in_band_ratio(left: Float64, floor: Float64) -> float:
    """Return the mean over the band's bins of the ratio of two ASDs."""
    frequencies, upper = signal.welch(left, RATE, nperseg=2 * RATE)
    _, lower = signal.welch(floor, RATE, nperseg=2 * RATE)
    inside = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    return float(np.mean(np.sqrt(upper[inside] / lower[inside])))
