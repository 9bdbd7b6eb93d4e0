"""What a tracker learns from: spectra of two seconds of the strain and of the groups.

Every second of GPS time begins a transform of 2 s with a Hann window, as the gate's does. In the
bins of the coupling's band it has what inner products of bandpassed streams would have, and three
things more. The bins of positive frequency are the analytic signal. Each bin has a weight of its
own, so a steep floor or a calibration line is whitened. The strain needs no bandpass, because the
window's side lobes keep out what is far from the band, and so nothing reaches beyond the 2 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deepclean.core.adapt.analytic import Complex, derivative
from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band
from deepclean.core.spectra import median

SECONDS = 2
"""Length of a transform. One begins each second."""

OVERLAP = 19 / 9
"""Variance by chance of a sum over bins and transforms, in units of that of independent bins.

Transforms of `N` samples that overlap by half, with the Hann window `w`, count each sample
`u(t) = w(t)^2 + w(t + N / 2)^2` times. White noise of variance `S` in a sample has the power
`S N <w^2>` in a bin. For a group with the analytic signal `e` the sum of `|E|^2` over bins and
transforms is `N sum(u |e|^2) / 4` (Parseval). The sum of `E*` times the noise has the variance
`N^2 S sum(u^2 |e|^2) / 4`. Divided by the bin's power and by the sum of `|E|^2` this is
`<u^2> / (<u> <w^2>)`, with `<u^2> = 19 / 32`, `<u> = 3 / 4` and `<w^2> = 3 / 8`.
"""

_SMOOTH = 17
"""Bins over whose median a floor is smoothed. A coupling's lines are narrower than half of it."""

_PRIOR = 8
"""Seconds for which the smoothed floor counts beside each bin's own."""

LOUD = 3.0
"""Times the median residual from which on a second counts less."""

_RIDGE = 1e-9
"""Share of each group's energy that is added to it, so that two equal groups share their part."""

_FEW = 4
"""Rows up to which inner products are summed one by one."""

_BESIDE = np.array([[-1], [0], [1]])
"""A bin's neighbours and itself."""

Bins = NDArray[np.intp]


def band_bins(bands: Sequence[Band], rate: int, least: int = 8) -> Bins:
    """Return the bins of a transform in the bands, and those beside them until there are enough.

    Args:
        bands: `(low, high)` in Hz; a bin on an edge counts.
        rate: samples per second of the slowest stream.
        least: number of bins that is enough.
    """
    every = np.arange(1, SECONDS * rate // 2)
    edges = SECONDS * np.asarray(bands, dtype=np.float64)
    distance = np.maximum(edges[:, :1] - every, every - edges[:, 1:]).min(axis=0)
    count = max(least, int(np.sum(distance <= 0)))
    return np.sort(every[np.argsort(distance, kind="stable")[:count]])


@np.errstate(over="ignore", invalid="ignore")
def transform(samples: Float64, rate: int, bins: Bins) -> Complex:
    """Return the transform of `2 * rate` real samples in these bins, in units per Hz.

    Streams of different rates that hold the same signal have the same transform. Samples that are
    no numbers give a transform of none.

    Args:
        samples: shape `(..., 2 * rate)`.
        rate: samples per second.
        bins: of `band_bins`.
    """
    return np.asarray(fft.rfft(samples * _hann(SECONDS * rate))[..., bins] / rate)


def transform_with_slope(samples: Float64, rate: int, bins: Bins, band: Band) -> Complex:
    """Return the transforms of an estimate and of its derivative over the frequency.

    The second group (`analytic.derivative`) is `d = e' / (pi i W) - (f_1 + f_2) e / W`, for a band
    of width `W = f_2 - f_1`. The window `w` of length `T` and the transform `R` without a window
    give its transform without the signal itself. By parts,

        FT(w e') = 2 pi i f FT(w e) - FT(w' e),
        FT(w e) = R(f) / 2 - (R(f - 1/T) + R(f + 1/T)) / 4,
        FT(w' e) = pi / (2 i T) (R(f - 1/T) - R(f + 1/T)),    w' = pi / T sin(2 pi t / T),

    so that `FT(w d)` is the shape times `FT(w e)`, plus `(R(f - 1/T) - R(f + 1/T)) / (2 W T)`.

    Args:
        samples: of the bandpassed estimate, shape `(2 * rate,)`.
        rate: samples per second.
        bins: of `band_bins`.
        band: from the lowest to the highest of the coupling's bands, Hz.

    Returns:
        Shape `(2, B)`.
    """
    low, high = band
    below, at, above = fft.rfft(samples)[bins + _BESIDE] / rate
    estimate = at / 2 - (below + above) / 4
    shape = derivative(low, high)(bins / SECONDS)
    return np.stack([estimate, shape * estimate + (below - above) / (2 * SECONDS * (high - low))])


@lru_cache(maxsize=8)
def _hann(count: int) -> Float64:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count))


