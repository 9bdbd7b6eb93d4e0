"""The estimate of each coupling as channels of a frame, at a rate as low as its band allows.

There are two channels for a coupling: the estimate before its gain, and the factor under which it
was subtracted, both sampled at the same instants. At each of these instants

    raw strain = OUT_DQ + sum over the couplings of factor x noise

to the rounding of float32, whatever happened there: a gap, a ramp, a crossfade.

The samples are every so-many-th of those that were subtracted. There is no anti-alias filter,
because the estimate has passed the coupling's bandpass and holds nothing to alias beyond that
filter's tolerance. So a sample depends on no other sample, costs no look-ahead, and has the same
bits however the stream was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from deepclean.core.block import CleanedBlock, Estimate, Float64, Series
from deepclean.core.channels import STATE_RATE

# At four samples for each period of the band's upper edge, that edge is at half of the Nyquist
# frequency. The band's nearest image then begins three times as high as the band ends, which leaves
# a filter of ten samples either side room to tell them apart to 1e-6.
_OVERSAMPLING = 4
"""Samples in a period of the highest frequency of a coupling's bands, at least."""

_LARGEST = float(np.finfo(np.float32).max)


def estimate_rate(strain_rate: int, bands: Sequence[tuple[float, float]]) -> int:
    """Return the rate in Hz at which the estimate of a coupling stands in a frame.

    It is the lowest that divides the strain's rate, has whole samples in every block, and is four
    times the upper edge of the bands; the strain's rate where none is.

    >>> estimate_rate(16384, [(55.0, 65.0)]), estimate_rate(20000, [(55.0, 65.0)])
    (512, 400)
    >>> estimate_rate(2048, [(590.0, 610.0)])
    2048

    Args:
        strain_rate: the strain's samples per second.
        bands: `(low, high)` in Hz.
    """
    # A block begins and ends on samples of the strain and of the 16 Hz channels. The times that
    # have both are the samples of a stream at the rates' greatest common divisor, so a rate that is
    # a multiple of it has whole samples in every block.
    step = gcd(strain_rate, STATE_RATE)
    least = _OVERSAMPLING * max(high for _, high in bands)
    rates = range(step, strain_rate + 1, step)
    return next((rate for rate in rates if rate >= least and strain_rate % rate == 0), strain_rate)


def estimate_channels(block: CleanedBlock, coupling: str, rate: int) -> tuple[Series, Series]:
    """Return the noise of a coupling over a block and the factor on it, float32, at `rate`.

    Args:
        block: a block with strain.
        coupling: its name.
        rate: as `estimate_rate` gives it.
    """
    estimate, span = block.estimates[coupling], block.span
    every = len(estimate.noise) // span.samples(rate)
    # What float32 cannot hold is no noise that was ever subtracted: no gate lets it pass.
    noise = np.minimum(np.maximum(_before_gain(estimate)[::every], -_LARGEST), _LARGEST)
    return (
        Series(span, rate, noise.astype(np.float32)),
        Series(span, rate, estimate.gain[::every].astype(np.float32)),
    )


def _before_gain(estimate: Estimate) -> Float64:
    """Return the noise that times the gain is what is subtracted, in strain units, shape `(n,)`.

    >>> one, two = (Estimate(np.full(1, n), np.full(1, g), 1) for n, g in ((2.0, 0.0), (4.0, 1.0)))
    >>> half = np.full(1, 0.5)
    >>> mixed = Estimate(np.full(1, 3.0), half, 2, parts=((half, one), (half, two)))
    >>> (mixed.gain * _before_gain(mixed)).tolist(), mixed.subtracted().tolist()
    ([2.0], [2.0])
    """
    if not estimate.parts:
        return estimate.noise
    # In a crossfade (1 - w) g1 n1 + w g2 n2 is subtracted and the gain is (1 - w) g1 + w g2. The
    # quotient is the mean of both noises, each weighted by its share of the gain.
    noise = estimate.noise.copy()
    np.divide(estimate.subtracted(), estimate.gain, out=noise, where=estimate.gain > 0)
    return noise
