"""The distance to which a detector sees, from the spectrum of its strain."""

from __future__ import annotations

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.spectra import LOWEST, SEGMENT
from deepclean.core.time import NS

_WIDTH = NS / SEGMENT
"""Hz from one density to the next."""


def sensemon(power: Float64) -> float:
    """Return the range for binary neutron stars in Mpc, from power densities every half hertz.

    gwpy's `sensemon_range`: signal-to-noise ratio 8, averaged over sky and orientation
    (LIGO-T030276).
    """
    from gwpy.astro import sensemon_range
    from gwpy.frequencyseries import FrequencySeries

    first = int(LOWEST / _WIDTH)
    if len(power) <= first + 1 or not power[first:].all():
        return float(np.nan)
    series = FrequencySeries(power, f0=0, df=_WIDTH, unit="1/Hz")
    return float(sensemon_range(series, fmin=LOWEST).value)
