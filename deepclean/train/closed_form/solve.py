"""Solve for the coefficients: whitened by the residual's own spectrum, shrunk by the evidence.

    min_w  sum_f V(f) (P - 2 w c + w G w) + sum_i ridge_i D_i w_i^2,    V = B^2 / S_res,

with `B` the response of the bandpass, `S_res` the residual spectrum of the solution before (the
strain's own, with which it begins, discounts just the bins that carry the coupling), and `D` the
diagonal of `sum_f V G`. In the units `u_i = w_i sqrt(D_i)` the Gram matrix `M` has a unit diagonal
and an estimate's variance is about 1, so a ridge is a pure number: the inverse of the power, in
units of its noise, that a coefficient is believed to have.

That power is found from the data. The parameters come in groups (the taps of one feature at one
range of lags), each with a ridge `a_g` of its own, and the ridges are those under which the data is
most likely, the coefficients being Gaussian: MacKay's fixed point (1992, Neural Computation 4, 448;
Tipping 2001, J. Mach. Learn. Res. 1, 211)

    gamma_g = n_g - K a_g tr_g (M + K a)^-1,      a_g = gamma_g / |u_g|^2,

where `n_g` is the group's number of parameters and `gamma_g` how many of them the data determines.
A group that the data does not need gets an infinite ridge; a strong one gets next to none, where
one ridge for all would take a thousandth of a line a thousand times the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from deepclean.core.block import Float64
from deepclean.train.closed_form.statistics import Statistics

Groups = NDArray[np.int64]

ROUNDS = 4
"""Solutions, each whitened by the residual of the one before."""

OVERLAP = 19 / 18
"""Variance of an estimate `u`. Hann windows that overlap by half weigh time by `h(t)`, the sum of
their squares, `3/4 + 1/4 cos` in a period of half a segment; two segments count each instant; with
real and imaginary parts apart the variance is `mean h^2 / mean(h)^2 = 19/18`."""

_ITERATIONS = 25
"""Iterations of the fixed point in the first round. Later rounds begin where it ended and take a
third of them."""

_STRONGEST, _WEAKEST = 1e-12, 1e6
"""Ridges are kept between these: an infinite one and none at all cannot be inverted."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A fit.

    Args:
        coefficients: one a parameter.
        residual: power spectrum of what is left, by bin, unbiased by the fit.
        ridges: one a group.
        freedom: how many parameters of each group the data determines.
        energy: what each group explains, in units of a parameter's noise.
    """

    coefficients: Float64
    residual: Float64
    ridges: Float64
    freedom: Float64
    energy: Float64


def solve(
    statistics: Statistics,
    value: Float64,
    groups: Groups,
    *,
    start: Float64 | None = None,
    ridges: Float64 | None = None,
    ridge: float | None = None,
    rounds: int = ROUNDS,
) -> Solution:
    """Return the coefficients that leave the least whitened residual.

    Args:
        statistics: of the data.
        value: weight of each bin.
        groups: the number of the group that each parameter belongs to, from 0 on.
        start: residual spectrum to whiten the first solution by; None for the strain's.
        ridges: of the groups, to begin with.
        ridge: one number for all groups instead of the evidence's.
        rounds: solutions.
    """
    residual = statistics.power / statistics.weight if start is None else start
    sizes = np.bincount(groups).astype(np.float64) if len(groups) else np.zeros(0)
    if not len(groups):
        return Solution(np.zeros(0), residual, sizes, sizes, sizes)
    held = np.full(len(sizes), 1e-3 if ridge is None else ridge)
    if ridges is not None and ridge is None:
        held = ridges
    coefficients, freedom, energy = np.zeros(len(groups)), sizes, sizes
    for number in range(rounds):
        matrix, right, scale = normal_equations(statistics, value / residual)
        steps = _ITERATIONS if number == 0 and ridges is None else _ITERATIONS // 3
        for _ in range(1 if ridge is not None else steps):
            inverse = _inverse(matrix, held[groups])
            units = inverse @ right
            spread = np.bincount(groups, OVERLAP * np.diagonal(inverse))
            freedom = np.clip(sizes - held * spread, 1e-9, None)
            energy = np.bincount(groups, units**2).astype(np.float64)
            if ridge is None:
                held = np.clip(freedom / np.maximum(energy, 1e-30), _STRONGEST, _WEAKEST)
        coefficients = scale * units
        residual = unbiased(statistics.residual(coefficients), statistics, value, freedom)
    return Solution(coefficients, residual, held, freedom, energy)


def resolve(
    statistics: Statistics, value: Float64, groups: Groups, ridges: Float64, residual: Float64
) -> Float64:
    """Return the coefficients for given ridges and a given residual spectrum: one solve."""
    matrix, right, scale = normal_equations(statistics, value / residual)
    return scale_solution(matrix, right, scale, ridges[groups])


def scale_solution(matrix: Float64, right: Float64, scale: Float64, ridge: Float64) -> Float64:
    """Return the coefficients of equations at unit diagonal."""
    if not len(right):
        return np.zeros(0)
    return np.asarray(scale * (_inverse(matrix, ridge) @ right), dtype=np.float64)


def normal_equations(statistics: Statistics, white: Float64) -> tuple[Float64, Float64, Float64]:
    """Return the Gram matrix at unit diagonal, the right-hand side to match, and the scale.

    The solution of the equations times the scale are the coefficients. A feature that is never
    there has scale 0 and a row of the unit matrix.
    """
    matrix = np.tensordot(white, statistics.gram, 1)
    right = white @ statistics.cross
    size = np.sqrt(np.diagonal(matrix))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    matrix = matrix * scale * scale[:, None]
    np.fill_diagonal(matrix, 1.0)
    return matrix, right * scale, scale


def unbiased(
    residual: Float64, statistics: Statistics, value: Float64, freedom: Float64
) -> Float64:
    """Return a residual spectrum as other data would have it: the fit has eaten its share."""
    count = statistics.weight * value.sum() / OVERLAP
    share = min(0.5, float(freedom.sum()) / count)
    return np.asarray(residual / (1 - share), dtype=np.float64)


def load_of(ridge: Float64) -> Float64:
    """Return what is added to the diagonal of the Gram matrix for a ridge of each parameter."""
    return OVERLAP * ridge + 1e-11


def _inverse(matrix: Float64, ridge: Float64) -> Float64:
    """Return the inverse of the matrix with the ridge in its diagonal."""
    loaded = matrix.copy()
    loaded[np.diag_indices(len(loaded))] += load_of(ridge)
    factor, _ = linalg.lapack.dpotrf(loaded, lower=1)
    inverse, _ = linalg.lapack.dpotri(factor, lower=1)
    lower = np.tril(inverse)
    return np.asarray(lower + np.tril(lower, -1).T, dtype=np.float64)
