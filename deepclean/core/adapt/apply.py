"""The adapted estimate: each group times its gain.

Between two knots a gain goes along the straight line from the one's value to the other's, so what
is subtracted never jumps. The knot ahead is known when the line towards it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.block import Float64


class Stretch(NamedTuple):
    """How far gains are from their anchors between two knots.

    Args:
        part: the samples.
        along: of each sample, from 0 at the knot before to 1 at the knot after, shape `(n,)`.
        start: the gains' distance from the anchors at the knot before, shape `(G,)`.
        change: from the one knot to the other, shape `(G,)`.
    """

    part: slice
    along: Float64
    start: Complex
    change: Complex


def departures(
    first: int,
    count: int,
    rate: int,
    knots: Iterable[Knot],
    anchors: Float64,
    settings: AdaptSettings,
) -> list[Stretch]:
    """Return how far gains are from their anchors over some samples.

    Args:
        first: index of the first sample, counted from GPS 0.
        count: the number of samples.
        rate: samples per second.
        knots: of the tracker; the anchors are in force before the first, and the last one's gains
            stay after it.
        anchors: shape `(G,)`.
        settings: of the tracker.
    """
    cadence, stop = settings.cadence, first + count
    step = cadence * rate
    known = {knot.second: knot.gains - anchors for knot in knots}
    end = np.zeros(len(anchors), dtype=np.complex128)
    found = []
    for number in range(first // step, -(-stop // step)):
        low, high = max(first, number * step), min(stop, (number + 1) * step)
        along = (np.arange(low, high) - number * step) / step
        start = known.get(number * cadence, end)
        end = known.get((number + 1) * cadence, start)
        found.append(Stretch(slice(low - first, high - first), along, start, end - start))
    return found


def departing(stretches: Sequence[Stretch]) -> NDArray[np.intp]:
    """Return the groups whose gains are not their anchors throughout."""
    ends = np.array([end for one in stretches for end in (one.start, one.change)])
    return np.nonzero(ends.any(axis=0))[0]


def departed(
    groups: Complex | Float64, stretches: Sequence[Stretch], which: NDArray[np.intp]
) -> Complex:
    """Return `sum_g (gain_g(t) - anchor_g) e_g(t)`, shape `(n,)`.

    Args:
        groups: those of `which`, shape `(len(which), n)`: analytic signals, or real features before
            the bandpass.
        stretches: that cover the samples.
        which: the groups.
    """
    total = np.zeros(groups.shape[1], dtype=np.complex128)
    for part, along, start, change in stretches:
        lines = start[which], change[which]
        if np.iscomplexobj(groups):
            # Sample by sample and group by group: the same bits wherever the stream is cut.
            for group, begin, slope in zip(groups[:, part], *lines, strict=True):
                total[part] += (begin + along * slope) * group
        else:
            # One product of real matrices: features are many, and always those of a whole hop.
            weights = np.stack([form for line in lines for form in (line.real, line.imag)])
            real, imaginary, steeper, turning = weights @ groups[:, part]
            total[part] = real + along * steeper + 1j * (imaginary + along * turning)
    return total


def departed_noise(
    parts: Float64, stretches: Sequence[Stretch], which: NDArray[np.intp]
) -> Float64:
    """Return the real part of what `departed` gives, from the groups' real and imaginary parts.

    Args:
        parts: of the groups of `which`, shape `(len(which), 2, n)`.
        stretches: that cover the samples.
        which: the groups.
    """
    rows = parts.reshape(-1, parts.shape[2])
    noise = np.empty(rows.shape[1])
    for part, along, start, change in stretches:
        # Re(g e) = Re g Re e - Im g Im e.
        lines = np.array([start[which], change[which]]).conj()
        level, slope = lines.view(np.float64) @ rows[:, part]
        noise[part] = level + along * slope
    return noise


def adapted(
    groups: Complex | Float64,
    first: int,
    rate: int,
    knots: Iterable[Knot],
    anchors: Float64,
    settings: AdaptSettings,
) -> Complex | Float64:
    """Return `sum_g gain_g(t) e_g(t)`, shape `(n,)`.

    Of analytic signals this is the analytic signal of the adapted estimate: its real part is the
    noise. With gains that are the anchors 1 and 0 it is the sum of the groups with a 1, bit for
    bit, and real where these are.

    Args:
        groups: shape `(G, n)`: analytic signals, or real features before the bandpass.
        first: index of their first sample, counted from GPS 0.
        rate: samples per second.
        knots: of the tracker, as `departures` takes them.
        anchors: shape `(G,)`, each 1 or 0.
        settings: of the tracker.
    """
    stretches = departures(first, groups.shape[1], rate, knots, anchors, settings)
    total = np.asarray(groups[anchors == 1].sum(axis=0))
    which = departing(stretches)
    return total + departed(groups[which], stretches, which) if len(which) else total
