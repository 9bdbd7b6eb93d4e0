"""The adapted estimate: each group times its gain.

Between two knots a gain goes along the straight line from the one's value to the other's, so what
is subtracted never jumps. The knot ahead is known when the line towards it begins.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.block import Float64


def adapted(
    groups: Complex | Float64,
    first: int,
    rate: int,
    knots: Iterable[Knot],
    anchors: Float64,
    settings: AdaptSettings,
) -> Complex:
    """Return `sum_g gain_g(t) e_g(t)`, shape `(n,)`.

    Of analytic signals this is the analytic signal of the adapted estimate: its real part is the
    noise. With gains that are the anchors 1 and 0 it is the first group, bit for bit.

    Args:
        groups: shape `(G, n)`: analytic signals, or real features before the bandpass.
        first: index of their first sample, counted from GPS 0.
        rate: samples per second.
        knots: of the tracker; the anchors are in force where there is none.
        anchors: shape `(G,)`.
        settings: of the tracker.
    """
    cadence, stop = settings.cadence, first + groups.shape[1]
    step = cadence * rate
    known = {knot.second: knot.gains for knot in knots}
    total = np.zeros(groups.shape[1], dtype=np.complex128)
    for number in range(first // step, -(-stop // step)):
        low, high = max(first, number * step), min(stop, (number + 1) * step)
        along = (np.arange(low, high) - number * step) / step
        start = known.get(number * cadence, anchors)
        change = known.get((number + 1) * cadence, anchors) - start
        part = total[low - first : high - first]
        # Sample by sample and group by group: the same bits wherever the stream is cut.
        for group, begin, slope in zip(
            groups[:, low - first : high - first], start, change, strict=True
        ):
            part += (begin + along * slope) * group
    return total
