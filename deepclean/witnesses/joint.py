"""A set of witnesses: which candidates to take, one after the other, and what they leave together.

The cross-spectral matrix of strain and witnesses is swept, bin by bin, one witness at a time
(Gram-Schmidt: the columns of its Cholesky factor). After each sweep it is the matrix of what the
chosen witnesses do not explain. A witness that only repeats them has no power left in it. The next
choice is the witness that explains most of the rest. Bendat and Piersol, Random Data, chapter 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.spectra import Complex, CrossSpectra, power_ratio
from deepclean.errors import InputError
from deepclean.witnesses import significance
from deepclean.witnesses.coherence import LEAST, Ranking
from deepclean.witnesses.spectra import Candidate, SearchStretch

AMONG = 64
"""Number of the best single candidates from which the set is chosen. The matrix grows with its
square."""

PRESENT = 0.9
"""Share of the strain's transforms that a candidate must have. Gaps cost all candidates."""

_NOTHING = 1e-10
"""Share of a witness's power below which the rest of it is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class JointStep:
    """One more witness of a set.

    Args:
        candidate: the witness.
        partial: coherence of the rest of the strain and the rest of this witness, by bin.
        multiple: coherence of the strain with all witnesses so far, by bin.
        residual: the ASD ratio in the bands that all witnesses so far allow.
        p_value: probability that the best of as many unrelated channels has such a peak.
    """

    candidate: Candidate
    partial: Float64
    multiple: Float64
    residual: float
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """A set of witnesses.

    Args:
        steps: one for each witness, in the order of the choice.
        among: number of candidates from which they were chosen.
        transforms: number of transforms that all these candidates and the strain share.
    """

    steps: Sequence[JointStep]
    among: int
    transforms: int


def sweep(matrix: Complex, most: int) -> list[tuple[int, Float64, Float64]]:
    """Choose witnesses one by one.

    Args:
        matrix: cross spectra, shape `(bins, 1 + witnesses, 1 + witnesses)`, the strain first.
        most: largest number of witnesses.

    Returns:
        For each chosen witness its number, from 0, its partial coherence, and the multiple
        coherence of all so far, both by bin.
    """
    left = matrix.copy()
    power = np.diagonal(matrix, axis1=1, axis2=2).real
    free = list(range(1, left.shape[1]))
    chosen: list[tuple[int, Float64, Float64]] = []
    while free and len(chosen) < most:
        diagonal = np.diagonal(left, axis1=1, axis2=2).real
        known = np.where(diagonal > _NOTHING * power, diagonal, 0.0)
        # The share of the strain's power that each witness would take away, by bin.
        partial = _share(np.abs(left[:, 0, 1:]) ** 2, known[:, 1:] * known[:, :1])
        gain = _share(partial * known[:, :1], np.broadcast_to(power[:, :1], partial.shape))
        best = max(free, key=lambda witness: float(gain[:, witness - 1].mean()))
        pivot = known[:, best]
        inverse = np.divide(1.0, pivot, out=np.zeros_like(pivot), where=pivot > 0)
        left = left - left[:, :, best, None] * (left[:, None, best, :] * inverse[:, None, None])
        free.remove(best)
        remaining = _share(np.clip(left[:, 0, 0].real, 0, None), power[:, 0])
        chosen.append((best - 1, partial[:, best - 1], 1 - remaining))
    return chosen


def _share(part: Float64, whole: Float64) -> Float64:
    return np.nan_to_num(power_ratio(part, whole))


def choose(
    stretch: SearchStretch,
    ranking: Ranking,
    most: int,
    progress: Callable[[int], Any] | None = None,
) -> Joint:
    """Choose the witnesses that together explain most, until the next could be by chance.

    Args:
        stretch: the data, which are read once more.
        ranking: of all candidates.
        most: largest number of witnesses.
        progress: told the GPS nanoseconds up to which the data are read.

    Raises:
        InputError: the candidates have too little time in common.
    """
    present = PRESENT * ranking.transforms
    among = [one.candidate for one in ranking.sound if one.transforms >= present][:AMONG]
    spectra = cross_spectra(stretch, among, progress)
    count = spectra.count
    independent = significance.averages(count) if count else 0.0
    if count < LEAST or not among:
        raise InputError(
            f"{stretch.span}: {count} transforms of {stretch.length} s that the strain and the "
            f"{len(among)} best candidates have in common; {LEAST} are the least"
        )
    steps = []
    for position, (index, partial, multiple) in enumerate(sweep(spectra.matrix, most), start=1):
        free = independent - position
        if free < 2:
            break
        trials = partial.size * (len(among) - position + 1)
        p_value = significance.p_value(float(partial.max()), free + 1, trials)
        if p_value > significance.RARE:
            break
        residual = significance.residual(multiple, independent, position)
        steps.append(JointStep(among[index], partial, multiple, residual, p_value))
    return Joint(steps, len(among), count)


def cross_spectra(
    stretch: SearchStretch,
    candidates: Sequence[Candidate],
    progress: Callable[[int], Any] | None = None,
) -> CrossSpectra:
    """Return the cross spectra of the strain and the candidates, the strain first.

    They are summed over the transforms that all of them have: a sum over different transforms for
    different pairs would not be positive definite.
    """
    spectra = CrossSpectra.empty(1 + len(candidates), len(stretch.frequencies))
    carrier = next((one.carrier for one in candidates if one.carrier is not None), None)
    for piece in stretch.pieces(carrier):
        seen = dict(piece.spectra(candidates))
        common = np.ones(len(piece.starts), dtype=bool)
        for each in seen.values():
            common &= each.good
        rows = [seen[one].values[common[seen[one].good]] for one in candidates]
        spectra.add(np.stack([piece.strain[common], *rows], axis=-1))
        if progress is not None:
            progress(piece.starts[-1])
    return spectra
