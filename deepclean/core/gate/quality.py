"""How clean a stream is, as it goes: running spectra of the strain and of each estimate.

Every second the last 2 s of strain and of each estimate are transformed; as the transform is
linear, the cleaned strain's is their difference, for each coupling by itself. The spectra of the
last window are averaged by the median, which a glitch or a signal does not move (Allen et al.
2012, Phys. Rev. D 85, 122006, appendix B). Beside them goes a faster measure, every half
second over the last second, each bin in units of what the slow one found there.

Nothing here is summed up over time, so nothing drifts and the memory ends with the window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deepclean.core.bandpass import Band
from deepclean.core.block import Float64, Quality
from deepclean.core.time import NS

SEGMENT = 2 * NS
"""Length of a slow transform: half a hertz of resolution resolves a line's sidebands."""

STEP = NS
"""From one slow transform to the next: they overlap by half."""

FAST_SEGMENT = NS
"""Length of a fast transform."""

FAST_STEP = NS // 2
"""From one fast transform to the next: they overlap by half too."""

LOWEST = 10.0
"""Hz below which nothing is looked at."""

LOUD = 4.0
"""Times its usual power from which on a bin of the raw strain holds a signal."""

LEAST = 2.6
"""Mean of the usual density over the lowest of sixteen medians of seven, a second apart."""

_HANN_POWER = 3 / 8
"""Mean square of the Hann window."""

Complex = NDArray[np.complex128]


def transform(samples: Float64, rate: int, stop: float) -> Complex:
    """Return the Fourier transform of Hann-windowed samples, up to `stop` Hz, in units per Hz.

    Streams of different rates that hold the same signal have the same transform.
    """
    count = len(samples)
    bins = int(stop * count / rate) + 1
    return np.asarray(fft.rfft(samples * _hann(count))[:bins] / rate)


@lru_cache(maxsize=8)
def _hann(count: int) -> Float64:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count))


def density(spectrum: Complex, duration: int) -> Float64:
    """Return the power spectral density of one transform over `duration` nanoseconds."""
    return np.abs(spectrum) ** 2 * (2 * NS / (duration * _HANN_POWER))


