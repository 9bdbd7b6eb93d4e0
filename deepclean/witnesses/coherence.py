"""The coherence of each candidate with the strain over the bands.

    C(f) = |<X* Y>|^2 / (<|X|^2> <|Y|^2>)

The averages are over Hann-windowed transforms. C is the share of the strain's power that one
witness explains linearly; subtracting it would leave the rest, 1 - C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.spectra import Complex, CrossSpectra
from deepclean.errors import InputError
from deepclean.witnesses import significance
from deepclean.witnesses.spectra import Candidate, CandidateSpectra, SearchStretch

LEAST = 8
"""Smallest number of transforms from which a channel is ranked."""


@dataclass(frozen=True, slots=True, eq=False)
class RankedChannel:
    """The coherence of a candidate with the strain.

    Args:
        candidate: the candidate.
        fault: why it cannot be ranked: `constant`, `too_slow` for the bands, or `too_little` data;
            None if it can.
        transforms: number of averaged transforms.
        coherence: with the strain, by bin; zeros if there is a fault.
    """

    candidate: Candidate
    fault: str | None
    transforms: int
    coherence: Float64

    @property
    def mean(self) -> float:
        """Mean coherence over the bands' bins."""
        return float(self.coherence.mean())

    @property
    def peak(self) -> float:
        """Highest coherence of a bin."""
        return float(self.coherence.max())

    @property
    def p_value(self) -> float:
        """Probability that an unrelated channel has such a peak."""
        independent = significance.averages(self.transforms)
        return significance.p_value(self.peak, independent, len(self.coherence))

    @property
    def residual(self) -> float:
        """The ASD ratio in the bands that this witness alone allows."""
        return significance.residual(self.coherence, significance.averages(self.transforms))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """All candidates, the most coherent first, those with a fault last.

    Args:
        transforms: number of transforms of the strain.
        ranked: the candidates.
    """

    transforms: int
    ranked: Sequence[RankedChannel]

    @property
    def averages(self) -> float:
        """Independent averages of a candidate without gaps."""
        return significance.averages(self.transforms)

    @property
    def sound(self) -> list[RankedChannel]:
        """The candidates without a fault."""
        return [one for one in self.ranked if one.fault is None]


class _Sums:
    """The cross spectra and the extremes of the strain and one candidate."""

    def __init__(self, bins: int) -> None:
        self.cross_spectra = CrossSpectra.empty(2, bins)
        self.low, self.high = np.inf, -np.inf

    def add(self, spectra: CandidateSpectra, strain: Complex) -> None:
        """Add the transforms of a piece."""
        self.cross_spectra.add(np.stack([strain[spectra.good], spectra.values], axis=-1))
        self.low, self.high = min(self.low, spectra.low), max(self.high, spectra.high)

    def ranked(self, candidate: Candidate) -> RankedChannel:
        """Return the coherence, 0 where there is no power."""
        fault, count = None, self.cross_spectra.count
        if count < LEAST:
            fault = "too_little"
        elif self.low == self.high:
            fault = "constant"
        coherence = np.nan_to_num(self.cross_spectra.coherence(0)[1])
        return RankedChannel(candidate, fault, count, coherence * (fault is None))


def rank(
    stretch: SearchStretch,
    candidates: Sequence[Candidate],
    progress: Callable[[int], Any] | None = None,
) -> Ranking:
    """Rank candidates by their mean coherence with the strain over the bands.

    Args:
        stretch: the data.
        candidates: the candidates; all products have the same carrier.
        progress: told the GPS nanoseconds up to which the data are read.

    Raises:
        InputError: there are too few transforms of the strain, or none of any candidate with it.
    """
    slow = [one for one in candidates if one.carrier is None and one.rate <= stretch.slowest]
    fit = sorted(set(candidates) - set(slow), key=lambda one: (one.channel, one.name))
    bins = len(stretch.frequencies)
    sums = {one: _Sums(bins) for one in fit}
    carrier = next((one.carrier for one in fit if one.carrier is not None), None)
    count = 0
    for piece in stretch.pieces(carrier):
        count += len(piece.starts)
        for one, spectra in piece.spectra(fit):
            sums[one].add(spectra, piece.strain)
        if progress is not None:
            progress(piece.starts[-1])
    if count < LEAST:
        skipped = "".join(f", {reason} {n} s" for reason, n in stretch.skipped.items())
        raise InputError(
            f"{stretch.span}: only {count} transforms of {stretch.length} s of the strain, "
            f"{LEAST} are the least{skipped}"
        )
    ranked = [sums[one].ranked(one) for one in fit]
    if fit and all(one.fault == "too_little" for one in ranked):
        raise InputError(
            f"{stretch.span}: no candidate has {LEAST} transforms of {stretch.length} s in common "
            "with the strain"
        )
    ranked += [RankedChannel(one, "too_slow", 0, np.zeros(bins)) for one in slow]
    ranked.sort(key=lambda one: (one.fault is not None, -one.mean, one.candidate.name))
    return Ranking(count, ranked)
