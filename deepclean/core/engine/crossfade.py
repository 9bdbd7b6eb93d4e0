"""The crossfade from one version to another: the version in force at an instant, and the mixture.

From the switch on the old version's weight falls and the new one's rises, as a raised cosine. The
two add up to 1, so the subtracted noise lies between the two estimates at every sample. Where both
estimate the same noise the crossfade leaves no trace.
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
    """Return the version in force at an instant, and the switch that put it there, if it is known.

    >>> one, two = Version("A", 1), Version("A", 2)
    >>> switches = [Switch(100, "A", "production", before=one, after=two)]
    >>> in_force(switches, "A", "production", 99, now=two)[0].number
    1
    >>> in_force(switches, "A", "production", 100, now=two)[0].number
    2

    Args:
        switches: the switches of all couplings, in order of time.
        coupling: the coupling's name.
        role: the role of the version.
        instant: GPS nanoseconds.
        now: the version in force after all switches; None where the role is vacant.
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

    >>> weight(Span.of_samples(0, 6, 16), 16, instant=NS // 16, crossfade=NS // 4).round(3).tolist()
    [0.0, 0.038, 0.309, 0.691, 0.962, 1.0]

    Args:
        span: the span whose samples are returned.
        rate: samples per second.
        instant: the switch, GPS nanoseconds.
        crossfade: length of the crossfade, nanoseconds.

    Returns:
        Shape `(span.samples(rate),)`.
    """
    first, stop = span.indices(rate)
    # sin^2(pi x / 2), the raised cosine, at the middle of each sample: so the n weights of a
    # crossfade are symmetric, w[i] + w[n - 1 - i] = 1, and the first sample counts already.
    passed = np.arange(first, stop) - index_at(instant, rate) + 0.5
    done = passed / max(crossfade * rate / NS, 1.0)
    return np.asarray(np.sin(0.5 * np.pi * np.clip(done, 0.0, 1.0)) ** 2)


def mixed(before: Estimate, after: Estimate, rising: Float64) -> Estimate:
    """Return the estimate while `after` takes over from `before`.

    >>> before, after = (Estimate(np.full(1, noise), np.ones(1), 1) for noise in (2.0, 4.0))
    >>> mixed(before, after, rising=np.array([0.25])).noise.tolist()
    [2.5]

    Args:
        before: the estimate of the version that goes.
        after: the estimate of the version that comes, for the same samples.
        rising: the weight of the version that comes, shape `(n,)`.
    """
    falling = 1 - rising

    def mean(old: Float64 | None, new: Float64 | None) -> Float64 | None:
        # Of the same value as (1 - w) old + w new, but where both gains are 1 it is exactly 1.
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
        after.closed_by,
        after.obstacle,
        after.knots,
        ((falling, before), (rising, after)),
        tuple(dict.fromkeys((*after.without, *before.without))),
        after.control,  # the operator's gain is of the coupling, so it is the same for both
        after.frozen,
    )
