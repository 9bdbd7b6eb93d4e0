"""How far a network looks: a value that models carry and the engine plans with."""

from __future__ import annotations

from typing import NamedTuple


class Reach(NamedTuple):
    """How far a network looks, in samples at the model rate.

    A cause precedes its effect, so a filter may need seconds of past and next to no future. Only
    the future costs latency.

    Args:
        before: the samples before an output sample that it may rest on.
        after: the samples after an output sample that it may rest on.
    """

    before: int
    after: int

    @classmethod
    def both(cls, samples: int) -> Reach:
        """Return the reach of a network that looks as far back as ahead.

        >>> Reach.both(96)
        Reach(before=96, after=96)
        """
        return cls(samples, samples)
