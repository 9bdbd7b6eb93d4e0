"""Samples that are no numbers: found, and taken out of the way."""

from __future__ import annotations

import numpy as np

from deepclean.core.block import Samples


def finite(samples: Samples) -> tuple[Samples, list[tuple[int, int]]]:
    """Return the samples with zeros for what is not finite, and the runs `[low, high)` of that.

    Args:
        samples: shape `(..., n)`, any numeric dtype; returned as they are where all is finite.

    Returns:
        The samples, and the runs along the last axis in which any row is not finite.
    """
    good = np.isfinite(samples)
    if good.all():
        return samples, []
    bad = ~good
    return np.where(bad, 0, samples), runs(np.any(bad.reshape(-1, bad.shape[-1]), axis=0))


def runs(marked: Samples) -> list[tuple[int, int]]:
    """Return the runs `[low, high)` of True in booleans of shape `(n,)`, in order."""
    steps = np.diff(np.concatenate(([False], marked, [False])).astype(np.int8))
    edges = zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    return [(int(low), int(high)) for low, high in edges]
