"""What the measures say of an estimate: pure functions from measures to verdicts.

The slow measure (core.gate.quality) weighs all that cleaning does over a window. The fast one
(core.gate.band_power) asks whether a second or a few are worse than chance allows. A verdict is
good only where both agree, and bad where either says so. What is no number is bad. With a verdict
goes what was found: the measure that decides it, its value and its limit.

The slow measure decides by the net effect (`Quality.net`), and closes above `close_above`. Three
bounds are for what is plainly harmful, whatever else is gained: `IN_BAND`, `worst_above` and
`BROADBAND`. Each rule opens at a lower limit than it closes at.

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

import math
from collections.abc import Sequence
from typing import NamedTuple

from deepclean.core.gate.band_power import BandPower, Looks
from deepclean.core.gate.cadence import FAST_STEP
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.gate.settings import GateSettings
from deepclean.core.gate.table import Verdict
from deepclean.core.time import NS

# The mean of the ratios counts a bin that gets louder in full, and one that gets quieter by less
# than 1. So it may rise where the net effect is a gain: a line goes, and some noise comes. Ten
# percent of amplitude over the whole band is the harm that is `URGENT` in a second. Less is left to
# the net effect, because chance alone is some percent in 8 s (docs/gate.md).
IN_BAND = 1.1
"""Mean ASD ratio in the band above which an estimate is bad, whatever the net effect."""

# The bandpass leaves a thousandth of an estimate outside: a percent there is no leakage, but an
# estimate that is tens of times above the strain, or that the bandpass did not confine.
BROADBAND = 1.01
"""ASD ratio outside band and guard bands above which an estimate is bad."""

# A single second is judged in units of the usual power, where all bins count alike, only where it
# is two standard deviations worse. In units of the floor one is enough: there the distance from a
# good estimate, `sigma`, is what excludes chance.
HARM_TESTS = ((1, (2.0, 1.0)), (2, (1.0, 1.0)), (4, (1.0, 1.0)))
"""Seconds looked at together, and by how many standard deviations cleaning must do harm there.

One number for each of the two units of a BandPower: of the usual power, and of the floor.
"""

# One percent of power is half a percent of amplitude. The slow measure closes above 0.3 %.
SLIGHT = 1.01
"""Ratio of powers up to which harm is left to the slow measure."""

# P(Gaussian > 3) = 0.13 %: of an estimate that neither gains nor harms, one window in 740 counts as
# good by chance.
GAINS = 3.0
"""Standard deviations by which a window, or a look, must be better than raw to count as good."""

# 1.21 = 1.1^2: ten percent of amplitude over the whole band.
URGENT = 1.21
"""Ratio of powers over the band from which on a second is so bad that the gate shuts at once."""

URGENT_CHANCE = 1.0
"""Standard deviations that this harm must be."""

# The ratio is |r - n|^2 / (|r|^2 + u), with `u` the usual power or the highest that the estimate
# had there for a window, whichever is greater. It is above 16 only where |n| > 4 sqrt(|r|^2 + u) -
# |r|, of which the least, at |r|^2 = u / 15, is sqrt(15 u). So the estimate must be 15 times above
# the highest of 14 earlier looks. For noise, whose powers are exponentially distributed, that has
# the chance 1 / C(29, 14) = 1.3e-8. A month has 5.7e7 looks at the 11 bins of a band of 10 Hz; in
# most of the 0.7 that chance makes of them `r` is not at that least, or not opposite to `n`.
SPIKE = 16.0
"""Ratio of a bin's cleaned power to what was there before; chance exceeds it less than monthly."""

# A sum over bins of Re(q n*) is the integral over time of w(t)^2 q(t) n(t), with w the window.
# Where q is noise and n a line, its variance goes as the mean of w^4; the sum of the bins' own
# variances goes as that of w^2, squared. For a Hann window w = sin^2:
#
#     <w^4> / <w^2>^2 = (35 / 128) / (3 / 8)^2 = 35 / 18 = 1.944
#
# which is what the correlation of neighbouring bins adds. Half a window later the products
# correlate, over the half that both share, by
#
#     (1 / 2) <w(t)^2 w(t + T/2)^2> / <w^4> = (1 / 2) <sin^4 cos^4> / <sin^8> = 3 / 70,
#
# so the variance of the sum of k looks is k times that of one, times 1 + (k - 1) / k * 6 / 70:
# 1.073 for the 7 looks at 4 s, 1.080 for 15 at 8 s. For fewer, 1.08 is on the safe side.
CORRELATED = 35 / 18 * 1.08
"""Factor by which the correlation of bins and looks raises the variance of their sum."""


MEASURES = ("net", "in_band", "worst", "outside", "guard", "power", "spike", "gain", "jump")
"""The measures that a finding may name; docs/gate.md explains them."""


class Conclusion(NamedTuple):
    """A verdict, and what was found.

    Args:
        verdict: of one look.
        finding: what makes it bad, or keeps it from being good; None where it is good or unknown.
    """

    verdict: Verdict
    finding: GateFinding | None = None


