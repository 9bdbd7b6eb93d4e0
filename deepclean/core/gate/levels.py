"""How loud an estimate is, slot by slot: the fastest thing that the gate looks at.

A level is the root mean square of the bandpassed estimate, in strain. It needs no strain data, so a
slot is judged as soon as it is computed. All levels of a window make the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.gate.cadence import FAST_SEGMENT, SLOT


def slot_levels(estimate: Float64, count: int) -> Float64:
    """Return the level of each of `n` slots, shape `(n,)`.

    >>> slot_levels(np.array([3.0, -3.0, 0.0, 0.0]), 2).tolist()
    [3.0, 0.0]

    Args:
        estimate: shape `(n * count,)`, strain.
        count: samples of a slot.
    """
    squares = np.square(estimate).reshape(-1, count)
    return np.asarray(np.sqrt(np.add.reduce(squares, axis=1) / count))


def usual_level(levels: Sequence[float], count: int) -> float | None:
    """Return the median of the valid levels; None where they are not more than half a window.

    A median, so that a fault of less than half a window does not make itself usual.

    >>> usual_level([1.0, 1.0, 9.0, float("nan")], 4)
    1.0
    >>> usual_level([1.0, 1.0, float("nan"), float("nan")], 4)

    Args:
        levels: of the last slots, strain; NaN where the estimate is not valid.
        count: slots of a window.
    """
    found = sorted(filter(math.isfinite, levels))
    middle = len(found) // 2
    return 0.5 * (found[middle] + found[~middle]) if 2 * len(found) > count else None


def last_level(levels: Sequence[float]) -> float:
    """Return the level over the last fast transform; NaN where one of its slots is not valid.

    >>> last_level([5.0] + 16 * [2.0])
    2.0
    """
    count = FAST_SEGMENT // SLOT
    return math.sqrt(sum(level * level for level in islice(reversed(levels), count)) / count)


def highest_level(levels: Sequence[float]) -> float:
    """Return the highest level within the last fast transform, all of whose slots are valid.

    >>> highest_level([5.0] + 15 * [2.0] + [3.0])
    3.0
    """
    return max(islice(reversed(levels), FAST_SEGMENT // SLOT))


def has_jumped(level: float, known: float, strain: float, jump: float) -> bool:
    """Return whether an estimate has left its usual level at once.

    >>> has_jumped(7.0, known=1.0, strain=2.0, jump=6.0)
    True

    An estimate that has been as loud of late, and was right, has not jumped; nor has one that is
    below the strain's own level in the band, where it can do little harm:

    >>> has_jumped(7.0, known=2.0, strain=2.0, jump=6.0)
    False
    >>> has_jumped(7.0, known=1.0, strain=8.0, jump=6.0)
    False

    Args:
        level: of the slot, strain.
        known: the highest of the usual level (`usual_level`), of a slot within a second in which
            cleaning was better than raw beyond chance, and of a slot that was right when the model
            was judged: noise that is a product of others comes in bursts, minutes apart.
        strain: root mean square of the raw strain in the band.
        jump: factor over what is known.
    """
    return level > max(jump * known, strain)


def has_vanished(level: float, usual: float | None, jump: float) -> bool:
    """Return whether almost nothing is left of an estimate: `jump` times less than usual.

    >>> has_vanished(0.1, 1.0, jump=6.0), has_vanished(0.1, None, jump=6.0)
    (True, False)
    """
    return usual is not None and level * jump < usual
