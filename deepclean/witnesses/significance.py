"""The coherence of unrelated channels, and the strain that a coherence leaves.

The coherence of two unrelated Gaussian streams over N independent averages exceeds c with
probability (1 - c)^(N - 1), and its mean is 1 / N (Carter, Knapp and Nuttall 1973, IEEE Trans.
Audio Electroacoust. 21, 337). With K witnesses at once the mean is K / N.
"""

from __future__ import annotations

from math import expm1, log, log1p

import numpy as np

from deepclean.core.block import Float64

_OVERLAP = 1 / 36
"""Squared correlation of two Hann windows that overlap by half."""

RARE = 0.01
"""Probability below which a coherence counts as significant."""


def averages(count: int) -> float:
    """Return the number of independent averages in `count` transforms that overlap by half.

    Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70.
    """
    return count / (1 + 2 * _OVERLAP * (count - 1) / count)


def p_value(coherence: float, independent: float, trials: int) -> float:
    """Return the probability that the highest of `trials` unrelated coherences reaches this one.

    Neighbouring bins of a Hann window are not quite independent, so the result is an upper limit.

    Args:
        coherence: the highest coherence.
        independent: number of independent averages.
        trials: number of bins, or of bins times channels.
    """
    if coherence >= 1:
        return 0.0
    single = (1 - coherence) ** (independent - 1)
    return 1.0 if single >= 1 else -expm1(trials * log1p(-single))


def level(p_value: float, independent: float, trials: int) -> float:
    """Return the coherence that the highest of `trials` unrelated ones exceeds with `p_value`."""
    single = -expm1(log1p(-p_value) / trials)
    return -expm1(log(single) / (independent - 1))


def residual(coherence: Float64, independent: float, witnesses: int = 1) -> float:
    """Return the ASD ratio that linear subtraction allows: the mean over bins of sqrt(1 - c).

    The ratio is corrected for the share that as many unrelated witnesses explain of so few
    averages, so that unrelated witnesses give 1.

    Args:
        coherence: ordinary or multiple coherence, by bin.
        independent: number of independent averages.
        witnesses: number of witnesses.
    """
    unbiased = independent / (independent - witnesses)
    return float(np.mean(np.sqrt(np.clip(1 - coherence, 0, None) * unbiased)))
