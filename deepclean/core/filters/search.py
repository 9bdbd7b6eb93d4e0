"""The search for a whole number from which on a condition is met."""

from __future__ import annotations

from collections.abc import Callable


def first_met(meets: Callable[[int], bool], high: int) -> int | None:
    """Return a value that meets a condition which the value below it does not meet.

    It is None where no power of two up to `high` meets the condition.

    >>> first_met(lambda value: value >= 37, high=100)
    37
    >>> first_met(lambda value: value >= 137, high=100) is None
    True
    """
    low, stop = 0, 1
    # Double until the condition is met, then halve the interval.
    while not meets(stop):
        low, stop = stop, stop * 2
        if stop > high:
            return None
    while stop - low > 1:
        middle = (low + stop) // 2
        low, stop = (low, middle) if meets(middle) else (middle, stop)
    return stop
