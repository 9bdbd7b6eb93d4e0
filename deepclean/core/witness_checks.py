"""Which samples of a witness cannot be believed: frozen ones, and ones at the end of its range.

A channel is frozen where its value has been the same for a while, and not zero: a line that is
switched off leaves zeros, which are data, while a reader that holds the last value would have it
subtracted from memory. A sample counts as frozen by what came before it alone, so the verdict
needs no look-ahead, a bounded history, and is the same however the stream was cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ConstantRun:
    """The equal samples at the end of what was seen of a channel.

    Args:
        value: of all of them.
        since: absolute index of the first.
        end: just after the last.
    """

    value: float
    since: int
    end: int


def frozen(
    samples: Samples, first: int, rate: int, duration: int, held: ConstantRun | None
) -> tuple[list[Run], ConstantRun]:
    """Return which samples repeat, for at least a while, the value of the one before.

    Args:
        samples: shape `(n,)`, not empty.
        first: absolute index of the first.
        rate: samples per second.
        duration: nanoseconds; a sample is frozen where the samples of that much time before it
            have its value too. Zeros are never frozen.
        held: what the samples before these ended with; it counts where they follow at once.

    Returns:
        The runs of frozen samples, in order, and what these samples end with.
    """
    stop, count = first + len(samples), max(1, -(-duration * rate // NS))
    continued = held is not None and held.end == first and held.value == samples[0]
    ended = len(samples) == 1 or samples[-2] != samples[-1]
    if not continued and len(samples) <= count and ended:
        # The usual case: a run that begins here is too short to be frozen, and has ended.
        return [], ConstantRun(float(samples[-1]), stop - 1, stop)
    same = np.empty(len(samples), dtype=bool)
    same[1:] = samples[1:] == samples[:-1]
    same[0] = continued
    begins = np.flatnonzero(~same) + first
    if continued:
        assert held is not None
        begins = np.concatenate(([held.since], begins))
    last = ConstantRun(float(samples[-1]), int(begins[-1]), stop)
    if not same.any():
        return [], last
    ends = np.append(begins[1:], stop)
    long = np.flatnonzero(ends - begins > count)
    found = [(max(int(begins[i]) + count, first), int(ends[i])) for i in long]
    return [(low, high) for low, high in found if low < high and samples[low - first] != 0], last


def clipped(samples: Samples, first: int, limit: float) -> list[Run]:
    """Return the runs of samples whose magnitude is at least `limit`.

    Args:
        samples: shape `(n,)`.
        first: absolute index of the first.
        limit: in the samples' unit.
    """
    return [(first + low, first + high) for low, high in runs(np.abs(samples) >= limit)]
