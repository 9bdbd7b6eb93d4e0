"""The samples of a witness that cannot be believed: frozen ones, and ones at the end of its range.

A channel is frozen where its value has been the same for a while, and is not zero. A line that is
switched off leaves zeros, which are data, but a reader that holds the last value would have the
network subtract from memory. A sample counts as frozen by the samples before it alone, so the check
needs no look-ahead and a bounded history, and its result is the same however the stream was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepclean.core.block import Samples
from deepclean.core.nonfinite import runs
from deepclean.core.time import NS

Run = tuple[int, int]
"""Half-open range `[low, high)` of absolute sample indices."""


@dataclass(frozen=True, slots=True)
class WitnessSettings:
    """Configured by `engine.witnesses`; durations in nanoseconds."""

    frozen: int | None
    limits: Mapping[str, float]


class ConstantRun(NamedTuple):
    """The run of equal samples with which the samples of a channel end so far.

    Args:
        value: the value of all of them, in the channel's unit.
        since: absolute index of the first.
        end: absolute index after the last.
    """

    value: float
    since: int
    end: int


def resting(samples: Samples, before: Samples | None) -> Samples:
    """Return whether each witness begins or ends with equal samples, shape `(witnesses,)`.

    All other runs of equal samples begin and end within these samples.

    >>> samples = np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 2.0]])
    >>> resting(samples, before=None).tolist(), resting(samples, np.array([1.0, 0.0])).tolist()
    ([False, True], [True, True])

    Args:
        samples: shape `(witnesses, n)`, not empty. A single sample counts as equal ones.
        before: the sample of each witness that these follow; None where they follow none.
    """
    equal = samples[:, -1] == samples[:, -min(2, samples.shape[1])]
    return np.asarray(equal if before is None else equal | (samples[:, 0] == before))


def frozen(
    samples: Samples, first: int, rate: int, duration: int, held: ConstantRun | None
) -> tuple[list[Run], ConstantRun]:
    """Return the runs of samples that have repeated the value before them for a while.

    At 16 Hz an eighth of a second is two samples, and the third equal one is the first frozen:

    >>> found, last = frozen(np.array([1.0, 5.0, 5.0, 5.0]), 100, 16, NS // 8, held=None)
    >>> found, last
    ([(103, 104)], ConstantRun(value=5.0, since=101, end=104))
    >>> frozen(np.array([5.0, 6.0]), 104, 16, NS // 8, held=last)
    ([(104, 105)], ConstantRun(value=6.0, since=105, end=106))

    Args:
        samples: shape `(n,)`, not empty.
        first: absolute index of the first.
        rate: samples per second.
        duration: nanoseconds. A sample is frozen where the samples of that much time before it have
            its value too. Zeros are never frozen.
        held: the run with which the samples before these ended; it counts where these follow at
            once.

    Returns:
        The runs of frozen samples, in order, and the run with which these samples end.
    """
    # The samples of that much time: ceil(duration rate), one at least.
    stop, count = first + len(samples), max(1, -(-duration * rate // NS))
    continued = held is not None and held.end == first and held.value == samples[0]
    same = np.empty(len(samples), dtype=bool)
    same[1:] = samples[1:] == samples[:-1]
    same[0] = continued
    # A run begins at each sample that differs from the one before, and at `held.since` where the
    # first sample goes on with the run before.
    begins = np.flatnonzero(~same) + first
    if continued:
        assert held is not None
        begins = np.concatenate(([held.since], begins))
    last = ConstantRun(float(samples[-1]), int(begins[-1]), stop)
    if not same.any():
        return [], last
    ends = np.append(begins[1:], stop)
    # The first `count` samples of a run have fewer equal ones before them: a run is frozen from
    # begin + count on, if it is longer than that.
    long = np.flatnonzero(ends - begins > count)
    found = [(max(int(begins[i]) + count, first), int(ends[i])) for i in long]
    return [(low, high) for low, high in found if low < high and samples[low - first] != 0], last


def clipped(samples: Samples, first: int, limit: float, close: int = 0) -> list[Run]:
    """Return the runs of samples whose magnitude is at least `limit`.

    >>> clipped(np.array([0.0, 10.0, -10.0, 9.0]), first=100, limit=10.0)
    [(101, 103)]

    Args:
        samples: shape `(n,)`.
        first: absolute index of the first.
        limit: the magnitude at the end of the range, in the samples' unit.
        close: runs with at most so many other samples between them count as one.
    """
    return [(first + low, first + high) for low, high in runs(np.abs(samples) >= limit, close)]
