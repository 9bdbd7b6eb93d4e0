"""What the measures say of an estimate: pure functions from measures to verdicts.

The slow measure (core.gate.quality) compares the spectra of a window with fixed limits. The fast
one (core.gate.band_power) asks whether a second or a few are worse than chance allows. A verdict
is good only where both agree, and bad where either says so. What is no number is bad.

The fast measure gives for a look the powers in the band of the raw strain, of the cleaned strain
and of the estimate, and the variance `V` that chance gives the harm `H = clean - raw`. With `r` the
raw strain, `n` the estimate and `q` what `r` holds beside `n`:

    H = |r - n|^2 - |r|^2 = |n|^2 - 2 Re(r n*)
    r = n + q  (the estimate is right)  gives  H = -|n|^2 - 2 Re(q n*):  mean -power, variance V
    r = q      (it has nothing to do with the strain)  gives  mean +power, variance V

So cleaning does harm where `H` is above 0 by some standard deviations `sqrt(V)`, and an estimate is
wrong where `H + power` is. For several looks, both the powers and the variances are summed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepclean.core.block import Float64, Quality
from deepclean.core.gate.band_power import BandPower, Looks
from deepclean.core.gate.cadence import FAST_STEP
from deepclean.core.gate.settings import GateSettings
from deepclean.core.gate.table import Verdict
from deepclean.core.time import NS

# A single second is judged over the whole band only where it is three standard deviations worse.
# Over nine hours of quiet data a single second reached 1.7, and two seconds 0.6. In units of the
# floor one is enough: there the distance from a good estimate, `sigma`, is what excludes chance.
import os
HARM_TESTS = eval(os.environ.get('HT','((1, (3.0, 1.0)), (2, (1.0, 1.0)), (4, (1.0, 1.0)))'))
"""Seconds looked at together, and by how many standard deviations cleaning must do harm there.

One number for each of the two units of a BandPower: of the usual power, and of the floor.
"""

# One percent of power is half a percent of amplitude. The slow measure closes above 0.3 %.
BROADBAND = 1.01

SLIGHT = 1.01
"""Ratio of powers up to which harm is left to the slow measure."""

# P(Gaussian > 3) = 0.13 %: of an estimate that neither gains nor harms, one window in 740 counts as
# good by chance.
GAINS = 3.0
"""Standard deviations by which a window must be better than raw to count as good."""

# 1.21 = 1.1^2: ten percent of amplitude over the whole band.
URGENT = 1.21
"""Ratio of powers over the band from which on a second is so bad that the gate shuts at once."""

URGENT_CHANCE = 1.5
"""Standard deviations that this harm must be."""

# The ratio is |r - n|^2 / (|r|^2 + u), with `u` the usual power or the highest that the estimate
# had there for a window, whichever is greater. It is above 16 only where |n| > 4 sqrt(|r|^2 + u) -
# |r|, of which the least, at |r|^2 = u / 15, is sqrt(15 u). So the estimate must be 15 times above
# the highest of 14 earlier looks. For noise, whose powers are exponentially distributed, that has
# the chance 1 / C(29, 14) = 1.3e-8. A month has 5.7e7 looks at the 11 bins of a band of 10 Hz; in
# most of the 0.7 that chance makes of them `r` is not at that least, or not opposite to `n`.
SPIKE = 16.0
"""Ratio of a bin's cleaned power to what was there before; chance exceeds it less than monthly."""

# The transforms of noise under Hann windows that overlap by half correlate by
#
#     sum w(t) w(t + T/2) / sum w(t)^2 = (1/16) / (3/8) = 1/6,
#
# so products of two noises, such as q n*, by 1/36. The variance of the sum of k looks is k times
# that of one, times 1 + (k - 1) / k * 2 / 36: 1.048 for the 7 looks at 4 s, 1.052 for 15 at 8 s.
# For fewer, down to a single one, 1.05 is on the safe side.
import os
OVERLAP = float(os.environ.get('OV','1.05'))
"""Factor by which overlap raises the variance of a sum of looks."""


