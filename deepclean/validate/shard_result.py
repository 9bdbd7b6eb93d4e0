"""What is kept of a shard, in memory that does not grow with the span."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span
from deepclean.validate.csd import SpectralMatrix

STRETCH = 8
"""Seconds of a stretch, counted from GPS 0: spectra are medians over one."""

NOT_ASKED_FOR = "not_asked_for"
"""Why time does not count that lies between what is asked for."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much is kept; a function of the span alone.

    Args:
        cadence: seconds of a row of the time series, a power of two up to 512.
        stretches: of so many stretches one spectrum is kept.
        transforms: of so many transforms that do not overlap one is kept for its distribution.
    """

    cadence: int = 1
    stretches: int = 1
    transforms: int = 1

    @classmethod
    def of(cls, span: Span) -> Sampling:
        """Return the sampling that bounds the memory: all of what is up to two hours long."""
        seconds = span.duration // NS
        cadence = 1
        while cadence < 512 and seconds / cadence > 8192:
            cadence *= 2
        most = 4096
        return cls(cadence, -(-seconds // (STRETCH * most)), -(-seconds // (2 * most)))


@dataclass(slots=True)
class CouplingResult:
    """One coupling over a stretch.

    Args:
        rows: time series by name, one value a row, NaN where there is none.
        cross: spectral matrix in and beside the band.
        quadratures: transforms in the band that do not overlap, raw and PRODUCTION.
        reasons: seconds by reason why it is not fully cleaned.
        clean: seconds at gain 1, of those that count.
        versions: of models.
    """

    rows: dict[str, Float64]
    cross: SpectralMatrix
    quadratures: list[NDArray[np.complex64]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    clean: float = 0.0
    versions: set[int] = field(default_factory=set)


@dataclass(slots=True)
class ShardResult:
    """What a shard was measured to be.

    Args:
        start: GPS seconds of the first row.
        counted: seconds that count, per row.
        left_out: seconds that do not, by reason.
        gaps: GPS seconds between which they lie, and the reason, in order.
        faults: seconds by witness and what is wrong with it.
        clean: seconds with every coupling at gain 1, of those that count.
        couplings: by name.
        starts: GPS seconds of the stretches whose spectra are kept.
        spectra: their ASDs, one of shape `(3, cells)` each.
        ranges: GPS seconds and the range in Mpc of each product, every `MINUTE`.
        unread: what of the input could not be read, by whoever measured it, so far.
    """

    start: int
    counted: Float64
    left_out: Counter[str]
    faults: Counter[tuple[str, str]]
    clean: float
    couplings: dict[str, CouplingResult]
    starts: list[int] = field(default_factory=list)
    spectra: list[NDArray[np.float32]] = field(default_factory=list)
    ranges: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    gaps: list[tuple[int, int, str]] = field(default_factory=list)


def add_gap(gaps: list[tuple[int, int, str]], start: int, end: int, reason: str) -> None:
    """Add a later gap to others, joined to the last where that goes on."""
    if gaps and gaps[-1][1:] == (start, reason):
        start = gaps.pop()[0]
    gaps.append((start, end, reason))
