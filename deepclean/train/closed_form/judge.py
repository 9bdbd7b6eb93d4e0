"""What a fit is worth on data that it has not seen: cross-validation, paired by segment.

The segments are cut into consecutive blocks. Each block is judged by the coefficients that the
statistics of all the others give: those of the whole less the block's own, so nothing is read
again. The figure of merit of a segment is its log-likelihood, the residual being Gaussian with the
spectrum that the other blocks have:

    l_s = - 1/2 sum_f B^2 (|R|^2 / S + log S),

the half because overlapping segments count each instant twice. Two fits are compared by the
differences of their segments, whose scatter is far less than that of either.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.train.closed_form.fitting import Fit, Fitter, predicted
from deepclean.train.closed_form.solve import resolve, unbiased
from deepclean.train.closed_form.statistics import measure
from deepclean.train.closed_form.streams import Complex

FOLDS = 5
"""Blocks of the cross-validation."""

_BLOCK = 16
"""Segments of a block of the jackknife."""

_TOGETHER = 4
"""Neighbouring segments whose differences are added before their scatter is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScore:
    """A fit's performance on held-out data.

    Args:
        likelihood: log-likelihood of each segment, `(segments,)`.
        power: weighted residual power of each block of segments, `(blocks, bins)`.
        weights: of the segments.
    """

    likelihood: Float64
    power: Float64
    weights: Float64


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more likely one fit makes the data than another.

    Args:
        mean: sum over the segments of the differences of log-likelihood.
        error: its standard error.
    """

    mean: float
    error: float

    @property
    def significance(self) -> float:
        """The gain in standard errors."""
        return self.mean / self.error if self.error > 0 else 0.0


def hold_out(
    fitter: Fitter, fit: Fit, *, folds: int = FOLDS, weights: Float64 | None = None
) -> HeldOutScore:
    """Return how a fit does on each of some blocks, fitted to the others.

    The set of features and the ridges are those of the whole data; coefficients and residual
    spectra are not.

    Args:
        fitter: of the data.
        fit: which.
        folds: blocks.
        weights: of the segments in the judgement; None for the fit's own.
    """
    counted = fit.weights if weights is None else weights
    design, value = fitter.design(fit.groups), fitter.value
    edges = np.linspace(0, fitter.bank.segments, folds + 1).astype(int)
    cuts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    blocks = [measure(design[..., c], fitter.strain[:, c], fit.weights[c]) for c in cuts]
    parts = []
    for cut, block in zip(cuts, blocks, strict=True):
        others = fit.statistics - block
        # A ridge is the inverse of a coefficient's power in units of its noise: less data, less.
        ridges = fit.solution.ridges * fit.statistics.weight / others.weight
        coefficients = resolve(others, value, fit.group_of, ridges, fit.solution.residual)
        spectrum = others.residual(coefficients)
        spectrum = unbiased(spectrum, others, value, fit.solution.freedom)
        left = fitter.strain[:, cut] - predicted(design[..., cut], coefficients)
        parts.append(judge(left, spectrum, value, counted[cut]))
    return joined(parts)


def judge(left: Complex, spectrum: Float64, value: Float64, weights: Float64) -> HeldOutScore:
    """Return the performance of a fit that left this residual on data that it has not seen.

    Args:
        left: residual transforms, `(bins, segments)`.
        spectrum: that the residual is expected to have.
        value: weight of each bin.
        weights: of the segments.
    """
    power = np.abs(left) ** 2
    likelihood = -0.5 * value @ (power / spectrum[:, None] + np.log(spectrum)[:, None])
    weighted = (power * weights).T
    edges = range(0, len(weighted), _BLOCK)
    blocks = np.add.reduceat(weighted, edges) if len(weighted) else weighted
    return HeldOutScore(likelihood, blocks, weights)


def joined(parts: Sequence[HeldOutScore]) -> HeldOutScore:
    """Return what stretches that follow one another say together."""
    return HeldOutScore(
        np.concatenate([part.likelihood for part in parts]),
        np.concatenate([part.power for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


def compare(better: HeldOutScore, worse: HeldOutScore) -> Gain:
    """Return how much more likely one makes the data; segments count as they do for the worse."""
    difference = (better.likelihood - worse.likelihood) * worse.weights
    count = len(difference) // _TOGETHER
    if count < 2:
        return Gain(float(difference.sum()), float("inf"))
    sums = difference[: count * _TOGETHER].reshape(count, _TOGETHER).sum(axis=1)
    return Gain(float(difference.sum()), sqrt(count) * float(sums.std(ddof=1)))


def asd_ratio(
    after: HeldOutScore, before: HeldOutScore, bins: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the mean over some bins of the ratio of two ASDs, and its standard error.

    The error is the jackknife's: the scatter of the figure with one block left out at a time. The
    segments count as they do before.
    """
    upper, lower = after.power[:, bins], before.power[:, bins]
    total = np.sqrt(upper.sum(axis=0) / lower.sum(axis=0)).mean()
    count = len(upper)
    if count < 2:
        return float(total), float("inf")
    left_out = np.sqrt((upper.sum(axis=0) - upper) / (lower.sum(axis=0) - lower)).mean(axis=1)
    error = sqrt((count - 1) * float(np.mean((left_out - left_out.mean()) ** 2)))
    return float(total), error
