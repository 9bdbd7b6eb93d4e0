"""The gains of one coupling, second by second, from the seconds before.

Everything here is a function of the last seconds of spectra: nothing is summed up over time, so
nothing drifts, and two trackers that saw the same last seconds agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.adapt.settings import AdaptSettings, most_gains
from deepclean.core.adapt.spectra import SECONDS, Bins
from deepclean.core.adapt.window import (
    Window,
    choose,
    does_harm,
    evidence,
    limited,
    members,
    window,
)
from deepclean.core.block import Float64


class Rows(NamedTuple):
    """Usable transforms, oldest first.

    Args:
        seconds: the GPS second at which each begins, shape `(n,)`.
        spectra: of the groups and of what the anchors leave, shape `(n, G + 1, B)`.
    """

    seconds: NDArray[np.int64]
    spectra: Complex


@dataclass(frozen=True, slots=True, eq=False)
class TrackerState:
    """What a tracker remembers: a value that is replaced at each second and never changed.

    Args:
        next: GPS second at which the next transform begins.
        rows: the usable transforms, oldest first: those up to the last knot, then one by one.
        knots: oldest first.
    """

    next: int
    rows: tuple[Rows, ...] = ()
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
        shape = (0, len(anchors) + 1, len(bins))
        self.nothing = Rows(np.zeros(0, dtype=np.int64), np.zeros(shape, dtype=np.complex128))

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
        seen = (strain, groups) if usable else None
        return push_all([Pushed(self, state, second, seen)])[0]

    def row(self, strain: Complex, groups: Complex) -> Complex | None:
        """Return the spectra of the groups and of what the anchors leave, shape `(G + 1, B)`.

        None where they are no numbers.
        """
        row = np.concatenate([groups, (strain * self._response - self.anchors @ groups)[None]])
        # What is so great that its power is no number is as good as missing.
        return row if np.isfinite(np.vdot(row, row)) else None


class Pushed(NamedTuple):
    """One more transform of one tracker.

    Args:
        tracker: that takes it.
        state: as it was.
        second: GPS second at which the transform begins.
        seen: transforms of the strain and of the groups; None where they are not usable.
    """

    tracker: Tracker
    state: TrackerState
    second: int
    seen: tuple[Complex, Complex] | None


@np.errstate(over="ignore", invalid="ignore")
def push_all(pushed: Sequence[Pushed]) -> list[TrackerState]:
    """Return the states of several trackers, each after one more transform (`Tracker.push`).

    The trackers do not see one another. They share the calls into the linear algebra, so that many
    cost little more than one.
    """
    states: list[TrackerState] = []
    for tracker, state, second, _ in pushed:
        if second < state.next:
            raise ValueError(f"GPS second {second} was pushed before")
        states.append(state)
        for skipped in range(max(state.next, second - tracker.settings.memory), second):
            states[-1:] = _advance([tracker], states[-1:], [skipped], [None])
    trackers, _, seconds, seen = zip(*pushed, strict=True)
    rows = [
        None if one is None else tracker.row(*one)
        for tracker, one in zip(trackers, seen, strict=True)
    ]
    return _advance(trackers, states, seconds, rows)


def _advance(
    trackers: Sequence[Tracker],
    states: Sequence[TrackerState],
    seconds: Sequence[int],
    rows: Sequence[Complex | None],
) -> list[TrackerState]:
    """Return states after one more second each, usable or not, with the knots that are due."""
    later: list[TrackerState] = []
    due: list[tuple[int, Moment]] = []
    for tracker, state, second, row in zip(trackers, states, seconds, rows, strict=True):
        kept = state.rows
        if row is not None:
            kept = (*kept, Rows(np.array([second]), row[None]))
        at = second + tracker.settings.lag
        if at % tracker.settings.cadence == 0:
            every = _joined((tracker.nothing, *kept), second - tracker.settings.window)
            due.append((len(later), Moment(tracker, every, state.knots, at)))
            kept = (every,)
        later.append(TrackerState(second + 1, kept, state.knots))
    found = _knots([moment for _, moment in due])
    for (place, (tracker, *_, at)), knot in zip(due, found, strict=True):
        knots, oldest = later[place].knots, at - tracker.settings.kept
        while knots and knots[0].second < oldest:
            knots = knots[1:]
        later[place] = replace(later[place], knots=(*knots, knot))
    return later


def _joined(rows: Sequence[Rows], last: int) -> Rows:
    """Return the transforms as one, without those that begin at a GPS second or before it."""
    seconds, spectra = (np.concatenate(each) for each in zip(*rows, strict=True))
    first = np.searchsorted(seconds, last, side="right")
    return Rows(seconds[first:], spectra[first:])


class Moment(NamedTuple):
    """What the gains of one tracker at one moment are computed from.

    Args:
        tracker: whose gains they are.
        rows: the usable transforms of its window.
        knots: before this one.
        at: GPS second of the knot.
    """

    tracker: Tracker
    rows: Rows
    knots: tuple[Knot, ...]
    at: int


def _knots(moments: Sequence[Moment]) -> list[Knot]:
    """Return the knot of each moment; those whose arrays have one shape are computed together."""
    knots: dict[int, Knot] = {}
    alike: dict[Hashable, list[tuple[int, Moment, Window]]] = {}
    for number, moment in enumerate(moments):
        tracker, rows, _, at = moment
        times = (rows.seconds + (SECONDS // 2 - at)).astype(np.float64)
        seen = window(rows.spectra, times, tracker.anchors, tracker.settings.unit)
        if seen is None:
            knots[number] = _nothing(tracker, at)
        else:
            key = (tracker.settings, seen.inner.shape, seen.whole is None)
            alike.setdefault(key, []).append((number, moment, seen))
    for group in alike.values():
        numbers, together, windows = zip(*group, strict=True)
        knots.update(zip(numbers, _learnt(together, windows), strict=True))
    return [knots[number] for number in range(len(moments))]


def _nothing(tracker: Tracker, at: int) -> Knot:
    """Return the knot of a window that says nothing."""
    none = np.zeros((len(tracker.settings.members), len(tracker.anchors)), dtype=np.complex128)
    return Knot(at, tracker.anchors + none[0], 0, none[0].real, 0.0, none)


def _learnt(moments: Sequence[Moment], windows: Sequence[Window]) -> Iterator[Knot]:
    """Yield the knots of windows of one shape."""
    settings = moments[0].tracker.settings
    said = evidence(windows, settings.unit)
    anchors = np.array([moment.tracker.anchors for moment in moments])
    fitted, slopes = members(said, settings)
    found = limited(said, fitted, anchors, settings.bound)
    chosen = np.zeros(len(moments), dtype=np.intp)
    if found.shape[1] > 1:
        # With several members there is a knot each second.
        none = [np.zeros(found.shape[1:], dtype=np.complex128)] * settings.past
        before = []
        for moment in moments:
            known = [knot.deviations for knot in moment.knots[: -settings.past - 1 : -1]]
            before += known + none[len(known) :]
        past = np.concatenate(before).reshape(len(moments), settings.past, *found.shape[1:])
        chosen = choose(said, past, settings)
    every = np.arange(len(moments))
    deviations, slopes = found[every, chosen], slopes[every, chosen]
    harmful = [
        does_harm(*each) for each in zip(windows, said.trust, deviations, slopes, strict=True)
    ]
    deviations[harmful] = 0.0
    chosen[harmful] = HELD
    gains = anchors + deviations
    significance, whole = said.significance(deviations), said.whole(gains, anchors)
    newest = np.where(said.times[:, -1] == settings.newest, said.trust[:, -1], 0.0)
    for i, moment in enumerate(moments):
        yield Knot(
            moment.at,
            gains[i],
            int(chosen[i]),
            significance[i],
            float(newest[i]),
            found[i],
            complex(whole[i]),
        )
