"""The gains of a coupling's groups at one moment, as a value that travels with the estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HELD = -1
"""The member of gains that are the anchors, because what was learnt did harm."""


@dataclass(frozen=True, slots=True, eq=False)
class Knot:
    """The gains at one GPS second. Between knots they change along straight lines.

    Args:
        second: GPS.
        gains: shape `(G,)`.
        member: index of the window that they come from, or HELD.
        significance: energy of what each group's change subtracts, in units of chance's, shape
            `(G,)`.
        trust: weight of the newest second, from 0 (a glitch, or not usable) to 1.
        deviations: of all windows from the anchors, shape `(M, G)`.
        whole: the gain of the estimate as a whole: what the sum of all groups under their gains has
            in common with the model's estimate. 1 where nothing is learnt.
    """

    second: int
    gains: NDArray[np.complex128]
    member: int
    significance: NDArray[np.float64]
    trust: float
    deviations: NDArray[np.complex128]
    whole: complex = 1.0
