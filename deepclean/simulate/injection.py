"""Compact-binary signals added to the strain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.time import NS
from deepclean.errors import ConfigError
from deepclean.simulate.noise import Stream

_MARGIN = 64
"""Zeros on each side of the waveform, into which the sub-sample shift spreads."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A compact binary of which the detector sees the plus polarisation only.

    Args:
        coalescence: GPS nanoseconds.
        mass1: solar masses, detector frame.
        mass2: solar masses, detector frame.
        distance: luminosity distance in Mpc.
        spin1z: dimensionless spin along the orbital angular momentum.
        spin2z: dimensionless spin along the orbital angular momentum.
        inclination: radians.
        lowest: frequency in Hz at which the waveform starts.
        approximant: name in lalsimulation.

    Raises:
        ConfigError: a parameter is out of range.
    """

    coalescence: int
    mass1: float = 36.0
    mass2: float = 29.0
    distance: float = 410.0
    spin1z: float = 0.0
    spin2z: float = 0.0
    inclination: float = 0.0
    lowest: float = 20.0
    approximant: str = "IMRPhenomD"

    def __post_init__(self) -> None:
        # lalsimulation crashes with some values outside these ranges.
        for name in ("mass1", "mass2", "distance", "lowest"):
            if not 0 < getattr(self, name) < inf:
                raise ConfigError(f"injection: {name} must be positive, not {getattr(self, name)}")
        for name in ("spin1z", "spin2z"):
            if not abs(getattr(self, name)) <= 1:
                raise ConfigError(
                    f"injection: {name} must be in [-1, 1], not {getattr(self, name)}"
                )


def injected(injections: tuple[Injection, ...], rate: int) -> Stream:
    """Return the sum of the signals at `rate` Hz. A waveform is computed at its first use."""
    made = lru_cache(maxsize=None)(lambda injection: waveform(injection, rate))

    def make(second: int) -> Float64:
        total = np.zeros(rate)
        for injection in injections:
            first, samples = made(injection)
            offset = second * rate - first
            part = samples[max(offset, 0) : max(offset + rate, 0)]
            place = max(-offset, 0)
            total[place : place + part.size] += part
        return total

    return make


def waveform(injection: Injection, rate: int) -> tuple[int, Float64]:
    """Return the signal in the detector, conditioned to start and end at zero.

    It is the time-domain waveform of lalsimulation (`SimInspiralTD`), shifted to its coalescence
    time to the nanosecond by a phase in the frequency domain.

    Returns:
        The index from GPS 0 of the first sample, and the strain.

    Raises:
        ConfigError: lalsimulation refuses the parameters.
    """
    epoch, plus = _plus_polarisation(injection, rate)
    first, beyond = divmod((injection.coalescence + epoch) * rate, NS)
    padded = np.pad(plus, _MARGIN)
    frequency = np.fft.rfftfreq(padded.size)
    shift = np.exp(-2j * np.pi * frequency * (beyond / NS))
    return first - _MARGIN, np.fft.irfft(np.fft.rfft(padded) * shift, padded.size)


def _plus_polarisation(injection: Injection, rate: int) -> tuple[int, Float64]:
    """Return the start in nanoseconds relative to coalescence, and the samples."""
    import lal
    import lalsimulation

    approximant = getattr(lalsimulation, injection.approximant, None)
    if not isinstance(approximant, int):
        raise ConfigError(f"injection: lalsimulation has no approximant {injection.approximant}")
    try:
        plus, _ = lalsimulation.SimInspiralTD(
            injection.mass1 * lal.MSUN_SI,
            injection.mass2 * lal.MSUN_SI,
            *(0.0, 0.0, injection.spin1z),
            *(0.0, 0.0, injection.spin2z),
            injection.distance * 1e6 * lal.PC_SI,
            injection.inclination,
            *(0.0, 0.0, 0.0, 0.0),  # phase, ascending node, eccentricity, mean anomaly
            1 / rate,
            injection.lowest,
            injection.lowest,
            None,
            approximant,
        )
    except RuntimeError as error:
        raise ConfigError(f"no waveform for {injection}: {error}") from error
    return plus.epoch.ns(), np.array(plus.data.data)
