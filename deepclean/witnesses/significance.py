"""What coherence comes about by chance, and what it leaves of the strain.

The coherence of two unrelated Gaussian streams over N independent averages exceeds c with the
probability (1 - c)^(N - 1), its mean is 1 / N (Carter, Knapp and Nuttall 1973, IEEE Trans. Audio
Electroacoust. 21, 337). With K witnesses at once it is K / N.
"""

from __future__ import annotations

from math import expm1, log, log1p

import numpy as np

from deepclean.core.block import Float64

_OVERLAP = 1 / 36
"""Squared correlation of two Hann windows that overlap by half."""

RARE = 0.01
"""Probability that counts as not by chance."""


def averages(count: int) -> float:
    """Return how many independent averages `count` transforms that overlap by half are worth.

    Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70.
    """
    return count / (1 + 2 * _OVERLAP * (count - 1) / count)


def probability(coherence: float, independent: float, trials: int) -> float:
    """Return how probably the highest of `trials` unrelated coherences reaches this one.

    Neighbouring bins of a Hann window are not quite independent, so this is on the safe side.

    Args:
        coherence: the highest.
        independent: averages.
        trials: bins, or bins times channels.
    """
    if coherence >= 1:
        return 0.0
    single = (1 - coherence) ** (independent - 1)
    return 1.0 if single >= 1 else -expm1(trials * log1p(-single))


def level(chance: float, independent: float, trials: int) -> float:
    """Return the coherence that the highest of `trials` exceeds by chance with `chance`."""
    single = -expm1(log1p(-chance) / trials)
    return -expm1(log(single) / (independent - 1))


def residual(coherence: Float64, independent: float, witnesses: int = 1) -> float:
    """Return the ASD ratio that linear subtraction allows: the mean over bins of sqrt(1 - c).

    Corrected for what as many unrelated witnesses would explain of so few averages: those leave 1.

    Args:
        coherence: ordinary or multiple, by bin.
        independent: averages.
        witnesses: how many at once.
    """
    unbiased = independent / (independent - witnesses)
    return float(np.mean(np.sqrt(np.clip(1 - coherence, 0, None) * unbiased)))
