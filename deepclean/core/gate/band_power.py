"""How strong the strain is in a coupling's band over the last second, and how far chance goes.

The measures of core.gate.quality take a window to notice a fault. This one looks at one transform
of a second, each half second, with what a window has shown the strain to be like (StrainLevel).
The verdicts on it are in core.gate.verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.gate.cadence import FAST_SEGMENT, FAST_STEP
from deepclean.core.gate.quality import StrainLevel
from deepclean.core.gate.runs import Runs, runs_of
from deepclean.core.spectra import Bins, Complex, density

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
    out. In either unit there are four sums over the bins:

    - the power of the strain,
    - of the strain less the estimate,
    - of the estimate, which is what cleaning gains where the estimate is right,
    - the variance that the difference of the first two has by chance, in squares of the unit.

    Args:
        sums: the four in the first unit, then the four in the second.
        excess: the mean over the bins of what cleaning adds to the amplitude, in units of the
            usual amplitude; NaN where one of the sums is not finite.
        worst: the highest ratio of a bin's power in the cleaned strain to the sum of its raw power
            now and the higher of its usual power and the estimate's highest before.
        noise: the estimate's power spectral density in each bin, strain^2 / Hz, shape `(bins,)`.
    """

    sums: Sequence[float]
    excess: float
    worst: float
    noise: Float64


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
    floor = np.minimum.reduce(floors)
    return StrainLevel(np.maximum(level.usual, floor), floor, level.rms)


class LastSecond(NamedTuple):
    """One coupling's estimate over the last second, and what it is judged by.

    Args:
        estimate: transform of the estimate up to the highest bin, strain / Hz.
        bins: of the fast transform.
        slow: of the slow transform, at which the level is given.
        level: what the strain is like (`with_lowest_floor`).
        before: the looks of a window before this one.
    """

    estimate: Complex
    bins: Bins
    slow: Bins
    level: StrainLevel
    before: Looks


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def band_powers(raw: Complex, seconds: Sequence[LastSecond]) -> list[BandPower]:
    """Return the powers of one fast transform, for each coupling.

    With `r` the raw strain and `n` the estimate, cleaning changes the power of a bin by
    `|n|^2 - 2 Re(r n*)`. The part of `r` that is uncorrelated with `n` makes this difference
    uncertain, with variance `2 |n|^2 m`, where `m` is the residual power in the bin. So a signal
    makes the measure uncertain, and does not make an estimate look wrong.

    Args:
        raw: transform of the strain up to the highest bin, strain / Hz.
        seconds: of the couplings, at least one.
    """
    runs = runs_of(*(len(one.bins.inside) for one in seconds))
    r = raw[np.concatenate([one.bins.inside for one in seconds])]
    n = np.concatenate([one.estimate[one.bins.inside] for one in seconds])
    at = [_nearest(one.bins, one.slow) for one in seconds]
    usual = np.concatenate([one.level.usual[bins] for one, bins in zip(seconds, at, strict=True)])
    floor = np.concatenate([one.level.floor[bins] for one, bins in zip(seconds, at, strict=True)])
    units = np.array([usual, floor])
    powers = density(np.array([r, r - n, n]), FAST_SEGMENT)
    before, after, noise = powers
    rest = _residual(r, n, usual, floor, before, runs)
    # Bins count as independent. A complex Gaussian q of power m has Re(q n*) with a variance of
    # |n|^2 m / 2, and 2 Re(q n*) with four times that.
    terms = np.empty((2, 4, len(r)))
    np.divide(powers, units[:, None], out=terms[:, :3])
    np.divide(2 * noise * rest, units**2, out=terms[:, 3])
    sums = runs.sums(terms).reshape(8, -1)
    raw_amplitude, clean_amplitude = np.sqrt(terms[0, :2])
    excess = runs.means(clean_amplitude - raw_amplitude) + 0.0 * np.add.reduce(sums)
    highest = np.concatenate([highest_before(one.before, len(one.bins.inside)) for one in seconds])
    worst = runs.highest(after / (before + np.maximum(usual, highest)))
    columns = zip(sums.T.tolist(), excess.tolist(), worst.tolist(), runs.cut(noise), strict=True)
    return [BandPower(*column) for column in columns]


def highest_before(history: Looks, bins: int) -> Float64:
    """Return the estimate's highest density of a window in each bin, strain^2 / Hz; 0 if none.

    The looks that share data with the next one are left out.

    Args:
        history: of a window.
        bins: how many there are.
    """
    earlier = islice(history, max(len(history) - FAST_SEGMENT // FAST_STEP, 0))
    noise = [part.noise for part in earlier if part is not None]
    return np.maximum.reduce(noise) if noise else np.zeros(bins)


@lru_cache(maxsize=256)
def _nearest(bins: Bins, slow: Bins) -> NDArray[np.intp]:
    """Return which of a coupling's bins of the slow transform is nearest to each of the fast one.

    >>> fast, slow = (Bins([(55.0, 57.0)], 0.0, 60.0, n * FAST_SEGMENT) for n in (1, 2))
    >>> _nearest(fast, slow).tolist()
    [0, 2, 4]
    """
    apart = np.subtract.outer(bins.inside * bins.width, slow.inside * slow.width)
    return np.asarray(np.abs(apart).argmin(axis=1))


def _residual(
    r: Complex, n: Complex, usual: Float64, floor: Float64, before: Float64, runs: Runs
) -> Float64:
    """Return the density `m` of what the strain holds beside a multiple of the estimate.

    All arguments but `runs` have shape `(bins,)`: `r` and `n` are transforms (strain / Hz), the
    others densities (strain^2 / Hz), `before` that of `r`.
    """
    # The multiple a of n that leaves least, each bin in units of its floor:
    # minimise sum |r - a n|^2 / floor, so a = sum r n* / floor / sum |n|^2 / floor.
    weighted = n.conj() / floor
    product, power = runs.sums(np.array([r, n]) * weighted)
    multiple = np.where(power.real > 0, product / power.real, 0.0)
    rest = density(r - runs.each(multiple) * n, FAST_SEGMENT)
    # One multiple for all bins may leave more in one of them than was there: that is a fault of
    # the estimate, and no chance. But the raw power above LOUD times the usual one is a signal even
    # where it looks like the estimate. A pure line is wider in a fast transform than in a slow one:
    # a Hann window has half the amplitude, a quarter of the power, one bin away.
    wide = np.maximum(usual, runs.beside(usual / 4))
    rest = np.maximum(np.minimum(rest, before), before - LOUD * wide) / floor
    # The floor is the lowest of late: in units of it the power of noise has a mean of LEAST.
    # Signals are wide, an estimate is where its lines are: no bin counts as quieter than the mean
    # of the band. Of exponentially distributed powers the median is ln 2 of that mean.
    least = np.maximum(LEAST, runs.medians(rest) / math.log(2))
    return np.asarray(np.maximum(rest, runs.each(least)) * floor)
