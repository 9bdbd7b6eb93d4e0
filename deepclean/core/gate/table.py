"""Whether a coupling's estimate is good enough for the official product: its gate.

One table, two states. What shows within a second is shut out at once, by a ramp that ends where
the gate closes (core.gain knows what comes). Everything else goes gently: a line that
comes or goes within a fraction of a second spills into the bins beside it, which is worse than a
little harm for a little longer.

| | BAD | GOOD, no BAD for `dwell` | GOOD earlier than that | FAIR or UNKNOWN |
|---|---|---|---|---|
| OFF | OFF | ON | OFF | OFF |
| ON | OFF | ON | ON | ON; OFF without a GOOD for `memory` |

GOOD is only what is better than raw beyond chance; what is merely no worse is FAIR.

Starts OFF, as after a BAD. A state that rests on what was long ago ends by itself, so the state
depends on no more than `memory + dwell` of verdicts: wherever an engine starts, it agrees with one
that has always run, after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Float64, Quality
from deepclean.core.gate.quality import FAST_STEP, BandPower
from deepclean.core.time import NS


class Verdict(Enum):
    """What the measures say."""

    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"
    UNKNOWN = "unknown"


class GateState(Enum):
    """Of a gate."""

    OFF = "off"
    ON = "on"


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Configured by `gate`; durations in nanoseconds."""

    window: int
    open_below: float
    close_above: float
    guard_above: float
    worst_above: float
    guard: float
    jump: float
    sigma: float
    dwell: int
    memory: int
    fade: int

    @property
    def reach(self) -> int:
        """How far back, in nanoseconds, the gate's gain depends on the data."""
        return self.memory + self.dwell + 4 * self.window + 2 * self.fade + 2 * NS


HARM_TESTS = ((1, (3.0, 1.0)), (2, (1.0, 1.0)), (4, (1.0, 1.0)))
"""Seconds looked at together, and by how many standard deviations cleaning must do harm there.

In the units of a Brief.
"""

SLIGHT = 1.01
"""Ratio of powers up to which harm is left to the slow measure."""

GAINS = 3.0
"""Standard deviations by which a window must be better than raw to count as good."""

URGENT = 1.21
"""Ratio of powers over the band from which on a second is so bad that the gate shuts at once."""

URGENT_CHANCE = 1.5
"""Standard deviations that this must be."""

SPIKE = 16.0
"""Times its raw power, now and usually, that no bin exceeds by chance once in a month."""


def judge(quality: Quality | None, settings: GateSettings) -> Verdict:
    """Return what the slow measure says; None where there is none."""
    if quality is None:
        return Verdict.UNKNOWN
    if not quality.finite:
        return Verdict.BAD
    if (
        max(quality.in_band, quality.outside) > settings.close_above
        or quality.guard > settings.guard_above
        or quality.worst > settings.worst_above
    ):
        return Verdict.BAD
    return Verdict.GOOD if quality.in_band <= settings.open_below else Verdict.FAIR


def conclude(
    quality: Quality | None,
    latest: Sequence[BandPower | None],
    settings: GateSettings,
    *,
    vanished: bool = False,
) -> Verdict:
    """Return what the measures say together: good only where a gain is beyond chance.

    Args:
        quality: the slow measure, if there is one now.
        latest: the fast ones of a window, the newest last.
        settings: of the gate.
        vanished: as `judge_briefs` takes it.
    """
    latest = list(latest)
    if harms(latest, settings, vanished=vanished) is Verdict.BAD:
        return Verdict.BAD
    verdict = judge(quality, settings)
    return Verdict.FAIR if verdict is Verdict.GOOD and not gains_significantly(latest) else verdict


