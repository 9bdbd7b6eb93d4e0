"""What a gate measures of an estimate, and what it finds against it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Quality:
    """The effect of a coupling's cleaning on the strain over the last window (core.gate.quality).

    >>> Quality(in_band=0.3, worst=0.6, guard=1.0, outside=1.0, net=float("nan")).finite
    False

    Args:
        in_band: the ASD ratio, cleaned over raw, averaged over the band's bins.
        worst: the highest ASD ratio of any bin of the band and its guard bands.
        guard: the ASD ratio averaged over the guard bands beside the band.
        outside: the square root of the mean power ratio at all other frequencies.
        net: the net effect at all frequencies: the ASD ratio of all the band's bins that would be
            worth as much to a search.
    """

    in_band: float
    worst: float
    guard: float
    outside: float
    net: float

    @property
    def finite(self) -> bool:
        """Whether every measure is a number."""
        measures = (self.in_band, self.worst, self.guard, self.outside, self.net)
        return all(map(isfinite, measures))


class GateFinding(NamedTuple):
    """What a gate found against an estimate: a measure, its value, and the limit that it broke.

    >>> str(GateFinding("net", 1.01234, 1.003))
    'net 1.012 (limit 1.003)'

    Args:
        measure: one of `MEASURES` in core.gate.verdicts.
        value: as measured.
        limit: beyond which it counts against the estimate.
    """

    measure: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.measure} {self.value:.4g} (limit {self.limit:.4g})"
