"""Forecast a witness for the tenths of a second that a filter or a network looks ahead.

A cleaned sample rests on witnesses some way ahead of it. Where the cleaned frame does not wait for
them they are forecast, each witness by itself, at its own rate, from its last seconds. The forecast
is the linear prediction from the last samples with the least mean square error (Yule-Walker
equations, solved by Levinson's recursion; Box, Jenkins, "Time series analysis", chapter 5). Lines
go on ringing, slow motions go on, and noise that cannot be known dies away to the mean.

Witnesses are forecast rather than the network's output. Half of that is noise outside the band, and
its sidebands are products of witnesses that are simple themselves (docs/zero-wait.md has the
numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz

from deepclean.core.block import Float64
from deepclean.core.time import NS

Complex = NDArray[np.complex128]

# 8 s at 4096 Hz. The transform costs n log n: a hop forecasts each witness once.
_MOST_PAST = 1 << 15
"""The largest number of past samples whose correlations are taken."""

# 1/8 s at 4096 Hz, seven periods of 60 Hz. Levinson's recursion costs its square.
_MOST_TERMS = 512
"""The largest number of last samples that are weighted."""

# A line takes two terms, so this is enough for eight, also in a witness of 16 Hz.
_LEAST_TERMS = 16
"""The smallest number of last samples that are weighted, where there are enough."""

# A witness of nothing but lines has a singular matrix: m lines are predicted exactly by 2 m terms,
# and further ones are undetermined. White noise raises every eigenvalue by its variance.
_RIDGE = 1e-5
"""The white noise that is taken to be in a witness, as a part of its variance (-50 dB)."""


# The samples of two fits that follow one another overlap by half. So the second sees what is new as
# well as any, while a fit, a millisecond for 32000 samples and 500 terms, is spread over 8 s.
_FITS_IN_MEMORY = 2
"""The number of fits of a witness in the memory of one."""

_WRAPPED = 1e-9
"""The part that is left of a forecast that wraps around the end of a transform."""


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """From what a witness is forecast; nanoseconds.

    Args:
        memory: the past whose correlations are taken.
        terms: the last samples that are weighted.
        least: of sound past; with less of it, a witness is not forecast.
        seam: over which what one hop had forecast differently dies away in the next
            (core.filters.splice).
    """

    memory: int = 16 * NS
    terms: int = NS // 4
    least: int = NS
    seam: int = NS // 8

    def hops_per_fit(self, hop: int) -> int:
        """Return the number of hops of `hop` nanoseconds for which a prediction is used."""
        return max(self.memory // _FITS_IN_MEMORY // hop, 1)

    def past(self, rate: int) -> int:
        """Return the largest number of samples at `rate` (Hz) that a forecast rests on."""
        # Many times the terms, so that the correlations are well estimated (see `forecast`), and a
        # few periods of the slowest motion that goes on, some tenths of a Hz.
        return min(self.memory * rate // NS, _MOST_PAST)

    def order(self, rate: int) -> int:
        """Return the number of the last samples at `rate` (Hz) that are weighted."""
        # Terms over a time T resolve lines that are about 1 / T apart.
        return min(max(self.terms * rate // NS, _LEAST_TERMS), _MOST_TERMS)


@dataclass(frozen=True)  # without slots, which hold no cached property
class LinearPredictor:
    """The linear prediction of a witness from its last samples.

    Args:
        mean: the mean, to which a forecast dies away, in the witness's unit.
        weights: those of the last `p` samples, the last one's first.
    """

    mean: float
    weights: Float64

    @cached_property
    def transforms(self) -> Complex:
        """Those that `_recursion` takes, which are made once for many hops."""
        return _transforms(self.weights)


def fit(past: Float64, order: int) -> LinearPredictor:
    """Return the predictor that has the least mean square error over the past.

    Args:
        past: shape `(n,)`, finite, in any unit.
        order: the number of last samples that are weighted; a quarter of the past at most.

    Returns:
        The predictor; all its weights are 0 where the past is constant.
    """
    # Of an order p, p + 1 correlations are estimated; four samples for each are the least.
    order = min(order, len(past) // 4)
    mean = past.mean() if len(past) else 0.0
    if order < 1:
        return LinearPredictor(mean, np.zeros(0))
    centred, _ = _scaled(past - mean)
    # r[l] = sum_t x[t] x[t + l] for l = 0 ... p is the inverse transform of |X|^2. That is real and
    # even, so a cosine transform gives it; its factor does not matter to the weights. Padding by p
    # zeros keeps the circular sum from wrapping. The sum is not divided by the number of its terms,
    # n - l: so the matrix is positive definite, the predictor stable, and the forecast dies away.
    # What that costs, a factor 1 - l / n, is little where the past is much longer than the terms.
    size = 2 * next_fast_len(-(-(len(past) + order) // 2), real=True)
    transform = rfft(centred, size)
    correlation = dct(transform.real**2 + transform.imag**2, type=1)[: order + 1]
    # A constant witness has no power; where the mean overflowed it is NaN, which fails this too.
    if not correlation[0] > 0:
        return LinearPredictor(mean, np.zeros(order))
    # The weights w of x[t] = sum_k w[k] x[t - k], k = 1 ... p, have the least mean square error
    # where the error is uncorrelated with each x[t - i]:
    #     sum_k r[|i - k|] w[k] = r[i],    i = 1 ... p    (Yule-Walker).
    column = correlation[:-1].copy()
    column[0] *= 1 + _RIDGE
    return LinearPredictor(mean, solve_toeplitz(column, correlation[1:], check_finite=False))


def forecast(predictors: Sequence[LinearPredictor], known: Float64, count: int) -> Float64:
    """Return the `count` samples of some witnesses that are to be expected after their last.

    A line goes on, and a constant stays:

    >>> past = np.array([np.tile([3.0, 1.0, -1.0, 1.0], 1000), np.full(4000, 7.5)])
    >>> predictors = [fit(row, order=16) for row in past]
    >>> forecast(predictors, past[:, -16:], count=5).round(2).tolist()
    [[3.0, 1.0, -1.0, 1.0, 3.0], [7.5, 7.5, 7.5, 7.5, 7.5]]

    Args:
        predictors: one for each witness, all with `p` weights.
        known: the last samples, shape `(witnesses, p)`, finite, in the unit of each.
        count: the number of samples to forecast.

    Returns:
        Shape `(witnesses, count)`, in the unit of each. The bits of a witness do not depend on
        which others are beside it.
    """
    mean = np.array([[one.mean] for one in predictors])
    if not known.size:
        return np.repeat(mean, count, axis=1)
    transforms = np.array([one.transforms for one in predictors])
    centred, powers = _scaled(known - mean)
    ahead = _recursion(transforms, centred, count)
    return np.asarray(mean + ahead * powers)


def _scaled(rows: Float64) -> tuple[Float64, Float64]:
    """Return rows divided by powers of two, and these powers, shape `(..., 1)`."""
    # The greatest value of each is brought to between 1/2 and 1, which rounds nothing: the squares
    # of 1e-162 would be zero, those of 1e162 infinite. Products take a tenth of the time of ldexp,
    # so the powers are among those that have an inverse.
    greatest = np.maximum(rows.max(axis=-1, keepdims=True), -rows.min(axis=-1, keepdims=True))
    exponents = np.clip(np.frexp(greatest)[1], -1022, 1022)
    return rows * np.ldexp(1.0, -exponents), np.ldexp(1.0, exponents)


def _damping(order: int) -> Float64:
    """Return the factors of the coefficients in `_recursion`, shape `(2 * order,)`."""
    return np.asarray(_WRAPPED ** (np.arange(2 * order) / (2 * order)))


def _transforms(weights: Float64) -> Complex:
    """Return the transforms of `A = 1 - sum_k w[k] z^-k` and of A damped, for `_recursion`.

    Args:
        weights: those of the last `p` samples, the last one's first, shape `(p,)`.

    Returns:
        Shape `(2, p + 1)`.
    """
    order = len(weights)
    coefficients = np.concatenate([[1.0], -weights])
    both = np.stack([coefficients, coefficients * _damping(order)[: order + 1]])
    return np.asarray(rfft(both, 2 * order))


def _recursion(transforms: Complex, known: Float64, count: int) -> Float64:
    """Return the `count` samples after `known` by `x[t] = sum_k w[k] x[t - k]`, `k = 1 ... p`.

    >>> transforms = _transforms(np.array([0.5]))
    >>> _recursion(transforms[None], np.array([[8.0]]), count=3).round(6).tolist()
    [[4.0, 2.0, 1.0]]

    Args:
        transforms: of the weights of each row, which make a stable filter 1 / A(z), shape
            `(rows, 2, p + 1)`.
        known: the last `p` samples, in order of time, shape `(rows, p)`.
        count: the number of samples to return.
    """
    # It is the filter 1 / A = 1 / (1 - sum_k w[k] z^-k) without input. Its state R is the
    # contribution of the known samples, x[-1] the last of them, to the next p:
    #     r[i] = sum_(k > i) w[k] x[i - k],    i = 0 ... p - 1,
    # which is what A gives, with the other sign, where zeros follow the known samples.
    # The samples to come are the coefficients of R / A in powers of z^-1, and those of the quotient
    # of transforms too, but that what lies beyond the transforms' n = 2 p samples is wrapped onto
    # them. So all coefficients are taken with a damping^t, where damping^n is _WRAPPED: the filter
    # is stable, so no more than that is left of what wraps. Undone over 3 n / 4 samples, the
    # damping makes the transforms' rounding, 1e-16, 6e6 times greater. These samples begin with the
    # state that those before leave, so they do not depend on how many are wanted.
    rows, order = known.shape
    size, length, damping = 2 * order, 3 * order // 2, _damping(order)
    plain, damped = transforms[:, 0], transforms[:, 1]
    ahead = np.empty((rows, -(-count // length) * length))
    for start in range(0, count, length):
        # Only the coefficient 2 p wraps, onto one that is not read.
        state = irfft(rfft(known, size) * plain, size)[:, order:] * -damping[:order]
        made = irfft(rfft(state, size) / damped, size)[:, :length]
        np.divide(made, damping[:length], out=ahead[:, start : start + length])
        known = ahead[:, start + length - order : start + length]
    return ahead[:, :count]
