"""The adapted estimate: each group times its gain.

Between two knots a gain goes along the straight line from the one's value to the other's, so what
is subtracted never jumps. The knot ahead is known when the line towards it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.block import Float64


class Departures(NamedTuple):
    """How far gains are from their anchors over some samples.

    Args:
        ends: the distance at the `K` knots around them, shape `(K, G)`.
        stretches: between each knot and the next: the samples, and how far along each of them is,
            from 0 at the one to 1 at the other, shape `(n,)`.
    """

    ends: Complex
    stretches: Sequence[tuple[slice, Float64]]


def departures(
    first: int,
    count: int,
    rate: int,
    knots: Iterable[Knot],
    anchors: Float64,
    settings: AdaptSettings,
) -> Departures:
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
    begin, end = first // step, -(-stop // step)
    known = {knot.second: knot.gains for knot in knots}
    gains, ends = anchors.astype(np.complex128), []
    for number in range(begin, end + 1):
        gains = known.get(number * cadence, gains)
        ends.append(gains)
    stretches = []
    for start in range(begin * step, end * step, step):
        low, high = max(first, start), min(stop, start + step)
        along = np.arange(low - start, high - start) / step
        stretches.append((slice(low - first, high - first), along))
    return Departures(np.array(ends) - anchors, stretches)


def departed(groups: Complex | Float64, departures: Departures) -> Complex:
    """Return `sum_g (gain_g(t) - anchor_g) e_g(t)`, shape `(n,)`.

    Args:
        groups: shape `(G, n)`: analytic signals, or real features before the bandpass.
        departures: over the samples.
    """
    total = np.zeros(groups.shape[1], dtype=np.complex128)
    ends = departures.ends
    for number, (part, along) in enumerate(departures.stretches):
        lines = ends[number], ends[number + 1] - ends[number]
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


def departed_noise(noises: Float64, departures: Departures) -> Float64:
    """Return the real part of what `departed` gives, from what it would be under fixed gains.

    Args:
        noises: under the gains of each knot, shape `(K, n)`.
        departures: over the samples.
    """
    noise = np.empty(noises.shape[1])
    for number, (part, along) in enumerate(departures.stretches):
        before, after = noises[number : number + 2, part]
        noise[part] = before + along * (after - before)
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
    found = departures(first, groups.shape[1], rate, knots, anchors, settings)
    total = np.asarray(groups[anchors == 1].sum(axis=0))
    # A group whose gain is its anchor adds nothing.
    which = np.flatnonzero(found.ends.any(axis=0))
    found = found._replace(ends=found.ends[:, which])
    return total + departed(groups[which], found) if len(which) else total
