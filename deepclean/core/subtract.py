"""Subtract the gained estimates from the strain, at its native rate, in float64."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deepclean.core.block import Estimate, Float64, Samples


def subtract(strain: Samples, estimates: Iterable[Estimate]) -> Float64:
    """Return `strain - sum(gain * noise)`.

    Where the sum is zero the strain is returned bit for bit (also its NaNs and negative zeros).

    Args:
        strain: shape `(n,)`, any numeric dtype.
        estimates: each with `noise` and `gain` of shape `(n,)`.

    Returns:
        Shape `(n,)`, float64, a new array.
    """
    cleaned = np.array(strain, dtype=np.float64)
    total = np.zeros(len(cleaned))
    for estimate in estimates:
        total += estimate.subtracted()
    np.subtract(cleaned, total, out=cleaned, where=total != 0.0)
    return cleaned