def median_bias(count: int) -> float:
    """Return the median over the mean of `count` exponentially distributed numbers (Allen 2012)."""
    odd = count if count % 2 else count - 1
    return 1.0 + sum(1.0 / (2 * i + 1) - 1.0 / (2 * i) for i in range(1, (odd - 1) // 2 + 1))


@dataclass(frozen=True, slots=True, eq=False)
class StrainLevel:
    """What the strain holds of a coupling's band, at the slow transform's bins there.

    Args:
        usual: power spectral density of the raw strain.
        floor: that of the cleaned strain, or of the raw one where that is lower.
        rms: root mean square of the raw strain in the band.
    """

    usual: Float64
    floor: Float64
    rms: float


class Bins:
    """Which bins of a transform belong to a coupling's bands, its guard bands, and neither.

    Args:
        bands: `(low, high)` in Hz; a bin on an edge counts.
        guard: Hz beside each band.
        stop: Hz of the highest bin.
        duration: nanoseconds of the transform.
    """

    def __init__(self, bands: Sequence[Band], guard: float, stop: float, duration: int) -> None:
        width = NS / duration
        frequencies = np.arange(int(stop / width) + 1) * width
        inside = _within(frequencies, bands, width / 2, 0.0)
        near = _within(frequencies, bands, width / 2, guard)
        looked_at = frequencies >= LOWEST
        self.inside = np.flatnonzero(inside)
        self.guard = np.flatnonzero(near & ~inside & looked_at)
        self.outside = np.flatnonzero(~near & looked_at)
        self.width = width


def _within(
    frequencies: NDArray[np.floating[Any]], bands: Sequence[Band], least: float, beside: float
) -> NDArray[np.bool_]:
    """Return which frequencies lie in any band; a band narrower than a bin has that bin."""
    found = np.zeros(len(frequencies), dtype=bool)
    for low, high in bands:
        half = max((high - low) / 2, least) + beside
        found |= np.abs(frequencies - (low + high) / 2) <= half
    return found


class _Densities(NamedTuple):
    """Power spectral densities over one segment, of the raw and of the cleaned strain."""

    start: int
    before: Float64
    """In the band and beside it."""
    after: Float64
    outside_before: Float64
    outside_after: Float64


class RunningSpectra:
    """The slow transforms of the last window: of the strain, and of one coupling's estimate.

    Args:
        bins: of the coupling.
        duration: nanoseconds of the window, whole seconds.
    """

    def __init__(self, bins: Bins, duration: int) -> None:
        self._bins = bins
        self._duration = duration
        self._near = np.concatenate([bins.inside, bins.guard])
        self._densities: deque[_Densities] = deque()

    def copy(self) -> RunningSpectra:
        """Return an independent copy; the densities are shared, for nobody changes them."""
        twin = RunningSpectra(self._bins, self._duration)
        twin._densities = self._densities.copy()
        return twin

    def clear(self) -> None:
        """Forget all transforms."""
        self._densities.clear()

    def drop_before(self, instant: int) -> None:
        """Forget the transforms that begin before the window that ends at `instant`."""
        while self._densities and self._densities[0].start < instant - self._duration:
            self._densities.popleft()

    def add(self, start: int, raw: Complex, estimate: Complex) -> None:
        """Add a transform of the strain and of the estimate, both from `start` (GPS ns)."""
        before, after = density(raw, SEGMENT), density(raw - estimate, SEGMENT)
        near, outside = self._near, self._bins.outside
        self._densities.append(
            _Densities(start, before[near], after[near], before[outside], after[outside])
        )

    @property
    def full(self) -> bool:
        """Whether there are all transforms that it can hold."""
        return len(self._densities) == (self._duration - SEGMENT) // STEP + 1

    @property
    def enough(self) -> bool:
        """Whether it is filled by more than half."""
        return 2 * len(self._densities) > (self._duration - SEGMENT) // STEP + 1

    @np.errstate(divide="ignore", invalid="ignore", over="ignore")
    def measure(self) -> tuple[Quality, StrainLevel]:
        """Return what the transforms say together; there is at least one."""
        bins, held = self._bins, self._densities
        lower = np.median([one.before for one in held], axis=0)
        upper = np.median([one.after for one in held], axis=0)
        ratio = np.sqrt(upper / lower)
        inside = len(bins.inside)
        means = np.sqrt(
            np.sum([one.after for one in held], axis=0)
            / np.sum([one.before for one in held], axis=0)
        )
        outside = sum(one.outside_after for one in held) / sum(one.outside_before for one in held)
        bias = median_bias(len(held))
        quality = Quality(
            in_band=float(ratio[:inside].mean()),
            # What few bins do, the median of few transforms shows by chance too; their mean less.
            worst=float(np.minimum(ratio, means)[:inside].max()),
            guard=float(np.minimum(ratio[inside:].mean(), means[inside:].mean()))
            if inside < len(ratio)
            else 1.0,
            outside=float(np.sqrt(np.mean(outside))) if len(bins.outside) else 1.0,
        )
        usual, floor = lower[:inside] / bias, np.minimum(upper, lower)[:inside] / bias
        return quality, StrainLevel(usual, floor, float(np.sqrt(usual.sum() * bins.width)))


@dataclass(frozen=True, slots=True, eq=False)
class BandPower:
    """Powers in a coupling's band over the last second, in two kinds of unit.

    First each bin in units of its usual power: so it counts as in the mean of the ratio of two
    amplitude spectral densities. Second in units of the floor: so a line counts as it stands out.

    Args:
        raw: of the strain, shape `(2,)`.
        clean: of the strain less the estimate.
        power: of the estimate: what cleaning gains where the estimate is right.
        variance: of `clean - raw`, by chance.
        excess: the mean over the bins of what cleaning adds to the amplitude, in units of the
            usual one.
        worst: the highest bin of the cleaned strain, in units of the raw one's now and usually and
            of the estimate's highest before.
        noise: the estimate's density in each bin.
    """

    raw: Float64
    clean: Float64
    power: Float64
    variance: Float64
    excess: float
    worst: float
    noise: Float64


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def band_power(
    raw: Complex,
    estimate: Complex,
    bins: Bins,
    slow: Bins,
    level: StrainLevel,
    highest: Float64 | float = 0.0,
) -> BandPower:
    """Return the powers of one fast transform.

    With `r` the raw strain and `n` the estimate, cleaning changes the power by
    `|n|^2 - 2 Re(r n*)`. What of `r` is no multiple of `n` is there by chance and gives that a
    variance of `2 |n|^2 m`: `m` is its power now; not below the floor, which is the lowest of
    late and so counts `LEAST` times, nor what stands above the usual power. So a signal makes
    uncertain what is measured, and does not make an estimate look wrong. Signals are wide, an
    estimate is where its lines are: no bin counts as quieter than the median of all.

    Args:
        raw: of the strain.
        estimate: of the coupling's estimate.
        bins: the coupling's, of the fast transform.
        slow: the coupling's, of the slow transform.
        level: of the strain.
        highest: density of the estimate in each bin, the highest of late.
    """
    usual, floor = (
        np.interp(bins.inside * bins.width, slow.inside * slow.width, one)
        for one in (level.usual, level.floor)
    )
    r, n = raw[bins.inside], estimate[bins.inside]
    before, after, noise = (density(x, FAST_SEGMENT) for x in (r, r - n, n))
    weighted = n.conj() / floor
    product, power = (r * weighted).sum(), (n * weighted).sum().real
    rest = density(r - (product / power if power > 0 else 0.0) * n, FAST_SEGMENT)
    # A line is wider in a fast transform than in a slow one: a quarter is one bin away.
    beside = np.pad(usual, 1) / 4
    wide = np.maximum(usual, np.maximum(beside[:-2], beside[2:]))
    rest = np.maximum(np.minimum(rest, before), before - LOUD * wide) / floor
    rest = np.maximum(rest, max(LEAST, float(np.median(rest)) / math.log(2))) * floor
    units = np.stack([usual, floor])
    return BandPower(
        (before / units).sum(axis=1),
        (after / units).sum(axis=1),
        (noise / units).sum(axis=1),
        (2 * noise * rest / units**2).sum(axis=1),
        float(((np.sqrt(after) - np.sqrt(before)) / np.sqrt(usual)).mean()),
        float((after / (before + np.maximum(usual, highest))).max()),
        noise,
    )
