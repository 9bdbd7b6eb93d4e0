"""How much a part of the data counts: less where it is far stronger than usual."""

from __future__ import annotations

import numpy as np

from deepclean.core.block import Float64

LEVERAGE = 30.0
"""Power of a feature in a part over its median beyond which the part counts less: far beyond what a
Gaussian signal, or a product of two, does in a day."""

RESIDUAL = 2.0
"""The same of the residual, whose power over a segment's bins hardly varies."""


def robust_weights(power: Float64, bound: float, usual: float | None = None) -> Float64:
    """Return the weight of each part by its power: 1 up to `bound` times the usual.

    Args:
        power: of each part.
        bound: see above.
        usual: power; None for the median of these.
    """
    median = float(np.median(power)) if usual is None else usual
    ratio = np.divide(bound * median, power, out=np.ones_like(power), where=power > 0)
    return np.asarray(np.minimum(1.0, ratio) ** 2, dtype=np.float64)
