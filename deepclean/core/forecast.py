"""Continue a witness for the tenths of a second that a filter or a network looks ahead.

A cleaned sample rests on witnesses some way ahead of it. Where the cleaned frame is not to wait for
them they are forecast, each witness by itself, at its own rate, from its last seconds: the linear
prediction from the last samples whose mean square error is the least (Yule-Walker equations,
solved by Levinson's recursion; Box, Jenkins, "Time series analysis", chapter 5). Lines go on
ringing, slow motions go on, and what cannot be known dies away to the mean. Witnesses are forecast
rather than the network's output: half of that is noise outside the band, and its sidebands are
products of witnesses that are simple themselves (docs/zero-wait.md has the numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from scipy.fft import irfft, next_fast_len, rfft
from scipy.linalg import solve_toeplitz

from deepclean.core.block import Float64
from deepclean.core.time import NS

_MOST_PAST = 1 << 15
_MOST_TERMS = 512
"""Bounds of the arithmetic, in samples: what they cut off of fast witnesses is not missed."""

_LEAST_TERMS = 16

_RIDGE = 1e-5
"""White noise, of a witness's variance, that is taken to be in it: keeps the equations solvable."""


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """From what a witness is forecast; nanoseconds.

    Args:
        memory: the past whose correlations are taken.
        terms: the last samples that are weighted.
        least: of sound past; with less of it, a witness is not forecast.
        seam: over which what one hop had forecast differently dies away in the next (core.splice).
    """

    memory: int = 16 * NS
    terms: int = NS // 4
    least: int = NS
    seam: int = NS // 8

    def past(self, rate: int) -> int:
        """Return how many samples at `rate` (Hz) a forecast rests on at most."""
        return min(self.memory * rate // NS, _MOST_PAST)

    def order(self, rate: int) -> int:
        """Return how many of the last samples at `rate` (Hz) are weighted."""
        return min(max(self.terms * rate // NS, _LEAST_TERMS), _MOST_TERMS)


def forecast(past: Float64, count: int, order: int) -> Float64:
    """Return the `count` samples that are to be expected after `past`.

    Args:
        past: shape `(n,)`, finite.
        count: of samples.
        order: how many of the last samples are weighted; fewer where the past is short.

    Returns:
        Shape `(count,)`; finite, unless the past's squares overflow.
    """
    order = min(order, len(past) // 4)
    if order < 1:
        return np.full(count, past.mean() if len(past) else 0.0)
    mean = past.mean()
    centred = past - mean
    size = next_fast_len(len(past) + order, real=True)
    correlation = irfft(np.abs(rfft(centred, size)) ** 2, size)[: order + 1]
    if not correlation[0] > 0:
        return np.full(count, mean)
    column = correlation[:-1].copy()
    column[0] *= 1 + _RIDGE
    weights = solve_toeplitz(column, correlation[1:], check_finite=False)
    # What the last samples contribute to each of the next `order` ones: the filter's state.
    ringing = np.convolve(weights[::-1], centred[: -order - 1 : -1])[:order][::-1]
    ahead, _ = scipy.signal.lfilter(
        [1.0], np.concatenate(([1.0], -weights)), np.zeros(count), zi=ringing
    )
    return np.asarray(mean + ahead)