def judge(quality: Quality | None, settings: GateSettings) -> Conclusion:
    """Return what the slow measure says alone: UNKNOWN where there is none, else GOOD, FAIR or BAD.

    >>> limits = GateSettings(8 * NS, 1.001, 1.003, 3.0, 6, 6, 5, 8 * NS, 32 * NS, 2 * NS)
    >>> good = Quality(in_band=0.9, worst=1.2, guard=1.2, outside=1.0, net=0.95)
    >>> judge(good, limits).verdict.name
    'GOOD'
    >>> bad = judge(Quality(in_band=0.9, worst=1.2, guard=1.4, outside=1.0, net=1.02), limits)
    >>> bad.verdict.name, str(bad.finding)
    ('BAD', 'net 1.02 (limit 1.003)')
    """
    if quality is None:
        return Conclusion(Verdict.UNKNOWN)
    # Each measure with the limit up to which it may close no gate, and up to which one may open. In
    # between nothing changes. The bounds open at half the harm that they close at.
    measures = (
        ("net", quality.net, settings.close_above, settings.open_below),
        ("in_band", quality.in_band, IN_BAND, settings.open_below),
        ("worst", quality.worst, settings.worst_above, (1 + settings.worst_above) / 2),
        ("outside", quality.outside, BROADBAND, (1 + BROADBAND) / 2),
    )
    for name, value, above, _ in measures:
        if not (math.isfinite(value) and value <= above):
            return Conclusion(Verdict.BAD, GateFinding(name, value, above))
    if not quality.finite:
        return Conclusion(Verdict.BAD, GateFinding("guard", quality.guard, settings.worst_above))
    for name, value, _, below in measures:
        if not value <= below:
            return Conclusion(Verdict.FAIR, GateFinding(name, value, below))
    return Conclusion(Verdict.GOOD)


def conclude(
    quality: Quality | None, latest: Looks, settings: GateSettings, *, vanished: bool = False
) -> Conclusion:
    """Return what the measures say together: good only where a gain is beyond chance.

    Args:
        quality: the slow measure, if there is one now.
        latest: the fast ones of a window.
        settings: of the gate.
        vanished: as `harms` takes it.
    """
    latest = list(latest)
    harm = harms(latest, settings, vanished=vanished)
    if harm is not None:
        urgent = is_urgent(latest[-1], settings)
        return Conclusion(Verdict.URGENT if urgent else Verdict.BAD, harm)
    found = judge(quality, settings)
    if found.verdict is Verdict.GOOD and not gains(latest, GAINS):
        return Conclusion(Verdict.FAIR, GateFinding("gain", gain(latest), GAINS))
    return found


def harms(latest: Looks, settings: GateSettings, *, vanished: bool = False) -> GateFinding | None:
    """Return how cleaning makes the last seconds worse; None where it does not.

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
        return GateFinding("spike", latest[-1].worst, SPIKE)
    for seconds, limits in HARM_TESTS:
        count = (seconds - 1) * NS // FAST_STEP + 1
        parts = [part for part in latest[-count:] if part is not None]
        if len(parts) < count:
            break
        if sum(part.excess for part in parts) <= 0:
            continue
        ratios = []
        for clear, (raw, clean, power, chance) in zip(limits, totals(parts), strict=True):
            harm = clean - raw
            if not math.isfinite(harm + power + chance):
                return GateFinding("power", math.nan, SLIGHT)
            sure = harm > clear * chance and harm + power > settings.sigma * chance
            if (sure or vanished) and clean > SLIGHT * raw:
                ratios.append(clean / raw if raw > 0 else math.inf)
        if ratios:
            return GateFinding("power", max(ratios), SLIGHT)
    return None


def totals(parts: Sequence[BandPower]) -> list[tuple[float, float, float, float]]:
    """Return the powers of looks, at least one, in units of the usual power and of the floor.

    In either unit these are the power of the strain, of the strain less the estimate, of the
    estimate, and the standard deviation of the difference of the first two.
    """
    summed = [sum(each) for each in zip(*[part.sums for part in parts], strict=True)]
    return [
        (raw, clean, power, math.sqrt(CORRELATED * variance))
        for raw, clean, power, variance in (summed[:4], summed[4:])
    ]


def gains(latest: Looks, sigmas: float) -> bool:
    """Return whether cleaning has made the looks better, by more than so many standard deviations.

    In units of the floor: a line counts as it stands out.
    """
    return gain(latest) > sigmas


def gain(latest: Looks) -> float:
    """Return by how many standard deviations cleaning has made the looks better; 0 for no looks."""
    parts = [part for part in latest if part is not None]
    if not parts:
        return 0.0
    raw, clean, _, deviation = totals(parts)[1]
    gained = raw - clean
    return gained / deviation if deviation else gained * math.inf if gained else 0.0


def improves_significantly(part: BandPower | None) -> bool:
    """Return whether one look alone is better than raw beyond chance, and in the mean amplitude."""
    return part is not None and part.excess < 0 and gains([part], GAINS)


def is_urgent(part: BandPower | None, settings: GateSettings) -> bool:
    """Return whether harm in a second is so great over the band that the gate shuts at once."""
    if part is None or harms([part], settings) is None:
        return False
    raw, clean, _, chance = totals([part])[0]
    return not clean - raw <= max((URGENT - 1) * raw, chance * URGENT_CHANCE)
