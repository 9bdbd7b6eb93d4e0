"""Spectra of a stream as it is now: raw, cleaned and each estimate, averaged over half a minute.

A stretch of two seconds is transformed every few seconds (core.spectra.transform). Of each
transform a few hundred numbers are kept: the mean power in groups of neighbouring bins, over the
whole range of the strain and in finer groups around the bands of each coupling. A spectrum is the
median over the stretches, which a glitch does not move. It is for people to look at: no decision
rests on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band
from deepclean.core.spectra import LOWEST, SEGMENT, density, median_bias, transform
from deepclean.core.time import NS, Span

HELD = 8
"""The number of stretches over which a spectrum is averaged."""

_POINTS = 160
"""The largest number of points of a spectrum."""

_WIDTH = NS / SEGMENT
"""Hz from one bin of a transform to the next."""

_BESIDE = 10.0
"""Hz that are shown beside the bands of a coupling, at least; as much as the bands are wide."""


@dataclass(frozen=True, slots=True, eq=False)
class RecentStretch:
    """One stretch of `SEGMENT` nanoseconds, all at the strain's rate and in strain units.

    Args:
        span: the stretch's span of time.
        raw: the raw strain, shape `(n,)`.
        cleaned: the official product, shape `(n,)`.
        estimates: the noise of each coupling before its gain, shape `(n,)`, by coupling name.
    """

    span: Span
    raw: Float64
    cleaned: Float64
    estimates: Mapping[str, Float64]


class Spectrum(NamedTuple):
    """Amplitude spectral densities at a few frequencies, strain per root Hz.

    Args:
        frequencies: Hz, the middle of each group of bins, shape `(n,)`.
        raw: of the raw strain, shape `(n,)`.
        cleaned: of the official product, shape `(n,)`.
        estimate: of a coupling's estimate, shape `(n,)`; None for the whole range.
    """

    frequencies: Float64
    raw: Float64
    cleaned: Float64
    estimate: Float64 | None


class BinGroups:
    """Neighbouring bins of a transform, taken together.

    >>> groups = BinGroups(np.array([2, 3, 5]), stop=9)
    >>> groups.frequencies.tolist(), groups.means(np.arange(12.0)).tolist()
    ([1.0, 1.75, 3.25], [2.0, 3.5, 6.5])

    Args:
        starts: the first bin of each group, ascending.
        stop: the bin after the last of the last group.

    Attributes:
        stop: as given.
        frequencies: Hz, the middle of each group, shape `(n,)`.
    """

    def __init__(self, starts: NDArray[np.int64], stop: int) -> None:
        self.stop = stop
        self._starts, self._counts = starts, np.diff(starts, append=stop)
        self.frequencies = np.asarray((starts + (self._counts - 1) / 2) * _WIDTH)

    def means(self, values: Float64) -> Float64:
        """Return the mean of the values of each group's bins, shape `(n,)`.

        Args:
            values: one for each bin from 0 Hz to `stop` at least.
        """
        return np.asarray(np.add.reduceat(values[: self.stop], self._starts) / self._counts)


def around(bands: Sequence[Band], highest: float) -> BinGroups:
    """Return groups of equal width around a coupling's bands.

    >>> [float(f) for f in around([(55.0, 65.0)], 900.0).frequencies[[0, -1]]]
    [45.0, 75.0]

    Args:
        bands: `(low, high)` in Hz.
        highest: Hz above which there is nothing to see.
    """
    low, high = min(low for low, _ in bands), max(high for _, high in bands)
    beside = max(_BESIDE, high - low)
    first = max(floor((low - beside) / _WIDTH), 2)
    stop = max(min(ceil((high + beside) / _WIDTH), floor(highest / _WIDTH)) + 1, first + 1)
    together = ceil((stop - first) / _POINTS)
    return BinGroups(np.arange(first, stop, together), stop)


def whole_range(highest: float) -> BinGroups:
    """Return groups whose width grows with the frequency, from `LOWEST` to `highest` Hz."""
    first, stop = floor(LOWEST / _WIDTH), floor(highest / _WIDTH) + 1
    edges = np.geomspace(first, max(stop, first + 2), _POINTS)
    return BinGroups(np.unique(edges.astype(np.int64))[:-1], stop)


class RecentSpectra:
    """The spectra of the last stretches.

    Args:
        bands: of each coupling, Hz.
        rate: samples per second of the strain.
    """

    def __init__(self, bands: Mapping[str, Sequence[Band]], rate: int) -> None:
        # Above, there are the anti-aliasing filters of the strain.
        self._rate, self._highest = rate, 0.45 * rate
        self._whole = whole_range(self._highest)
        self._near = {name: around(one, self._highest) for name, one in bands.items()}
        self._held: deque[dict[str, Float64]] = deque(maxlen=HELD)
        self.end: int | None = None
        """The end of the last stretch, GPS nanoseconds; None before the first."""

    @property
    def count(self) -> int:
        """The number of stretches over which the spectra are averaged."""
        return len(self._held)

    def add(self, stretch: RecentStretch) -> None:
        """Add a stretch; one with samples that are not finite is left out."""
        powers = {}
        for what, samples in (("raw", stretch.raw), ("cleaned", stretch.cleaned)):
            power = self._power(samples, self._highest)
            powers[what] = self._whole.means(power)
            powers |= {f"{what} {n}": groups.means(power) for n, groups in self._near.items()}
        for name, groups in self._near.items():
            if name in stretch.estimates:
                power = self._power(stretch.estimates[name], groups.stop * _WIDTH)
                powers[f"estimate {name}"] = groups.means(power)
        if all(np.isfinite(power).all() for power in powers.values()):
            self._held.append(powers)
            self.end = stretch.span.end

    def whole(self) -> Spectrum:
        """Return the spectrum of the whole range of the strain; there is a stretch at least."""
        frequencies = self._whole.frequencies
        return Spectrum(frequencies, self._asd("raw"), self._asd("cleaned"), None)

    def near(self, coupling: str) -> Spectrum:
        """Return the spectrum around a coupling's bands; there is a stretch at least."""
        frequencies, estimate = self._near[coupling].frequencies, f"estimate {coupling}"
        return Spectrum(
            frequencies,
            self._asd(f"raw {coupling}"),
            self._asd(f"cleaned {coupling}"),
            self._asd(estimate) if any(estimate in one for one in self._held) else None,
        )

    def _power(self, samples: Float64, stop: float) -> Float64:
        """Return the power spectral density of a stretch up to `stop` Hz."""
        return density(transform(samples, self._rate, min(stop, self._rate / 2)), SEGMENT)

    def _asd(self, what: str) -> Float64:
        """Return the root of the median power over the stretches."""
        held = [one[what] for one in self._held if what in one]
        return np.asarray(np.sqrt(np.median(held, axis=0) / median_bias(len(held))))
