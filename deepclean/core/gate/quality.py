"""How clean a stream is over a window: running spectra of the strain and of each estimate.

Every second the last 2 s of strain and of each estimate are transformed. As the transform is
linear, the cleaned strain's is their difference, for each coupling by itself. The spectra of the
window are averaged by the median, which a glitch or a signal does not move (Allen et al.
2012, Phys. Rev. D 85, 122006, appendix B).

Nothing is summed up over time, so nothing drifts and the memory ends with the window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.gate.cadence import STEP
from deepclean.core.gate.measures import Quality
from deepclean.core.spectra import SEGMENT, Bins, Complex, density, median, median_bias


class Densities(NamedTuple):
    """Power spectral densities over one slow transform, strain^2 / Hz.

    Args:
        start: of the transform, GPS nanoseconds.
        before: of the raw strain in the band and its guard bands (`Bins.near`).
        after: of the cleaned strain there.
        outside_before: of the raw strain everywhere else (`Bins.outside`).
        outside_after: of the cleaned strain there.
    """

    start: int
    before: Float64
    after: Float64
    outside_before: Float64
    outside_after: Float64


@dataclass(frozen=True, slots=True, eq=False)
class StrainLevel:
    """What the strain holds of a coupling's band, at the slow transform's bins there.

    Args:
        usual: power spectral density of the raw strain, strain^2 / Hz.
        floor: that of the cleaned strain, or of the raw one where that is lower.
        rms: root mean square of the raw strain in the band.
    """

    usual: Float64
    floor: Float64
    rms: float


@dataclass(slots=True)
class RunningSpectra:
    """The slow transforms of the last window: of the strain, and of one coupling's estimate.

    Args:
        bins: of the coupling.
        duration: nanoseconds of the window, whole seconds.
        held: the densities of the window, oldest first.
    """

    bins: Bins
    duration: int
    held: deque[Densities] = field(default_factory=deque)

    def clear(self) -> None:
        """Drop all transforms."""
        self.held.clear()

    def drop_before(self, instant: int) -> None:
        """Drop the transforms that begin before the window that ends at `instant` (GPS ns)."""
        while self.held and self.held[0].start < instant - self.duration:
            self.held.popleft()

    def add(self, start: int, raw: Complex, estimate: Complex) -> None:
        """Add a transform of the strain and of the estimate, both from `start` (GPS ns)."""
        before, after = density(raw, SEGMENT), density(raw - estimate, SEGMENT)
        near, outside = self.bins.near, self.bins.outside
        self.held.append(
            Densities(start, before[near], after[near], before[outside], after[outside])
        )

    @property
    def full(self) -> bool:
        """Whether there are all transforms that it can hold."""
        return len(self.held) == self._most

    @property
    def enough(self) -> bool:
        """Whether it is filled by more than half."""
        return 2 * len(self.held) > self._most

    @property
    def _most(self) -> int:
        return (self.duration - SEGMENT) // STEP + 1

    def measure(self) -> tuple[Quality, StrainLevel]:
        """Return what the transforms say together; there is at least one."""
        return measure(self.held, self.bins)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def measure(held: Sequence[Densities], bins: Bins) -> tuple[Quality, StrainLevel]:
    """Return how clean the strain is, and what it is like in the band.

    With `B` and `A` the densities of the raw and of the cleaned strain, the ratio of a bin is
    `sqrt(median(A) / median(B))`. The logarithm of such a ratio has no bias where `A` and `B` have
    the same distribution but for a factor, so the net effect is 1 where nothing is gained. A strain
    of zeros has no ratio, and a quality that is not finite.

    >>> bins = Bins([(10.0, 10.5)], guard=0.5, stop=12.0, duration=SEGMENT)
    >>> flat = Densities(0, np.full(3, 4.0), np.full(3, 1.0), np.ones(2), np.ones(2))
    >>> quality, level = measure([flat], bins)
    >>> quality.in_band, quality.worst, quality.guard, quality.outside
    (0.5, 0.5, 0.5, 1.0)

    The guard band's bin is charged to the band's two: 3/2 as much is gained in each of them.

    >>> round(quality.net, 6) == round(0.5**1.5, 6)
    True
    >>> level.usual.tolist(), level.floor.tolist(), level.rms
    ([4.0, 4.0], [1.0, 1.0], 2.0)

    Args:
        held: of the transforms of a window, at least one.
        bins: of the coupling.
    """
    inside = len(bins.inside)
    before, after = (
        np.stack(each) for each in zip(*((one.before, one.after) for one in held), strict=True)
    )
    lower, upper = median(before), median(after)
    ratio = np.sqrt(upper / lower)
    # What one bin does, the median of few transforms shows by chance too; its mean does less.
    means = np.sqrt(after.sum(axis=0) / before.sum(axis=0))
    outside = sum(one.outside_after for one in held) / sum(one.outside_before for one in held)
    # How far a search for a signal at a frequency f reaches goes as 1 / sqrt(S(f)), so cleaning
    # changes the logarithm of its reach by -ln(A / B) / 2. Averaged over signals at any frequency,
    # each as likely as any other, that is the sum over the bins, each with the weight of its width.
    # (The squared signal-to-noise ratio of a broadband signal h, the integral of |h|^2 / S, changes
    # by -ln(A / B) in each bin too where the changes are small; |h|^2 / S weighs neighbouring bins
    # alike.) The sum is stated as the ratio that the band's own bins would have for it.
    worth = np.log(ratio).sum() + 0.5 * np.log(outside).sum()
    quality = Quality(
        in_band=float(ratio[:inside].mean()),
        worst=float(np.minimum(ratio, means).max()),
        guard=float(ratio[inside:].mean()) if inside < len(ratio) else 1.0,
        outside=float(np.sqrt(np.mean(outside))) if len(bins.outside) else 1.0,
        net=float(np.exp(worth / inside)),
    )
    # The mean of a density follows from the median; its integral over the band is the power there.
    bias = median_bias(len(held))
    usual, floor = lower[:inside] / bias, np.minimum(upper, lower)[:inside] / bias
    return quality, StrainLevel(usual, floor, float(np.sqrt(usual.sum() * bins.width)))
