"""Candidates together: which of them to take, one after the other, and what that leaves.

The cross-spectral matrix of strain and witnesses is swept, bin by bin, one witness at a time
(Gram-Schmidt: the columns of its Cholesky factor). After each sweep it is that of what the taken
witnesses do not explain: a witness that only repeats them has no power left in it. The next is
the one that explains most of the rest. Bendat and Piersol, Random Data, chapter 7.
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
from deepclean.witnesses.coherence import LEAST, Ranking, share
from deepclean.witnesses.spectra import Candidate, SearchStretch

AMONG = 64
"""The best by themselves, from which the set is taken: the matrix grows with their square."""

PRESENT = 0.9
"""Share of the strain's transforms that a channel must have, or it costs the others too many."""

_NOTHING = 1e-10
"""Share of a witness's power below which what is left of it is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One more witness.

    Args:
        candidate: which.
        partial: coherence of what the earlier ones leave of the strain and of this one, by bin.
        multiple: coherence of the strain with all so far, by bin.
        residual: the ASD ratio in the bands that all so far allow.
        chance: how probably the best of as many unrelated channels as were left has such a peak.
    """

    candidate: Candidate
    partial: Float64
    multiple: Float64
    residual: float
    chance: float


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """A set of witnesses.

    Args:
        steps: one a witness, in the order in which they were taken.
        among: how many they were taken from.
        transforms: that all of those have in common with the strain.
    """

    steps: Sequence[Step]
    among: int
    transforms: int


def sweep(matrix: Complex, most: int) -> list[tuple[int, Float64, Float64]]:
    """Take witnesses one by one.

    Args:
        matrix: cross spectra, shape `(bins, 1 + witnesses, 1 + witnesses)`, the strain first.
        most: how many to take at most.

    Returns:
        The number of each witness, from 0, its partial coherence, and the multiple coherence of
        all so far, both by bin.
    """
    left = matrix.copy()
    power = np.diagonal(matrix, axis1=1, axis2=2).real
    open_ = list(range(1, left.shape[1]))
    taken: list[tuple[int, Float64, Float64]] = []
    while open_ and len(taken) < most:
        diagonal = np.diagonal(left, axis1=1, axis2=2).real
        known = np.where(diagonal > _NOTHING * power, diagonal, 0.0)
        # The strain's power that each would take away, by bin.
        partial = share(np.abs(left[:, 0, 1:]) ** 2, known[:, 1:] * known[:, :1])
        gain = share(partial * known[:, :1], np.broadcast_to(power[:, :1], partial.shape))
        best = max(open_, key=lambda witness: float(gain[:, witness - 1].mean()))
        pivot = known[:, best]
        inverse = np.divide(1.0, pivot, out=np.zeros_like(pivot), where=pivot > 0)
        left = left - left[:, :, best, None] * (left[:, None, best, :] * inverse[:, None, None])
        open_.remove(best)
        remaining = share(np.clip(left[:, 0, 0].real, 0, None), power[:, 0])
        taken.append((best - 1, partial[:, best - 1], 1 - remaining))
    return taken


def choose(
    stretch: SearchStretch,
    ranking: Ranking,
    most: int,
    progress: Callable[[int], Any] | None = None,
) -> Joint:
    """Choose witnesses that together explain most, and end where the next would be chance.

    Args:
        stretch: the data; it is read once more.
        ranking: of all candidates.
        most: how many to take at most.
        progress: told how far it is, GPS nanoseconds.

    Raises:
        InputError: the candidates have too little time in common.
    """
    whole = ranking.transforms
    sound = [one for one in ranking.ranked if one.fault is None]
    among = [o.candidate for o in sound if o.transforms >= PRESENT * whole][:AMONG]
    matrix, count = cross_spectra(stretch, among, progress)
    independent = significance.averages(count) if count else 0.0
    if count < LEAST or not among:
        raise InputError(
            f"{stretch.span}: {count} transforms of {stretch.length} s that the strain and the "
            f"{len(among)} best candidates have in common; {LEAST} are the least"
        )
    steps = []
    for position, (index, partial, multiple) in enumerate(sweep(matrix, most), start=1):
        free = independent - position
        if free < 2:
            break
        trials = partial.size * (len(among) - position + 1)
        likely = significance.probability(float(partial.max()), free + 1, trials)
        if likely > significance.RARE:
            break
        residual = significance.residual(multiple, independent, position)
        steps.append(Step(among[index], partial, multiple, residual, likely))
    return Joint(steps, len(among), count)


def cross_spectra(
    stretch: SearchStretch,
    candidates: Sequence[Candidate],
    progress: Callable[[int], Any] | None = None,
) -> tuple[Complex, int]:
    """Return the cross spectra of strain and candidates, and of how many transforms they are.

    Only transforms that all have are used; else the matrix would be that of no streams at all.
    """
    size = 1 + len(candidates)
    matrix = np.zeros((len(stretch.frequencies), size, size), dtype=np.complex128)
    carrier = next((one.carrier for one in candidates if one.carrier is not None), None)
    count = 0
    for piece in stretch.pieces(carrier):
        seen = dict(piece.seen(candidates))
        common = np.all(
            [np.ones(len(piece.starts), bool), *(s.good for s in seen.values())], axis=0
        )
        rows = [seen[one].values[common[seen[one].good]] for one in candidates]
        stacked = np.stack([piece.strain[common], *rows], axis=-1)
        matrix += np.einsum("tfi,tfj->fij", stacked.conj(), stacked)
        count += int(common.sum())
        if progress is not None:
            progress(piece.starts[-1])
    return matrix, count
