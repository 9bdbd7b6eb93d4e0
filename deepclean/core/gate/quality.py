"""How clean a stream is over a window: running spectra of the strain and of each estimate.

Every second the last 2 s of strain and of each estimate are transformed. As the transform is
linear, the cleaned strain's is their difference, for each coupling by itself. The spectra of the
window are averaged by the median, which a glitch or a signal does not move (Allen et al.
2012, Phys. Rev. D 85, 122006, appendix B).

Nothing is summed up over time, so nothing drifts and the memory ends with the window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.gate.cadence import STEP
from deepclean.core.gate.measures import Quality
from deepclean.core.gate.runs import runs_of
from deepclean.core.spectra import SEGMENT, Bins, Complex, density, median, median_bias


class Densities(NamedTuple):
    """Power spectral densities over one slow transform, strain^2 / Hz.

    Args:
        start: of the transform, GPS nanoseconds.
        before: of the raw strain in all bins.
        after: of the cleaned strain in all bins.
        near: of the cleaned strain in the band and its guard bands (`Bins.near`).
    """

    start: int
    before: Float64
    after: Float64
    near: Float64


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

    def add(self, start: int, raw: Complex, before: Float64, estimate: Complex) -> None:
        """Add a transform of the strain and of the estimate.

        Args:
            start: of both, GPS nanoseconds.
            raw: of the strain, shape `(bins,)`.
            before: its density, which couplings share.
            estimate: of the estimate, shape `(bins,)`.
        """
        after = density(raw - estimate, SEGMENT)
        self.held.append(Densities(start, before, after, after[self.bins.near]))

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


def measure(windows: Sequence[RunningSpectra]) -> list[tuple[Quality, StrainLevel]]:
    """Return what the transforms of each window say together; each holds at least one.

    Args:
        windows: of couplings, over one strain. Those that hold the same seconds share the work.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, window in enumerate(windows):
        alike.setdefault(tuple(one.start for one in window.held), []).append(number)
    found: dict[int, tuple[Quality, StrainLevel]] = {}
    for numbers in alike.values():
        measured = _measure([windows[number] for number in numbers])
        found.update(zip(numbers, measured, strict=True))
    return [found[number] for number in range(len(windows))]


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def _measure(windows: Sequence[RunningSpectra]) -> list[tuple[Quality, StrainLevel]]:
    """Return how clean the strain is, and what it is like in the band, by windows of one time.

    With `B` and `A` the densities of the raw and of the cleaned strain, the ratio of a bin is
    `sqrt(median(A) / median(B))`. The logarithm of such a ratio has no bias where `A` and `B` have
    the same distribution but for a factor, so the net effect is 1 where nothing is gained. A strain
    of zeros has no ratio, and a quality that is not finite.

    >>> bins = Bins([(10.0, 10.5)], guard=0.5, stop=12.0, duration=SEGMENT)
    >>> before, after = np.ones(25), np.ones(25)
    >>> before[bins.near] = 4.0
    >>> flat = RunningSpectra(bins, SEGMENT, deque([Densities(0, before, after, np.ones(3))]))
    >>> ((quality, level),) = _measure([flat])
    >>> quality.in_band, quality.worst, quality.guard, quality.outside
    (0.5, 0.5, 0.5, 1.0)

    The guard band's bin is charged to the band's two: 3/2 as much is gained in each of them.

    >>> round(quality.net, 6) == round(0.5**1.5, 6)
    True
    >>> level.usual.tolist(), level.floor.tolist(), level.rms
    ([4.0, 4.0], [1.0, 1.0], 2.0)
    """
    bins, raw = [window.bins for window in windows], [one.before for one in windows[0].held]
    # The bins near each coupling's band, one coupling after another: those inside, then the guards.
    index = np.concatenate([one.near for one in bins])
    near = runs_of(*[len(one.near) for one in bins])
    parts = runs_of(*[len(part) for one in bins for part in (one.inside, one.guard)])
    # What is before in all of them, then what is after: shape (transforms, 2 bins).
    held = zip(raw, *[window.held for window in windows], strict=True)
    both = [np.concatenate([one[index], *[each.near for each in rest]]) for one, *rest in held]
    lower, upper = median(np.array(both)).reshape(2, -1)
    ratio = np.sqrt(upper / lower)
    # What one bin does, the median of few transforms shows by chance too; its mean does less.
    before, after = _sum(both).reshape(2, -1)
    means = np.sqrt(after / before)
    worst = near.highest(np.minimum(ratio, means)).tolist()
    in_band, guard = parts.means(ratio).reshape(-1, 2).T.tolist()
    # How far a search for a signal at a frequency f reaches goes as 1 / sqrt(S(f)), so cleaning
    # changes the logarithm of its reach by -ln(A / B) / 2. Averaged over signals at any frequency,
    # each as likely as any other, that is the sum over the bins, each with the weight of its width.
    # (The squared signal-to-noise ratio of a broadband signal h, the integral of |h|^2 / S, changes
    # by -ln(A / B) in each bin too where the changes are small; |h|^2 / S weighs neighbouring bins
    # alike.) The sum is stated as the ratio that the band's own bins would have for it.
    worth = near.sums(np.log(ratio))
    # The mean of a density follows from the median; its integral over the band is the power there.
    bias = median_bias(len(raw))
    usual, floor = lower / bias, np.minimum(upper, lower) / bias
    powers = parts.sums(usual)[::2].tolist()
    whole, found = _sum(raw), []
    for i, (high, low) in enumerate(zip(near.cut(usual), near.cut(floor), strict=True)):
        # These are so many that to take the couplings together would save nothing.
        ratios = _sum([one.after for one in windows[i].held]) / whole
        outside = ratios.take(bins[i].outside)
        inside, outer = len(bins[i].inside), len(outside)
        quality = Quality(
            in_band=in_band[i],
            worst=worst[i],
            guard=guard[i] if len(bins[i].guard) else 1.0,
            outside=math.sqrt(outside.sum() / outer) if outer else 1.0,
            net=float(np.exp((worth[i] + 0.5 * np.log(outside).sum()) / inside)),
        )
        rms = math.sqrt(powers[i] * bins[i].width)
        found.append((quality, StrainLevel(high[:inside], low[:inside], rms)))
    return found


def _sum(arrays: Sequence[Float64]) -> Float64:
    """Return the sum of arrays of one shape, added in their order."""
    first, *others = arrays
    summed = first.copy()
    for one in others:
        summed += one
    return summed
