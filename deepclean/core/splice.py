"""Join what a hop had forecast to what the next one knows, without a step.

The end of a hop that did not wait rests on forecasts. The next hop knows better, but what was given
out stands: it begins where the last one ended, with the same value and slope, and what separates
the two dies away. That difference lies in the coupling's bands; it is continued as a sine at
each band's middle, fitted to its last samples, under a falling raised cosine. To fade out the old
forecast itself would cost more, for that goes wrong ever faster (docs/zero-wait.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepclean.core.block import Float64


def back(rate: int) -> int:
    """Return the samples before a seam to which the difference is fitted: 1/64 s."""
    return max(rate // 64, 4)


class Splice:
    """What is added after a seam.

    Args:
        middles: of the bands, Hz.
        rate: Hz.
        length: samples after which nothing of the difference is left.

    Attributes:
        weight: shape `(length,)`, falling from 1.
    """

    def __init__(self, middles: Sequence[float], rate: int, length: int) -> None:
        def sines(samples: Float64) -> Float64:
            turns = 2 * np.pi * np.outer(samples, middles) / rate
            return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)

        before = np.arange(1.0 - back(rate), 1.0)
        trust = np.exp(4 * before / back(rate))  # the last ones matter
        fit = np.linalg.pinv(sines(before) * trust[:, None]) * trust
        after = np.arange(float(length))
        self.weight = np.cos(0.5 * np.pi * after / length) ** 2
        self._continue = self.weight[:, None] * sines(after) @ fit

    def after(self, difference: Float64) -> Float64:
        """Return what is to be added to the new estimate, shape `(length,)`.

        Args:
            difference: the old one minus the new one, shape `(back(rate),)`; the last sample is the
                first after the seam.
        """
        return np.asarray(self._continue @ difference)
