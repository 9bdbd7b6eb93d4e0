"""Level and slope of the gains over a window, shrunk to what is significant.

With the groups' spectra `E_k` (a column each), what the anchors leave `s_k` in second `k`, and the
gains' deviation from the anchors `d(t) = l + m t`, the weighted least-squares fit minimises

    sum_k w_k |s_k - E_k (l + m t_k)|^2.

Of each second it needs the inner products of the columns `[E_k, s_k]`, of the window three sums of
those, with the weights `w`, `w t` and `w t^2`.

Each principal direction of the level is shrunk by itself. In the basis `L` of eigenvectors of the
groups' inner products, scaled to unit energy, the estimates `z` are independent of one another and
have the noise's variance. The positive-part James-Stein estimate `z max(0, 1 - c / chi)`, with
`chi = |z|^2 / variance`, leaves nothing of a direction that is not significant and all of one that
is. A direction without energy (a group that is silent, two that are the same) is left out, so
nothing is divided by zero. The slope is treated in the same way after what it shares with the level
is taken out.
"""

from __future__ import annotations

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.spectra import as_reals, best, inverse_root, squared
from deepclean.core.block import Float64

SHRINK = 3.0
"""`c` above. A direction without a drift then costs 2 % of what it would cost unshrunk."""

_SILENT = 1e-9
"""Part of the groups' energy below which a direction is left out."""


def moments(products: Complex, weights: Float64, times: Float64) -> Complex:
    """Return the sums of inner products with the weights `w`, `w t` and `w t^2`.

    Args:
        products: of each coupling and second, shape `(C, n, G + 1, G + 1)`.
        weights: of each member, shape `(C, M, n)`.
        times: of the seconds, shape `(C, n)`.

    Returns:
        Shape `(C, M, 3, G + 1, G + 1)`.
    """
    couplings, count, size, _ = products.shape
    later = weights * times[:, None]
    weighted = np.array([weights, later, later * times[:, None]]).transpose(1, 2, 0, 3)
    # As real numbers: half the work of a complex product.
    summed = weighted.reshape(couplings, -1, count) @ as_reals(products)
    return np.asarray(summed.view(np.complex128).reshape(couplings, -1, 3, size, size))


def plain_fit(sums: Complex, sloped: Float64) -> tuple[Complex, Complex]:
    """Return level and slope as `fit` does, not shrunk."""
    groups = sums.shape[-1] - 1
    whole = np.zeros((len(sums), 2 * groups + 1, 2 * groups + 1), dtype=np.complex128)
    shared = sums[:, 1] * sloped[:, None, None]
    whole[:, :groups, :groups] = sums[:, 0, :-1, :-1]
    whole[:, :groups, groups:-1] = whole[:, groups:-1, :groups] = shared[:, :-1, :-1]
    whole[:, groups:-1, groups:-1] = sums[:, 2, :-1, :-1]
    whole[:, :groups, -1], whole[:, groups:-1, -1] = sums[:, 0, :-1, -1], shared[:, :-1, -1]
    found = best(whole)
    return found[:, :groups], found[:, groups:]


def fit(sums: Complex, sloped: Float64, noise: Float64) -> tuple[Complex, Complex]:
    """Return level and slope of the deviation from the anchors, each of shape `(M, G)`.

    Args:
        sums: of `moments`.
        sloped: 1 for a member that fits a slope, 0 for one that does not, shape `(M,)`.
        noise: variance of a direction's estimate by chance, shape `(M,)`.
    """
    basis = _unit_basis(sums[:, 0, :-1, :-1])
    # The directions' inner products with the groups and, last, with what the anchors leave.
    turned = basis.conj().swapaxes(1, 2)[:, None] @ sums[:, :, :-1]
    level, onto_ahead = turned[:, 0, :, -1:], turned[:, 1, :, -1:]
    # The slope's columns `t E` less what the level's columns `E` can imitate of them.
    shared, own = (turned[:, power, :, :-1] @ basis for power in (1, 2))
    inner = _unit_basis(own - shared @ shared)
    slope = inner.conj().swapaxes(1, 2) @ (onto_ahead - shared @ level)
    level, slope = _shrunk(np.array([level, slope]), noise)
    slope = inner @ (slope * sloped[:, None, None])
    level = level - shared @ slope
    return (basis @ level)[..., 0], (basis @ slope)[..., 0]


def _unit_basis(energy: Complex) -> Complex:
    """Return `L` with `L^H A L = 1`, for Hermitian matrices `A` of shape `(M, G, G)`.

    A direction without energy has a column of zeros. The matrix is scaled to a unit diagonal first,
    so the groups' units do not matter.
    """
    scale = inverse_root(energy.diagonal(axis1=1, axis2=2))
    values, vectors = np.linalg.eigh(energy * (scale[:, :, None] * scale[:, None, :]))
    root = 1.0 / np.sqrt(np.where(values > _SILENT * values[:, -1:], values, np.inf))
    return np.asarray(scale[:, :, None] * vectors * root[:, None, :])


def _shrunk(estimates: Complex, noise: Float64) -> Complex:
    """Return estimates of shape `(..., M, G, 1)` times their positive-part James-Stein factors."""
    size = squared(estimates)
    kept = np.maximum(size - SHRINK * noise[:, None, None], 0.0)
    return np.asarray(estimates * (kept / np.where(size > 0, size, 1.0)))