def products(spectra: Complex, weights: Float64) -> Complex:
    """Return the inner products of each transform's rows: `sum_f weights x_i* x_j`.

    Args:
        spectra: shape `(n, G, B)`.
        weights: of the bins, shape `(B,)`.

    Returns:
        Shape `(n, G, G)`.
    """
    return _inner(_scaled(spectra, np.sqrt(weights)))


def _inner(rows: Complex) -> Complex:
    """Return the inner products of rows of shape `(n, G, B)`, shape `(n, G, G)`."""
    # To begin a product of matrices takes as long as a dozen sums over a band's bins.
    if rows.shape[1] <= _FEW:
        return np.asarray(np.vecdot(rows[:, :, None], rows[:, None]))
    return np.asarray(rows.conj() @ rows.swapaxes(1, 2))


def _scaled(spectra: Complex, factors: Float64) -> Complex:
    """Return spectra of shape `(..., B)` times a factor for each bin, shape `(B,)`."""
    # A product of real numbers: that of a complex with a real number takes three times as long.
    parts = np.ascontiguousarray(spectra).view(np.float64) * factors.repeat(2)
    return np.asarray(parts.view(np.complex128))


def as_reals(products: Complex) -> Float64:
    """Return matrices of shape `(..., k, k)` as real numbers, shape `(..., 2 k^2)`.

    Real and imaginary parts alternate. It is a view where the matrices are contiguous.
    """
    flat = np.ascontiguousarray(products).view(np.float64)
    return flat.reshape(*products.shape[:-2], -1)


def powers(vectors: Complex) -> Float64:
    """Return what gives `x^H A x` of Hermitian matrices `A`: its product with `as_reals(A)`.

    Args:
        vectors: `x`, shape `(..., k)`.

    Returns:
        Shape `(..., 2 k^2)`.
    """
    # x^H A x = sum_ij Re(x_i* x_j A_ij), which is the sum over the parts of (x_i x_j*) and A_ij.
    return as_reals(vectors[..., :, None] * vectors[..., None, :].conj())


def best(products: Complex) -> Complex:
    """Return the gains that leave least of the last row, by least squares.

    Args:
        products: inner products, shape `(n, G + 1, G + 1)`.

    Returns:
        Shape `(n, G)`; 0 for a group without energy.
    """
    groups = products.shape[-1] - 1
    scale = inverse_root(products.diagonal(axis1=1, axis2=2)[:, :-1])
    unit = products[:, :-1] * scale[:, :, None]
    unit[:, :, :-1] *= scale[:, None]
    unit.reshape(len(unit), -1)[:, :: groups + 2] += _RIDGE
    return np.asarray(scale * np.linalg.solve(unit[:, :, :-1], unit[:, :, -1:])[..., 0])


def squared(values: Complex) -> Float64:
    """Return the squared magnitude of each number."""
    return np.asarray(values.real**2 + values.imag**2)


