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

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz

from deepclean.core.block import Float64
from deepclean.core.time import NS

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


_WRAPPED = 1e-11
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

    def past(self, rate: int) -> int:
        """Return the largest number of samples at `rate` (Hz) that a forecast rests on."""
        # Many times the terms, so that the correlations are well estimated (see `forecast`), and a
        # few periods of the slowest motion that goes on, some tenths of a Hz.
        return min(self.memory * rate // NS, _MOST_PAST)

    def order(self, rate: int) -> int:
        """Return the number of the last samples at `rate` (Hz) that are weighted."""
        # Terms over a time T resolve lines that are about 1 / T apart.
        return min(max(self.terms * rate // NS, _LEAST_TERMS), _MOST_TERMS)


def forecast(past: Float64, count: int, order: int) -> Float64:
    """Return the `count` samples that are to be expected after `past`.

    A line goes on, and a constant stays:

    >>> forecast(np.tile([3.0, 1.0, -1.0, 1.0], 1000), count=5, order=16).round(2).tolist()
    [3.0, 1.0, -1.0, 1.0, 3.0]
    >>> forecast(np.full(100, 7.5), count=2, order=16).tolist()
    [7.5, 7.5]

    Args:
        past: shape `(n,)`, finite, in any unit.
        count: the number of samples to forecast.
        order: the number of last samples that are weighted; a quarter of the past at most.

    Returns:
        Shape `(count,)`, in the unit of the past; finite.
    """
    # Of an order p, p + 1 correlations are estimated; four samples for each are the least.
    order = min(order, len(past) // 4)
    if order < 1:
        return np.full(count, past.mean() if len(past) else 0.0)
    mean = past.mean()
    # Its greatest value is brought to between 1/2 and 1, by a power of two, which rounds nothing:
    # the squares of 1e-162 would be zero, those of 1e162 infinite.
    exponent = int(np.frexp(np.abs(past - mean).max())[1])
    centred = np.ldexp(past - mean, -exponent)
    # r[l] = sum_t x[t] x[t + l] for l = 0 ... p is the inverse transform of |X|^2. Padding by p
    # zeros keeps the circular sum from wrapping. The sum is not divided by the number of its terms,
    # n - l: so the matrix is positive definite, the predictor stable, and the forecast dies away.
    # What that costs, a factor 1 - l / n, is little where the past is much longer than the terms.
    size = next_fast_len(len(past) + order, real=True)
    correlation = irfft(np.abs(rfft(centred, size)) ** 2, size)[: order + 1]
    # A constant witness has no power; where the mean overflowed it is NaN, which fails this too.
    if not correlation[0] > 0:
        return np.full(count, mean)
    # The weights w of x[t] = sum_k w[k] x[t - k], k = 1 ... p, have the least mean square error
    # where the error is uncorrelated with each x[t - i]:
    #     sum_k r[|i - k|] w[k] = r[i],    i = 1 ... p    (Yule-Walker).
    column = correlation[:-1].copy()
    column[0] *= 1 + _RIDGE
    weights = solve_toeplitz(column, correlation[1:], check_finite=False)
    ahead = _recursion(weights, centred[-order:], count)
    return np.asarray(mean + np.ldexp(ahead, exponent))


def _recursion(weights: Float64, known: Float64, count: int) -> Float64:
    """Return the `count` samples after `known` by `x[t] = sum_k weights[k - 1] x[t - k]`.

    >>> _recursion(np.array([0.5]), np.array([8.0]), count=3).round(9).tolist()
    [4.0, 2.0, 1.0]

    Args:
        weights: those of the last `p` samples, the last one's first; 1 / A(z) is stable.
        known: the last `p` samples, in order of time.
        count: the number of samples to return.
    """
    # It is the filter 1 / A = 1 / (1 - sum_k w[k] z^-k) without input. Its state R is the
    # contribution of the known samples, x[-1] the last of them, to the next p:
    #     r[i] = sum_(k > i) w[k] x[i - k],    i = 0 ... p - 1.
    # The samples to come are the coefficients of R / A in powers of z^-1, and those of the quotient
    # of transforms too, but that what lies beyond the transforms' n = 4 p samples is wrapped onto
    # them. So all coefficients are taken with a damping^t, where damping^n is _WRAPPED: the filter
    # is stable, so no more than that is left of what wraps. Undone over n / 2 samples, the damping
    # makes the transforms' rounding, 1e-16, 3e5 times greater. These n / 2 samples begin with the
    # state that those before leave, so they do not depend on how many are wanted.
    order = len(weights)
    size, length = 4 * order, 2 * order
    damping = _WRAPPED ** (np.arange(length) / size)
    below = np.zeros(size)
    below[0], below[1 : order + 1] = 1.0, -weights * damping[1 : order + 1]
    filtered, above, ahead = 1 / rfft(below), np.zeros(size), [np.zeros(0)]
    for _ in range(0, count, length):
        state = np.convolve(weights[::-1], known[::-1])[:order][::-1]
        above[:order] = state * damping[:order]
        ahead.append(irfft(rfft(above) * filtered, size)[:length] / damping)
        known = ahead[-1][-order:]
    return np.concatenate(ahead)[:count]