def judge(quality: Quality | None, settings: GateSettings) -> Verdict:
    """Return what the slow measure says alone: UNKNOWN where there is none, else GOOD, FAIR or BAD.

    >>> limits = GateSettings(8 * NS, 1.001, 1.003, 3.0, 6, 6, 5, 8 * NS, 32 * NS, 2 * NS)
    >>> judge(Quality(in_band=0.9, worst=1.2, guard=1.0, outside=1.0), limits).name
    'GOOD'
    >>> judge(Quality(in_band=0.9, worst=1.2, guard=1.0, outside=1.01), limits).name
    'BAD'
    """
    if quality is None:
        return Verdict.UNKNOWN
    if (
        not quality.finite
        or quality.net > settings.close_above
        or quality.in_band > float(os.environ.get('IB','1.05'))
        or quality.outside > BROADBAND
        or quality.worst > settings.worst_above
    ):
        return Verdict.BAD
    return Verdict.GOOD if quality.net <= settings.open_below else Verdict.FAIR


def conclude(
    quality: Quality | None, latest: Looks, settings: GateSettings, *, vanished: bool = False
) -> Verdict:
    """Return what the measures say together: good only where a gain is beyond chance.

    Args:
        quality: the slow measure, if there is one now.
        latest: the fast ones of a window.
        settings: of the gate.
        vanished: as `harms` takes it.
    """
    latest = list(latest)
    if harms(latest, settings, vanished=vanished):
        return Verdict.URGENT if is_urgent(latest[-1], settings) else Verdict.BAD
    verdict = judge(quality, settings)
    return Verdict.FAIR if verdict is Verdict.GOOD and not gains(latest, GAINS) else verdict


def harms(latest: Looks, settings: GateSettings, *, vanished: bool = False) -> bool:
    """Return whether cleaning makes the last seconds worse.

    It does where three things hold in the same second, or in the same few (`HARM_TESTS`):
    it adds to the power by more than chance and by more than `SLIGHT`; that is `sigma` standard
    deviations from what a good estimate of this loudness would gain; and it adds to the mean
    amplitude. So a loud estimate, which should gain much, is shut out when it gains nothing. A
    faint one, which can gain little, must do clear harm.

    Args:
        latest: the fast measures of a window.
        settings: of the gate.
        vanished: almost nothing is left of the estimate, and so nothing can be lost: chance need
            not be excluded.
    """
    if latest and latest[-1] is not None and not latest[-1].worst < SPIKE:
        return True
    for seconds, clear in HARM_TESTS:
        count = (seconds - 1) * NS // FAST_STEP + 1
        parts = [part for part in latest[-count:] if part is not None]
        if len(parts) < count:
            break
        raw, clean, power, chance = total(parts)
        harm = clean - raw
        if not np.isfinite(harm + power + chance).all():
            return True
        sure = (harm > clear * chance) & (harm + power > settings.sigma * chance)
        if np.any((sure | vanished) & (clean > SLIGHT * raw)) and sum(p.excess for p in parts) > 0:
            return True
    return False


def total(parts: Sequence[BandPower]) -> tuple[Float64, Float64, Float64, Float64]:
    """Return the sums of `raw`, `clean` and `power`, and the standard deviation of `clean - raw`.

    Each has shape `(2,)` and the units of a BandPower. There is at least one part.
    """
    raw, clean, power, variance = np.sum(
        [(part.raw, part.clean, part.power, part.variance) for part in parts], axis=0
    )
    return raw, clean, power, np.sqrt(OVERLAP * variance)


def gains(latest: Looks, sigmas: float) -> bool:
    """Return whether cleaning has made the looks better, by so many standard deviations.

    In units of the floor: a line counts as it stands out.
    """
    parts = [part for part in latest if part is not None]
    if not parts:
        return False
    raw, clean, _, chance = total(parts)
    return bool(raw[1] - clean[1] > sigmas * chance[1])


def improves_significantly(part: BandPower | None, settings: GateSettings) -> bool:
    """Return whether one look alone is better than raw by `sigma`, and in the mean amplitude."""
    return part is not None and part.excess < 0 and gains([part], settings.sigma)


def is_urgent(part: BandPower | None, settings: GateSettings) -> bool:
    """Return whether the last second is so bad over the whole band that the gate shuts at once."""
    if part is None or not harms([part], settings):
        return False
    raw, clean, _, chance = (float(one[0]) for one in total([part]))
    return not clean - raw <= max((URGENT - 1) * raw, chance * URGENT_CHANCE)
