"""The result of a shard. Its size in memory is bounded for any span."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.spectra import CrossSpectra
from deepclean.core.time import NS, Span

STRETCH = 8
"""Seconds of a stretch, counted from GPS 0. Spectra are medians over a stretch."""

NOT_ASKED_FOR = "not_asked_for"
"""The reason of time that does not count because it lies between requested parts."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much is kept of a validation. It depends on the span alone.

    Args:
        cadence: seconds of a row of the time series, a power of two up to 512.
        stretches: one spectrum is kept of this many stretches.
        transforms: one transform is kept, for its distribution, of this many that do not overlap.
    """

    cadence: int = 1
    stretches: int = 1
    transforms: int = 1

    @classmethod
    def of(cls, span: Span) -> Sampling:
        """Return the sampling that bounds the memory. It keeps all of a span of up to two hours."""
        seconds = span.duration // NS
        cadence = 1
        while cadence < 512 and seconds / cadence > 8192:
            cadence *= 2
        most = 4096
        return cls(cadence, -(-seconds // (STRETCH * most)), -(-seconds // (2 * most)))


@dataclass(slots=True)
class CouplingResult:
    """The measurement of one coupling over a shard.

    Args:
        rows: time series by name, one value per row, NaN where there is none.
        cross_spectra: of the strain before and after and the witnesses, in and beside the band.
        quadratures: transforms in the band that do not overlap, raw and PRODUCTION.
        reasons: seconds by the reason why the strain is not fully cleaned.
        clean: seconds that count and have gain 1.
        versions: versions of the model.
    """

    rows: dict[str, Float64]
    cross_spectra: CrossSpectra
    quadratures: list[NDArray[np.complex64]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    clean: float = 0.0
    versions: set[int] = field(default_factory=set)


@dataclass(slots=True)
class ShardResult:
    """The measurement of a shard.

    Args:
        start: GPS seconds of the first row.
        counted: seconds that count, per row.
        couplings: the couplings by name.
        left_out: seconds that do not count, by reason.
        gaps: start and end in GPS seconds and the reason of time that does not count, in order.
        faults: seconds by witness and fault.
        clean: seconds that count and in which every coupling has gain 1.
        starts: GPS seconds of the stretches whose spectra are kept.
        spectra: the ASDs of these stretches, each of shape `(3, cells)`.
        ranges: GPS seconds and the range in Mpc of each product, every `MINUTE`.
        unread: what of the input this process could not read so far.
    """

    start: int
    counted: Float64
    couplings: dict[str, CouplingResult]
    left_out: Counter[str] = field(default_factory=Counter)
    gaps: list[tuple[int, int, str]] = field(default_factory=list)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    clean: float = 0.0
    starts: list[int] = field(default_factory=list)
    spectra: list[NDArray[np.float32]] = field(default_factory=list)
    ranges: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


def add_gap(gaps: list[tuple[int, int, str]], start: int, end: int, reason: str) -> None:
    """Append a gap to earlier gaps; a gap that continues the last one is joined to it."""
    if gaps and gaps[-1][1:] == (start, reason):
        start = gaps.pop()[0]
    gaps.append((start, end, reason))