def inverse_root(energy: Float64 | Complex) -> Float64:
    """Return `energy ** -0.5`, and 0 where there is none; of complex numbers the real part's."""
    return np.asarray(1.0 / np.sqrt(np.where(energy.real > 0, energy.real, np.inf)))


def inverse(energy: Float64) -> Float64:
    """Return `1 / energy`, and 0 where there is none."""
    return np.asarray(1.0 / np.where(energy > 0, energy, np.inf))


def unexplained(products: Complex) -> Float64:
    """Return what the best gains leave of the last row: `P - b^H R^-1 b`, shape `(n,)`."""
    # Gaussian elimination: one group after the other is taken out of all that follow it. No pivot
    # need be searched for, because the matrix is positive definite.
    left = products
    for group in range(products.shape[-1] - 1):
        pivot = left[:, 0, 0].real + _RIDGE * products[:, group, group].real
        gains = left[:, :1, 1:] * inverse(pivot)[:, None, None]
        left = left[:, 1:, 1:] - left[:, 1:, :1] * gains
    return np.asarray(np.maximum(left[:, 0, 0].real, 0.0))


def less(values: Float64, limit: Float64 | float) -> Float64:
    """Return `min(1, limit / values)`."""
    over = values > limit
    return np.asarray(np.where(over, limit, 1.0) / np.where(over, values, 1.0))


def whitening(spectra: Complex, unit: int, whole: Complex | None = None) -> Float64 | None:
    """Return each bin's weight, one over the floor's power there; None where there is no floor.

    The floor of a bin is the median over the window of what is left when each unit of time has its
    own best gains. So a drift does not raise it, and neither does a glitch. That fit needs weights
    of the bins in its turn: those of a floor that is smooth over them, from what the anchors leave.

    Args:
        spectra: of the groups and of what the anchors leave, shape `(n, G + 1, B)`.
        unit: transforms that share their best gains; divides `n`.
        whole: of the model's whole estimate and of what the anchors leave, shape `(n, 2, B)`. In a
            long unit a second of which one gain on the whole leaves much counts less. None: a unit
            with a glitch is few among the others.
    """
    count, _, bins = spectra.shape
    smooth = _over_bins(median(squared(spectra[:, -1])))
    if not (smooth > 0).all():
        return None
    units = _in_units(_scaled(spectra, 1 / np.sqrt(smooth)), unit)
    seen = units
    if whole is not None:
        left = unexplained(products(whole, 1 / smooth))
        share = less(left, LOUD * median(left)).reshape(-1, 1, unit)
        seen = units * share.repeat(bins, axis=2)
    gains = best(_inner(seen))
    rest = units[:, -1] - (gains[:, None] @ units[:, :-1])[:, 0]
    # The median of an exponential distribution is log 2 times its mean.
    own = median(squared(rest).reshape(count, bins)) / log(2)
    own = smooth * (count * own + _PRIOR * _over_bins(own)) / (count + _PRIOR)
    return 1 / own if (own > 0).all() else None


def _in_units(spectra: Complex, unit: int) -> Complex:
    """Return spectra with the bins of all transforms of a unit beside one another.

    Args:
        spectra: shape `(n, G, B)`.
        unit: transforms in a unit.

    Returns:
        Shape `(n / unit, G, unit * B)`.
    """
    _, size, bins = spectra.shape
    units = spectra.reshape(-1, unit, size, bins).swapaxes(1, 2)
    return np.asarray(units.reshape(-1, size, unit * bins))


def _over_bins(floor: Float64) -> Float64:
    """Return a floor's running median over the bins."""
    return median(floor[_neighbours(len(floor))])


@lru_cache(maxsize=8)
def _neighbours(count: int) -> Bins:
    """Return which bins are near each, shape `(k, count)`, mirrored at the ends."""
    reach = min(_SMOOTH, count) // 2
    near = np.abs(np.arange(-reach, reach + 1)[:, None] + np.arange(count))
    return np.asarray(count - 1 - np.abs(count - 1 - near))
