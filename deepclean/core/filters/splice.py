"""Join the forecast of a hop to the better estimate of the next one, without a step.

The end of a hop that did not wait rests on forecasts. The next hop knows better, but the samples
that were given out stand. So the next hop begins where the last one ended, with the same value and
slope, and the difference between the two estimates dies away. That difference lies in the
coupling's bands. It is continued as a sine at each band's middle, fitted to its last samples, under
a falling raised cosine. To fade out the old forecast itself would cost more, because a forecast
goes wrong ever faster (docs/zero-wait.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepclean.core.block import Float64


def back(rate: int) -> int:
    """Return the number of samples before a splice to which the difference is fitted: 1/64 s.

    >>> back(4096), back(128)
    (64, 4)
    """
    # About one period of 60 Hz: short against the beat of frequencies in a band (1/10 s in 10 Hz),
    # long enough to tell the value from the slope. Four samples at least, for two unknowns.
    return max(rate // 64, 4)


class Splice:
    """The correction that is added after a splice.

    >>> splice = Splice(middles=[64.0], rate=1024, length=128)
    >>> difference = np.cos(2 * np.pi * 64.0 * np.arange(-15, 1) / 1024)
    >>> splice.after(difference)[[0, 8, 16]].round(3).tolist()
    [1.0, -0.99, 0.962]
    >>> splice.weight[[0, 8, 16]].round(3).tolist()
    [1.0, 0.99, 0.962]

    Args:
        middles: the middles of the bands in Hz.
        rate: samples per second.
        length: the number of samples after which nothing of the difference is left.

    Attributes:
        weight: the factor on the continued difference, shape `(length,)`, falling from 1.
    """

    def __init__(self, middles: Sequence[float], rate: int, length: int) -> None:
        def sines(samples: Float64) -> Float64:
            """Return cosine and sine of each band's middle, shape `(n, 2 * bands)`."""
            turns = 2 * np.pi * np.outer(samples, middles) / rate
            return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)

        # Time 0 is the first sample after the splice. The difference d is known from 1 - back to 0,
        # as the hop before had forecast that sample too. Its coefficients c minimise
        #     sum_t u[t]^2 (d[t] - sum_j S[t, j] c[j])^2,    so    c = pinv(u S) u d.
        # The trust u falls by exp(-4) = 0.02 back to the first sample, so the last few, which hold
        # value and slope at the splice, decide.
        before = np.arange(1.0 - back(rate), 1.0)
        trust = np.exp(4 * before / back(rate))
        fit = np.linalg.pinv(sines(before) * trust[:, None]) * trust
        # The weight cos^2(pi t / (2 length)) is 1 at the splice and 0 at its end, with slope 0 at
        # both: value and slope of the difference go on, and nothing is left to step at the end. All
        # of it is linear in d, so one matrix, made once, does it.
        after = np.arange(float(length))
        self.weight = np.cos(0.5 * np.pi * after / length) ** 2
        self._continue = self.weight[:, None] * sines(after) @ fit

    def after(self, difference: Float64) -> Float64:
        """Return the correction to the new estimate, shape `(length,)`, in the difference's unit.

        Args:
            difference: the old estimate minus the new one, shape `(back(rate),)`. Its last sample
                is the first after the splice.
        """
        return np.asarray(self._continue @ difference)
