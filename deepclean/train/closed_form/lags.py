"""The grid of lags: nodes as dense as the bands are wide, in ranges that double with distance.

A band of width `B` is described by complex samples `1/B` apart; the nodes are about twice as dense,
for its soft edges and so that the grid's ends do no harm. Two real taps a quarter of a
period apart are one complex gain, so each node has two. The node of no delay has three: a gain, a
phase, and how both change over the band.

Nodes are taken in *ranges*: 0 is the node of no delay, and each range begins at half as many nodes
again as the one before. A resonance needs many far nodes that each say little, and ranges are the
groups whose ridges the evidence chooses.
"""

from __future__ import annotations

from bisect import bisect

from deepclean.train.closed_form.layout import BandLayout

PAST = 2.0
"""Seconds that a lag may reach into the past: the length of a segment."""

_FIRST = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512)
"""First node of each range from 1 on: a factor of the square root of 2 apart."""

RANGES = range(1 - len(_FIRST), len(_FIRST))
"""The numbers of all ranges."""


def range_lags(layout: BandLayout, number: int) -> list[int]:
    """Return the lags of a range in internal samples, none where it is beyond all reach.

    Args:
        layout: of the model.
        number: of the range; negative in the past.
    """
    quarter = layout.quarter
    if number == 0:
        return [-2 * quarter, 0, 2 * quarter]
    reach = layout.ahead - quarter if number > 0 else PAST * layout.internal_rate
    last = int(reach / layout.spacing)
    first, stop = _FIRST[abs(number) - 1 : abs(number) + 1]
    nodes = range(first, min(stop - 1, last) + 1)
    sign = 1 if number > 0 else -1
    return [sign * node * layout.spacing + side for node in nodes for side in (-quarter, quarter)]


def range_of(layout: BandLayout, lag: float) -> int:
    """Return the number of the range whose nodes are nearest to a lag in internal samples."""
    number = bisect(_FIRST[:-1], round(abs(lag) / layout.spacing))
    return -number if lag < 0 else number


def farthest(layout: BandLayout) -> tuple[int, int]:
    """Return how far any lag may reach: internal samples into the past and ahead."""
    before = int(PAST * layout.internal_rate) + 2 * layout.quarter
    return before, layout.ahead