def harms(
    latest: Sequence[BandPower | None], settings: GateSettings, *, vanished: bool = False
) -> Verdict:
    """Return BAD where cleaning makes the last seconds worse, else UNKNOWN.

    It does where it adds to the mean amplitude; where it adds to the power, by more than chance
    (`BRIEFS`); and where that is `sigma` from what a good estimate as loud as this would gain. So a
    loud one needs to do little harm to be shut out, as it should gain much; and one that can gain
    little must be clearly bad.

    Args:
        latest: one a tick, the newest last; None where there is none.
        settings: of the gate.
        vanished: there is almost nothing left of the estimate, and so nothing to lose: no need to
            be sure.

    That the transforms overlap by half adds a twentieth to the variance.
    """
    if latest and latest[-1] is not None and not latest[-1].worst < SPIKE:
        return Verdict.BAD
    for seconds, clear in HARM_TESTS:
        count = (seconds - 1) * NS // FAST_STEP + 1
        parts = [part for part in latest[-count:] if part is not None]
        if len(parts) < count:
            break
        raw, clean, power, chance = _total(parts)
        harm = clean - raw
        if not np.isfinite(harm + power + chance).all():
            return Verdict.BAD
        sure = (harm > clear * chance) & (harm + power > settings.sigma * chance)
        if np.any((sure | vanished) & (clean > SLIGHT * raw)) and sum(p.excess for p in parts) > 0:
            return Verdict.BAD
    return Verdict.UNKNOWN


def _total(parts: Sequence[BandPower]) -> tuple[Float64, Float64, Float64, Float64]:
    """Return the powers of several and the standard deviation of `clean - raw`."""
    raw, clean, power, variance = np.sum(
        [(part.raw, part.clean, part.power, part.variance) for part in parts], axis=0
    )
    return raw, clean, power, np.sqrt(1.05 * variance)


def gains_significantly(latest: Sequence[BandPower | None]) -> bool:
    """Return whether cleaning has made a window better beyond chance."""
    parts = [part for part in latest if part is not None]
    if not parts:
        return False
    raw, clean, _, chance = _total(parts)
    return bool(raw[1] - clean[1] > GAINS * chance[1])


def is_urgent(part: BandPower | None, settings: GateSettings) -> bool:
    """Return whether the last second is so bad over the whole band that the gate shuts at once."""
    if part is None or harms([part], settings) is not Verdict.BAD:
        return False
    raw, clean, _, chance = (float(one[0]) for one in _total([part]))
    return not clean - raw <= max((URGENT - 1) * raw, chance * URGENT_CHANCE)


def improves_significantly(part: BandPower | None, settings: GateSettings) -> bool:
    """Return whether a last second is better than raw beyond chance."""
    if part is None:
        return False
    gain = part.raw[1] - part.clean[1]
    return bool(part.excess < 0 and gain > settings.sigma * np.sqrt(1.05 * part.variance[1]))


@dataclass(slots=True)
class Gate:
    """One coupling's.

    Args:
        bad: when the last bad verdict was, GPS nanoseconds; the start counts as one.
        good: when the last good one was that opened the gate or kept it open.
        state: now.
        reason: why it is closed, or last was (core.reasons).
    """

    bad: int
    good: int | None = None
    state: GateState = GateState.OFF
    reason: str = reasons.UNSETTLED

    def step(self, instant: int, verdict: Verdict, settings: GateSettings) -> GateState:
        """Take the verdict of an instant (GPS nanoseconds); return the state from there on."""
        if verdict is Verdict.BAD:
            self.bad, self.state, self.reason = instant, GateState.OFF, reasons.OUT_OF_SPEC
        elif verdict is Verdict.GOOD:
            rested = instant - self.bad >= settings.dwell
            if self.state is GateState.ON or rested:
                self.good, self.state = instant, GateState.ON
        elif self.state is GateState.ON:
            assert self.good is not None
            if instant - self.good >= settings.memory:
                self.state, self.reason = GateState.OFF, reasons.UNSETTLED
        return self.state

    def copy(self) -> Gate:
        """Return an independent copy."""
        return Gate(self.bad, self.good, self.state, self.reason)
