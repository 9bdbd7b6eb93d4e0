"""The numbers of several couplings one after another along one axis, each coupling's a run.

A call into numpy takes longer than a coupling's few bins do, so what is measured of all couplings
at one instant is measured in one call. No number of a run enters another's, and no bit of what a
run gives depends on the runs beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64

Number = TypeVar("Number", np.float64, np.complex128)


class Runs:
    """Where runs begin and end along the last axis.

    >>> runs, values = Runs([2, 3]), np.array([1.0, 2.0, 3.0, 9.0, 5.0])
    >>> runs.sums(values).tolist(), runs.means(values).tolist(), runs.highest(values).tolist()
    ([3.0, 17.0], [1.5, 5.666666666666667], [2.0, 9.0])
    >>> runs.medians(values).tolist(), runs.each(np.array([1.0, 2.0])).tolist()
    ([1.5, 5.0], [1.0, 1.0, 2.0, 2.0, 2.0])
    >>> [run.tolist() for run in runs.cut(values)]
    [[1.0, 2.0], [3.0, 9.0, 5.0]]

    The sum of no numbers is 0; whatever else is asked for, each run must hold one.

    >>> Runs([0, 5, 0]).sums(values).tolist()
    [0.0, 20.0, 0.0]

    Args:
        counts: numbers of each run.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        number, whole, longest = np.arange(len(counts)), sum(counts), max(counts)
        self._counts = np.array(counts)
        self._edges = [0, *accumulate(counts)]
        self._run = np.repeat(number, counts)
        self._held = np.flatnonzero(self._counts)
        self._starts = np.array(self._edges[:-1])[self._held]
        # The places of the neighbours of each number; `whole` where it has none.
        self._beside = np.add(np.arange(whole), [[-1], [1]])
        self._beside[0, self._starts] = self._beside[1, self._starts[1:] - 1] = whole
        # Which places of a row as long as the longest run are used, and where the middle is.
        self._used = np.arange(longest) < self._counts[:, None]
        middle = [(self._counts - 1) // 2, self._counts // 2]
        self._middle = np.add(number * longest, middle)

    def sums(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return the sum of each run, shape `(..., runs)`."""
        sums = np.add.reduceat(values, self._starts, axis=-1)
        if len(self._held) == len(self._counts):
            return np.asarray(sums)
        found = np.zeros((*values.shape[:-1], len(self._counts)), values.dtype)
        found[..., self._held] = sums
        return found

    def means(self, values: Float64) -> Float64:
        """Return the mean of each run, shape `(..., runs)`; NaN where there is no number."""
        return np.asarray(self.sums(values) / self._counts)

    def highest(self, values: Float64) -> Float64:
        """Return the highest number of each run, shape `(..., runs)`; NaN where one is NaN."""
        return np.asarray(np.maximum.reduceat(values, self._starts, axis=-1))

    def medians(self, values: Float64) -> Float64:
        """Return the median of each run, where NaN counts as the highest of all."""
        rows = np.full(self._used.shape, np.inf)
        rows[self._used] = values
        rows.sort(axis=1)
        low, high = rows.ravel()[self._middle]
        return np.asarray(0.5 * (low + high))

    def beside(self, values: Float64) -> Float64:
        """Return the higher neighbour of each number within its run, at least 0.

        >>> Runs([2, 3]).beside(np.array([1.0, 2.0, 3.0, 9.0, 5.0])).tolist()
        [2.0, 1.0, 9.0, 5.0, 9.0]
        """
        before, after = np.concatenate([values, [0.0]])[self._beside]
        return np.asarray(np.maximum(before, after))

    def each(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return the number of its run for each number, from one for each run."""
        return values[..., self._run]

    def cut(self, values: Float64) -> Iterator[Float64]:
        """Yield each run of values of shape `(n,)`."""
        return (values[low:high] for low, high in pairwise(self._edges))


@lru_cache(maxsize=32)
def runs_of(*counts: int) -> Runs:
    """Return the runs of so many numbers each; those of late are kept."""
    return Runs(counts)
