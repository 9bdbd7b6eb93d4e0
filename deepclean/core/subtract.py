"""Subtract the gained estimates from the strain, at its native rate, in float64."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deepclean.core.block import Estimate, Float64, Samples


def subtract(strain: Samples, estimates: Iterable[Estimate]) -> Float64:
    """Return the strain minus the sum of gain times noise over the estimates.

    Where the sum is zero the strain is returned bit for bit, with its NaNs and negative zeros.

    >>> estimate = Estimate(np.array([2.0, 2.0, 2.0]), gain=np.array([0.0, 0.5, 1.0]), version=1)
    >>> subtract(np.array([-0.0, 5.0, 5.0]), [estimate]).tolist()
    [-0.0, 4.0, 3.0]

    Args:
        strain: shape `(n,)`, any numeric dtype, in strain units.
        estimates: each with `noise` (strain units) and `gain` of shape `(n,)`.

    Returns:
        Shape `(n,)`, float64, a new array.
    """
    # float64, because the noise at tens of Hz lies orders of magnitude below the strain's motion at
    # low frequencies, and float32 keeps seven digits of their sum.
    cleaned = np.array(strain, dtype=np.float64)
    total = total_noise(len(cleaned), estimates)
    # `where`, because 0.0 - 0.0 would turn a negative zero of the strain into a positive one.
    np.subtract(cleaned, total, out=cleaned, where=total != 0.0)
    return cleaned


def total_noise(count: int, estimates: Iterable[Estimate]) -> Float64:
    """Return the sum of gain times noise over the estimates, float64, shape `(count,)`."""
    total = np.zeros(count)
    for estimate in estimates:
        total += estimate.subtracted()
    return total
