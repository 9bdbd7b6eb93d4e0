"""The gains of one coupling, second by second, from the seconds before.

Everything here is a function of the last seconds of spectra: nothing is summed up over time, so
nothing drifts, and two trackers that saw the same last seconds agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.adapt.settings import AdaptSettings, most_gains
from deepclean.core.adapt.spectra import Bins
from deepclean.core.adapt.window import choose, does_harm, evidence, limited, members
from deepclean.core.block import Float64


@dataclass(frozen=True, slots=True, eq=False)
class TrackerState:
    """What a tracker remembers: a value that is replaced at each second and never changed.

    Args:
        next: GPS second at which the next transform begins.
        rows: of the usable transforms, oldest first: the second at which each begins, and the
            spectra of the groups and of what the anchors leave, shape `(G + 1, B)`.
        knots: oldest first.
    """

    next: int
    rows: tuple[tuple[int, Complex], ...] = ()
    knots: tuple[Knot, ...] = ()


class Tracker:
    """Learns a coupling's gains.

    Args:
        settings: windows, cadence and bounds.
        bins: of the coupling's bands.
        response: of its bandpass at these bins.
        anchors: the gains where nothing better is known, shape `(G,)`: 1 for a part of the model's
            estimate, 0 for what may be added to it.

    Raises:
        ValueError: a unit of time holds too few bins for so many groups.
    """

    def __init__(
        self, settings: AdaptSettings, bins: Bins, response: Float64, anchors: Sequence[float]
    ) -> None:
        if len(anchors) > most_gains(settings, len(bins)):
            raise ValueError(f"{len(bins)} bins a second are too few for {len(anchors)} gains")
        self.settings = settings
        self.bins = bins
        self.anchors = np.array(anchors, dtype=np.float64)
        self._response = response

    @np.errstate(over="ignore", invalid="ignore")
    def push(
        self, state: TrackerState, second: int, strain: Complex, groups: Complex, usable: bool
    ) -> TrackerState:
        """Return the state after one more transform.

        Args:
            state: as it was.
            second: GPS second at which the transform begins, at or after `state.next`. The seconds
                between are not usable.
            strain: transform of the raw strain, shape `(B,)`.
            groups: of the groups, shape `(G, B)`.
            usable: whether all of its samples are there, analysis-ready and from good witnesses.

        Raises:
            ValueError: the second was pushed before.
        """
        if second < state.next:
            raise ValueError(f"GPS second {second} was pushed before")
        for skipped in range(max(state.next, second - self.settings.memory), second):
            state = self._advance(state, skipped, None)
        row = np.concatenate([groups, (strain * self._response - self.anchors @ groups)[None]])
        # What is so great that its power is no number is as good as missing.
        usable = usable and bool(np.isfinite(np.vdot(row, row)))
        return self._advance(state, second, row if usable else None)

    def _advance(self, state: TrackerState, second: int, row: Complex | None) -> TrackerState:
        settings = self.settings
        rows = state.rows + (((second, row),) if row is not None else ())
        while rows and rows[0][0] <= second - settings.window:
            rows = rows[1:]
        at = second + settings.lag
        knots = state.knots
        if at % settings.cadence == 0:
            while knots and knots[0].second < at - settings.kept:
                knots = knots[1:]
            knots += (self._knot(rows, knots, at),)
        return TrackerState(second + 1, rows, knots)

    def _knot(
        self, rows: tuple[tuple[int, Complex], ...], knots: tuple[Knot, ...], at: int
    ) -> Knot:
        settings, groups = self.settings, len(self.anchors)
        times = np.array([float(second - at + 1) for second, _ in rows])
        spectra = np.array([row for _, row in rows])
        said = evidence(spectra, times, self.anchors, settings.unit)
        if said is None:
            none = np.zeros((len(settings.members), groups), dtype=np.complex128)
            return Knot(at, self.anchors + none[0], 0, none[0].real, 0.0, none)
        fitted, slopes = members(said, settings)
        found = limited(said, fitted, self.anchors, settings.bound)
        member = 0
        if len(found) > 1:
            past = np.zeros((settings.past, *found.shape), dtype=np.complex128)
            for knot in knots[-settings.past :]:
                if (ago := at - knot.second) <= len(past):
                    past[ago - 1] = knot.deviations
            member = choose(said, past, settings)
        deviation = found[member]
        trust = float(said.trust[-1]) if times[-1] == settings.newest else 0.0
        if does_harm(said, spectra, deviation, slopes[member]):
            member, deviation = HELD, np.zeros_like(deviation)
        gains = self.anchors + deviation
        significance = said.significance(deviation)
        whole = said.whole(gains, self.anchors)
        return Knot(at, gains, member, significance, trust, found, whole)
