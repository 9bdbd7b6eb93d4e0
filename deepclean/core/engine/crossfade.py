"""One version takes over from another: which is in force at an instant, and how they are mixed.

From the switch on, over the crossfade, the old one's weight falls and the new one's rises, as a
raised cosine; the two add up to 1. Where both estimate the same noise, nothing is seen of it: what
is subtracted lies between the two at every sample.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deepclean.core.block import Estimate, Float64, Version
from deepclean.core.engine.state import Role, Switch
from deepclean.core.time import NS, Span, index_at


def in_force(
    switches: Iterable[Switch], coupling: str, role: Role, instant: int, now: Version | None
) -> tuple[Version | None, Switch | None]:
    """Return the version in force at an instant, and the switch that brought it, if it is known.

    Args:
        switches: in order.
        coupling: whose.
        role: likewise.
        instant: GPS nanoseconds.
        now: in force after all of them.
    """
    last = None
    for switch in switches:
        if (switch.coupling, switch.role) != (coupling, role):
            continue
        if switch.instant > instant:
            return switch.before, last
        last = switch
    return now, last


def weight(span: Span, rate: int, instant: int, crossfade: int) -> Float64:
    """Return the weight of the version that takes over at `instant`, sample by sample.

    Args:
        span: where.
        rate: Hz.
        instant: GPS nanoseconds.
        crossfade: nanoseconds, of which the first sample is in force already.
    """
    first, stop = span.indices(rate)
    passed = np.arange(first, stop) - index_at(instant, rate) + 0.5
    done = passed / max(crossfade * rate / NS, 1.0)
    return np.asarray(np.sin(0.5 * np.pi * np.clip(done, 0.0, 1.0)) ** 2)


def mixed(before: Estimate, after: Estimate, rising: Float64) -> Estimate:
    """Return the estimate while `after` takes over from `before`.

    Args:
        before: of the version that goes.
        after: of the one that comes.
        rising: its weight, shape `(n,)`.
    """
    falling = 1 - rising

    def mean(old: Float64 | None, new: Float64 | None) -> Float64 | None:
        # Not the weighted sum: where both are 1, the mean is exactly 1.
        return None if old is None or new is None else old + rising * (new - old)

    gain, noise = mean(before.gain, after.gain), mean(before.noise, after.noise)
    assert gain is not None
    assert noise is not None
    return Estimate(
        noise,
        gain,
        after.version,
        tuple(dict.fromkeys((*after.reasons, *before.reasons))),
        mean(before.valid, after.valid),
        mean(before.gate, after.gate),
        (*before.unsettled, *after.unsettled),
        after.quality,
        ((falling, before), (rising, after)),
    )
