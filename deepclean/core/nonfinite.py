"""Samples that are not finite: where they are, and the samples with zeros in their place."""

from __future__ import annotations

from math import isfinite

import numpy as np

from deepclean.core.block import Samples


def all_finite(samples: Samples) -> bool:
    """Return whether all samples are finite.

    >>> all_finite(np.array([1.0, 1e200])), all_finite(np.array([np.inf, -np.inf]))
    (True, False)

    Args:
        samples: of any shape, integers or real numbers.
    """
    # The sum of squares is finite only where every sample is, and takes a third of the time that a
    # look at each sample takes. It may overflow where all are finite.
    return isfinite(np.vdot(samples, samples)) or bool(np.isfinite(samples).all())


def finite(samples: Samples, close: int = 0) -> tuple[Samples, list[tuple[int, int]]]:
    """Return the samples with zeros in place of those that are not finite, and the runs of these.

    >>> samples, bad = finite(np.array([[1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.inf, 4.0]]))
    >>> samples.tolist(), bad
    ([[1.0, 0.0, 3.0, 4.0], [1.0, 2.0, 0.0, 4.0]], [(1, 3)])

    Args:
        samples: shape `(..., n)`, any numeric dtype. The same array is returned where all of it is
            finite.
        close: runs with at most so many finite samples between them count as one.

    Returns:
        The samples, and the runs `[low, high)` along the last axis in which any row is not finite.
    """
    if all_finite(samples):
        return samples, []
    bad = ~np.isfinite(samples)
    return np.where(bad, 0, samples), runs(np.any(bad.reshape(-1, bad.shape[-1]), axis=0), close)


def runs(marked: Samples, close: int = 0) -> list[tuple[int, int]]:
    """Return the runs `[low, high)` of True in booleans of shape `(n,)`, in order.

    >>> runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    >>> runs(np.array([True, False, True, False, False, True]), close=1)
    [(0, 3), (5, 6)]

    Args:
        marked: the booleans.
        close: runs with at most so many False between them count as one.
    """
    if not marked.any():
        return []
    # With a False at either end every run begins with a step of +1 and ends with one of -1.
    steps = np.diff(np.concatenate(([False], marked, [False])).astype(np.int8))
    lows, highs = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    apart = lows[1:] - highs[:-1] > close
    begins, ends = np.append(lows[:1], lows[1:][apart]), np.append(highs[:-1][apart], highs[-1:])
    return [(int(low), int(high)) for low, high in zip(begins, ends, strict=True)]
