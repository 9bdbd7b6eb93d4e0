"""How strong the strain is in a coupling's band over the last second, and how far chance goes.

The measures of core.gate.quality take a window to notice a fault. This one looks at one transform
of a second, each half second, with what a window has shown the strain to be like (StrainLevel).
The verdicts on it are in core.gate.verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.gate.cadence import FAST_SEGMENT, FAST_STEP
from deepclean.core.gate.quality import StrainLevel
from deepclean.core.spectra import Bins, Complex, density, median

# The power of noise in one bin is exponentially distributed: exp(-4) = 2 % of all bins are above.
LOUD = 4.0
"""Times its usual power from which on a bin of the raw strain holds a signal."""

# For white noise, in transforms of 2 s under Hann windows that overlap by half, the mean of
# (density / lowest of 16 medians of 7, a second apart) is 2.63. Medians are divided by their bias.
LEAST = 2.6
"""Mean of the usual density over the lowest floor of two windows of 8 s (`with_lowest_floor`)."""


@dataclass(frozen=True, slots=True, eq=False)
class BandPower:
    """Powers in a coupling's band over the last second, in two kinds of unit.

    The first of the two is each bin's usual power: so a bin counts as in the mean of the ratio of
    two amplitude spectral densities. The second is each bin's floor: so a line counts as it stands
    out.

    Args:
        sums: over the bins, shape `(4, 2)`: `raw`, `clean`, `power` and `variance`.
        excess: the mean over the bins of what cleaning adds to the amplitude, in units of the
            usual amplitude.
        worst: the highest ratio of a bin's power in the cleaned strain to the sum of its raw power
            now and the higher of its usual power and the estimate's highest before.
        noise: the estimate's power spectral density in each bin, strain^2 / Hz, shape `(bins,)`.
    """

    sums: Float64
    excess: float
    worst: float
    noise: Float64

    @property
    def raw(self) -> Float64:
        """The power of the strain, shape `(2,)`."""
        return np.asarray(self.sums[0])

    @property
    def clean(self) -> Float64:
        """The power of the strain less the estimate, shape `(2,)`."""
        return np.asarray(self.sums[1])

    @property
    def power(self) -> Float64:
        """The estimate's power, shape `(2,)`: what cleaning gains where the estimate is right."""
        return np.asarray(self.sums[2])

    @property
    def variance(self) -> Float64:
        """The variance of `clean - raw` by chance, shape `(2,)`, in squares of these units."""
        return np.asarray(self.sums[3])


Looks = Sequence[BandPower | None]
"""One for each look of a window, the newest last; None where there was none."""


def with_lowest_floor(level: StrainLevel, floors: Sequence[Float64]) -> StrainLevel:
    """Return a level whose floor is the lowest of the last floors in each bin.

    An estimate that goes bad slowly adds power slowly. That must not count as the floor. In no bin
    is the usual power below the floor then.

    >>> now = StrainLevel(usual=np.array([9.0, 1.0]), floor=np.array([4.0, 1.0]), rms=3.0)
    >>> found = with_lowest_floor(now, [np.array([2.0, 3.0]), now.floor])
    >>> found.usual.tolist(), found.floor.tolist()
    ([9.0, 1.0], [2.0, 1.0])

    Args:
        level: the newest.
        floors: those of two windows, at least one, strain^2 / Hz.
    """
    floor = np.min(floors, axis=0)
    return replace(level, usual=np.maximum(level.usual, floor), floor=floor)


def highest_before(history: Looks) -> Float64 | float:
    """Return the estimate's highest density of a window in each bin, strain^2 / Hz; 0 if none.

    The looks that share data with the next one are left out.

    Args:
        history: of a window.
    """
    earlier = list(history)[: -(FAST_SEGMENT // FAST_STEP)]
    noise = [part.noise for part in earlier if part is not None]
    return np.max(noise, axis=0) if noise else 0.0


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def band_power(
    raw: Complex,
    estimate: Complex,
    bins: Bins,
    slow: Bins,
    level: StrainLevel,
    highest: Float64 | float = 0.0,
) -> BandPower:
    """Return the powers of one fast transform.

    With `r` the raw strain and `n` the estimate, cleaning changes the power of a bin by
    `|n|^2 - 2 Re(r n*)`. The part of `r` that is uncorrelated with `n` makes this difference
    uncertain, with variance `2 |n|^2 m`, where `m` is the residual power in the bin. So a signal
    makes the measure uncertain, and does not make an estimate look wrong.

    Args:
        raw: transform of the strain up to the highest bin, strain / Hz.
        estimate: of the coupling's estimate.
        bins: the coupling's bins of the fast transform.
        slow: the coupling's bins of the slow transform, at which the level is given.
        level: what the strain is like.
        highest: density of the estimate in each bin, the highest of late (`highest_before`).
    """
    usual, floor = (
        np.interp(bins.inside * bins.width, slow.inside * slow.width, one)
        for one in (level.usual, level.floor)
    )
    r, n = raw[bins.inside], estimate[bins.inside]
    powers = density(np.stack([r, r - n, n]), FAST_SEGMENT)
    before, after, noise = powers
    rest = _residual(r, n, usual, floor, before)
    units = np.stack([usual, floor])
    # Bins count as independent. A complex Gaussian q of power m has Re(q n*) with a variance of
    # |n|^2 m / 2, and 2 Re(q n*) with four times that.
    terms = np.empty((4, *units.shape))
    np.divide(powers[:, None], units, out=terms[:3])
    np.divide(2 * noise * rest, units**2, out=terms[3])
    return BandPower(
        terms.sum(axis=2),
        float(((np.sqrt(after) - np.sqrt(before)) / np.sqrt(usual)).mean()),
        float((after / (before + np.maximum(usual, highest))).max()),
        noise,
    )


def _residual(r: Complex, n: Complex, usual: Float64, floor: Float64, before: Float64) -> Float64:
    """Return the density `m` of what the strain holds beside a multiple of the estimate.

    All arguments have shape `(bins,)`: `r` and `n` are transforms (strain / Hz), the others
    densities (strain^2 / Hz), `before` that of `r`.
    """
    # The multiple a of n that leaves least, each bin in units of its floor:
    # minimise sum |r - a n|^2 / floor, so a = sum r n* / floor / sum |n|^2 / floor.
    weighted = n.conj() / floor
    product, power = (r * weighted).sum(), (n * weighted).sum().real
    rest = density(r - (product / power if power > 0 else 0.0) * n, FAST_SEGMENT)
    # One multiple for all bins may leave more in one of them than was there: that is a fault of
    # the estimate, and no chance. But the raw power above LOUD times the usual one is a signal even
    # where it looks like the estimate. A pure line is wider in a fast transform than in a slow one:
    # a Hann window has half the amplitude, a quarter of the power, one bin away.
    beside = np.zeros(len(usual) + 2)
    beside[1:-1] = usual / 4
    wide = np.maximum(usual, np.maximum(beside[:-2], beside[2:]))
    rest = np.maximum(np.minimum(rest, before), before - LOUD * wide) / floor
    # The floor is the lowest of late: in units of it the power of noise has a mean of LEAST.
    # Signals are wide, an estimate is where its lines are: no bin counts as quieter than the mean
    # of the band. Of exponentially distributed powers the median is ln 2 of that mean.
    return np.maximum(rest, max(LEAST, float(median(rest)) / math.log(2))) * floor
