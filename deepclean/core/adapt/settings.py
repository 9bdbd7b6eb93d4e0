"""How a coupling's gains are learnt: windows, cadence, bounds, and the memory that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.spectra import SECONDS


@dataclass(frozen=True, slots=True)
class Member:
    """One window among those that are tried beside one another.

    Args:
        seconds: length.
        slope: whether the gains may change in it at a steady rate, which is then extrapolated.
    """

    seconds: int
    slope: bool = False


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """How gains are learnt. The knots between which they change stand on the grid of GPS seconds.

    Args:
        members: windows; the first is home, used unless another is better beyond chance.
        cadence: whole seconds from one knot to the next.
        guard: whole seconds that a later stage mixes, and that no statistics may therefore use.
        judged: seconds over which the members are compared.
        unit: seconds that share their own best gains where the floor is measured. A unit must hold
            several times more bins than there are groups.
        bound: how often louder than the model's whole estimate any group's part may become.
        features: how the gains of a model's features are learnt, in cascade before these gains;
            None: there are none.

    Raises:
        ValueError: a time is not positive, home is not the longest window, or units do not fit.
    """

    members: tuple[Member, ...] = (Member(64, True), Member(32, True), Member(16), Member(8))
    cadence: int = 1
    guard: int = 0
    judged: int = 24
    unit: int = 4
    bound: float = 4.0
    features: AdaptSettings | None = None

    def __post_init__(self) -> None:
        lengths = [member.seconds for member in self.members]
        if not lengths or min(*lengths, self.cadence, self.unit, self.judged) < 1 or self.guard < 0:
            raise ValueError("windows, cadence, unit and judged are at least one second")
        if lengths[0] != max(lengths):
            raise ValueError("home, the first window, is the longest")
        if len(lengths) > 1 and self.cadence > 1:
            raise ValueError("a choice among windows needs a knot each second")

    @property
    def window(self) -> int:
        """Seconds of home: as many transforms are kept."""
        return self.members[0].seconds

    @property
    def lag(self) -> int:
        """Seconds from the start of the last transform that a knot may use to the knot."""
        # The knot ends the ramp that begins one cadence earlier, and the guard ends there.
        return SECONDS + self.cadence + self.guard

    @property
    def newest(self) -> int:
        """Middle of the last transform that a knot may use, in seconds from the knot."""
        return SECONDS // 2 - self.lag

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Seconds of each member."""
        return np.array([float(member.seconds) for member in self.members])

    @property
    def sloped(self) -> NDArray[np.float64]:
        """1 for each member with a slope, 0 for one without."""
        return np.array([float(member.slope) for member in self.members])

    @property
    def memory(self) -> int:
        """Seconds before a sample on which its gain may rest, all together."""
        # The sample stands up to one cadence after the knot before it.
        learnt = self.cadence + self.lag + self.window - 1
        # A choice rests on gains of the past, the oldest of them `judged` transforms before.
        learnt += self.past if len(self.members) > 1 else 0
        # In a cascade what is learnt from has gains itself, which rest on the seconds before it.
        return learnt + (0 if self.features is None else self.features.memory)

    @property
    def past(self) -> int:
        """Knots before a knot on whose gains the choice for it rests."""
        return self.judged + self.lag - 2

    @property
    def kept(self) -> int:
        """Seconds for which knots are kept."""
        return max(64, self.past, 4 * self.cadence)


FEATURES = AdaptSettings(members=(Member(256, True),), cadence=16, guard=1, unit=16)
"""One gain for each feature of a closed form, in cascade before the fast gains."""


def most_gains(settings: AdaptSettings, bins: int) -> int:
    """Return how many groups may have gains of their own, for so many bins of a transform.

    >>> most_gains(AdaptSettings(), 21), most_gains(FEATURES, 21)
    (41, 167)
    """
    return bins * settings.unit // 2 - 1
