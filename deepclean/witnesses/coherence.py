"""Candidates one by one: each one's coherence with the strain over the bands.

    C(f) = |<X* Y>|^2 / (<|X|^2> <|Y|^2>)

with the averages over Hann-windowed transforms. What one witness explains linearly is this share
of the strain's power; the rest, 1 - C, is what subtracting it would leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.spectra import Complex
from deepclean.errors import InputError
from deepclean.witnesses import significance
from deepclean.witnesses.spectra import Candidate, CandidateSpectra, SearchStretch

LEAST = 8
"""Transforms below which nothing is said of a channel."""


@dataclass(frozen=True, slots=True, eq=False)
class RankedChannel:
    """What coherence says of a candidate.

    Args:
        candidate: what it is.
        fault: why nothing can be said; None where something can: `constant`, `too_slow` for the
            bands, or `too_little` data.
        transforms: that were averaged.
        coherence: with the strain, by bin; zeros where there is a fault.
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
    def chance(self) -> float:
        """How probably an unrelated channel has such a peak."""
        independent = significance.averages(self.transforms)
        return significance.probability(self.peak, independent, len(self.coherence))

    @property
    def residual(self) -> float:
        """The ASD ratio in the bands that this witness alone allows."""
        return significance.residual(self.coherence, significance.averages(self.transforms))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """All candidates, the most coherent first, those with a fault last.

    Args:
        transforms: of the strain.
        ranked: candidates.
    """

    transforms: int
    ranked: Sequence[RankedChannel]

    @property
    def averages(self) -> float:
        """Independent averages where nothing is missing."""
        return significance.averages(self.transforms)


class Sums:
    """The averages of one candidate and the strain, not yet divided.

    Args:
        bins: how many.
    """

    def __init__(self, bins: int) -> None:
        self.count = 0
        self.low, self.high = np.inf, -np.inf
        self._witness, self._strain = np.zeros(bins), np.zeros(bins)
        self._cross = np.zeros(bins, dtype=np.complex128)

    def add(self, seen: CandidateSpectra, strain: Complex) -> None:
        """Add a piece's transforms."""
        of_strain = strain[seen.good]
        self.count += len(of_strain)
        self.low, self.high = min(self.low, seen.low), max(self.high, seen.high)
        self._witness += (np.abs(seen.values) ** 2).sum(axis=0)
        self._strain += (np.abs(of_strain) ** 2).sum(axis=0)
        self._cross += (seen.values.conj() * of_strain).sum(axis=0)

    def coherence(self) -> Float64:
        """Return the coherence by bin; 0 where there is no power."""
        return share(np.abs(self._cross) ** 2, self._witness * self._strain)


def share(part: Float64, whole: Float64) -> Float64:
    """Return `part / whole`, 0 where the whole is 0 and never, by rounding, above 1."""
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.minimum(ratio, 1.0)


def rank(
    stretch: SearchStretch,
    candidates: Sequence[Candidate],
    progress: Callable[[int], Any] | None = None,
) -> Ranking:
    """Rank candidates by their mean coherence with the strain over the bands.

    Args:
        stretch: the data.
        candidates: products all of one carrier.
        progress: told how far it is, GPS nanoseconds.

    Raises:
        InputError: there are too few transforms of the strain, or of it and any candidate.
    """
    slow = [one for one in candidates if one.carrier is None and one.rate <= stretch.slowest]
    fit = sorted(set(candidates) - set(slow), key=lambda one: (one.channel, one.name))
    bins = len(stretch.frequencies)
    sums = {one: Sums(bins) for one in fit}
    carrier = next((one.carrier for one in fit if one.carrier is not None), None)
    count = 0
    for piece in stretch.pieces(carrier):
        count += len(piece.starts)
        for one, seen in piece.seen(fit):
            sums[one].add(seen, piece.strain)
        if progress is not None:
            progress(piece.starts[-1])
    if count < LEAST:
        skipped = "".join(f", {reason} {n} s" for reason, n in stretch.skipped.items())
        raise InputError(
            f"{stretch.span}: only {count} transforms of {stretch.length} s of the strain, "
            f"{LEAST} are the least{skipped}"
        )
    ranked = [_ranked(one, sums[one]) for one in fit]
    if fit and all(one.fault == "too_little" for one in ranked):
        raise InputError(
            f"{stretch.span}: no candidate has {LEAST} transforms of {stretch.length} s in common "
            "with the strain"
        )
    ranked += [RankedChannel(one, "too_slow", 0, np.zeros(bins)) for one in slow]
    return Ranking(count, sorted(ranked, key=_order))


def _ranked(one: Candidate, sums: Sums) -> RankedChannel:
    fault = None
    if sums.count < LEAST:
        fault = "too_little"
    elif sums.low == sums.high:
        fault = "constant"
    coherence = sums.coherence() if fault is None else np.zeros_like(sums.coherence())
    return RankedChannel(one, fault, sums.count, coherence)


def _order(one: RankedChannel) -> tuple[bool, float, str]:
    return one.fault is not None, -one.mean, one.candidate.name
