"""The gains in force: those that were learnt, and in a freeze those that it holds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from deepclean.core.adapt.held import HeldGains, HeldKey
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.adapt.tracker import Tracker
from deepclean.core.block import Version
from deepclean.core.control import Freeze
from deepclean.core.engine.state import AdaptationState
from deepclean.core.time import NS, Span


def knots_over(state: AdaptationState | None, span: Span) -> tuple[Knot, ...] | None:
    """Return the gains as of the end of each GPS second that a span touches.

    None where the gains are fixed.
    """
    if state is None:
        return None
    return _knots_in_force(state, span.start // NS + 1, -(-span.end // NS))


def knots_around(
    state: AdaptationState, tracker: Tracker, first: int, count: int, rate: int
) -> tuple[Knot, ...]:
    """Return the knots from the one at or before a sample to the one at or after `count` more."""
    cadence = tracker.settings.cadence
    return _knots_in_force(state, first // rate - cadence, (first + count) // rate + cadence)


def hold(tracker: Tracker, state: AdaptationState) -> None:
    """Note the gains that a freeze holds as soon as they are known."""
    settings = tracker.settings
    for freeze in state.freezes:
        if freeze.start in state.held:
            continue
        second = -(-freeze.start // settings.cadence) * settings.cadence
        known = [knot for knot in state.tracker.knots if knot.second == second]
        if not known and state.tracker.next + settings.lag > second:
            # The stream began too late for that knot: what the freeze holds is the anchors.
            anchors = tracker.anchors.astype(np.complex128)
            none = np.zeros((1, len(anchors)), dtype=np.complex128)
            known = [Knot(second, anchors, HELD, none[0].real, 0.0, none)]
        state.held.update((freeze.start, knot) for knot in known)


def _second(knot: Knot) -> int:
    return knot.second


def _knots_in_force(state: AdaptationState, first: int, last: int) -> tuple[Knot, ...]:
    """Return the knots from one GPS second to another, those in a freeze with what it holds."""
    knots = state.tracker.knots
    low = bisect_left(knots, first, key=_second)
    known = knots[low : bisect_right(knots, last, lo=low, key=_second)]
    if not state.freezes:
        return known
    found = {knot.second: knot for knot in known}
    for freeze in state.freezes:
        held = state.held.get(freeze.start)
        if held is not None:
            seconds = range(max(first, held.second), min(last, freeze.stop) + 1)
            found |= {second: replace(held, second=second) for second in seconds}
    return tuple(found[second] for second in sorted(found))


def set_freezes(
    state: AdaptationState,
    freezes: tuple[Freeze, ...],
    version: Version,
    held: Mapping[HeldKey, HeldGains],
) -> None:
    """Tell the gains of a version of the freezes, and of what they are known to hold."""
    for features, part in _parts(state):
        part.freezes = freezes
        for freeze in freezes:
            known = held.get((version, features, freeze.start))
            if known is not None:
                part.held[freeze.start] = known.knot


def held_gains(state: AdaptationState | None, version: Version) -> Iterator[HeldGains]:
    """Yield the gains of a version that its freezes hold."""
    for features, part in _parts(state):
        for start, knot in part.held.items():
            yield HeldGains(version, features, start, knot)


def _parts(state: AdaptationState | None) -> Iterator[tuple[bool, AdaptationState]]:
    """Yield the states of a version's gains, and whether they are those of its features."""
    if state is not None:
        yield False, state
        if state.features is not None:
            yield True, state.features
