"""Whether a coupling's estimate is good enough for the official product: its gate, as one table.

Every look at an estimate ends in a verdict (core.gate.verdicts). A verdict, and the time since the
last good and the last bad one, make one of seven situations. The gate's state and the situation
give the next state, how the gate closes, and why. This is `TRANSITIONS`:

| situation | OFF | ON |
|---|---|---|
| JUMP | OFF, hold: gate_jump | ON, hold: gate_jump |
| URGENT | OFF, shut: gate_out_of_spec | OFF, shut: gate_out_of_spec |
| BAD | OFF: gate_out_of_spec | OFF, fade: gate_out_of_spec |
| GOOD | ON | ON |
| EARLY | OFF | ON |
| IDLE | OFF | ON |
| STALE | OFF | OFF, fade: gate_unsettled |

While a gate is OFF its gain is 0, from the instant on at which it is closed:

- shut: at once. The ramp ends where the gate closes, for core.gain knows one ramp ahead what comes.
- fade: after a ramp of `fade`. A line that goes within a fraction of a second spills into the bins
  beside it, which is worse than a little harm for a little longer.
- hold: at once, for the slot and until the next look that holds all of it. The state stays, and
  with it what is decided then.

A gate starts OFF, as after a BAD. A state that rests on what was long ago ends by itself, so the
state depends on no more than `memory + dwell` of verdicts: wherever an engine starts, it agrees
after that with one that has always run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from deepclean.core import reasons
from deepclean.core.gate.cadence import FAST_STEP, SLOT
from deepclean.core.gate.measures import GateFinding
from deepclean.core.gate.settings import GateSettings


class Verdict(Enum):
    """What one look says of an estimate."""

    JUMP = "the estimate has left its usual level at once"
    URGENT = "the strain is so much worse over the whole band that the gate must close at once"
    BAD = "the strain is worse than raw"
    GOOD = "the strain is better than raw beyond chance"
    FAIR = "the strain is no worse than raw"
    UNKNOWN = "there is no measure"


class Situation(Enum):
    """A verdict, with the time since earlier ones where that matters."""

    JUMP = Verdict.JUMP
    URGENT = Verdict.URGENT
    BAD = Verdict.BAD
    GOOD = "good, and nothing was bad for `dwell`"
    EARLY = "good, but something was bad within `dwell`"
    IDLE = "neither good nor bad, and something was good within `memory`"
    STALE = "neither good nor bad, and nothing was good for `memory`"


class GateState(Enum):
    """Whether a gate lets its estimate into the official product."""

    OFF = "off"
    ON = "on"


class Closing(Enum):
    """How a transition closes a gate."""

    HOLD = "hold"
    SHUT = "shut"
    FADE = "fade"


_OFF, _ON = GateState.OFF, GateState.ON

TRANSITIONS: Mapping[tuple[GateState, Situation], tuple[GateState, Closing | None, str | None]] = {
    (_OFF, Situation.JUMP): (_OFF, Closing.HOLD, reasons.JUMP),
    (_OFF, Situation.URGENT): (_OFF, Closing.SHUT, reasons.OUT_OF_SPEC),
    (_OFF, Situation.BAD): (_OFF, None, reasons.OUT_OF_SPEC),
    (_OFF, Situation.GOOD): (_ON, None, None),
    (_OFF, Situation.EARLY): (_OFF, None, None),
    (_OFF, Situation.IDLE): (_OFF, None, None),
    (_OFF, Situation.STALE): (_OFF, None, None),
    (_ON, Situation.JUMP): (_ON, Closing.HOLD, reasons.JUMP),
    (_ON, Situation.URGENT): (_OFF, Closing.SHUT, reasons.OUT_OF_SPEC),
    (_ON, Situation.BAD): (_OFF, Closing.FADE, reasons.OUT_OF_SPEC),
    (_ON, Situation.GOOD): (_ON, None, None),
    (_ON, Situation.EARLY): (_ON, None, None),
    (_ON, Situation.IDLE): (_ON, None, None),
    (_ON, Situation.STALE): (_OFF, Closing.FADE, reasons.UNSETTLED),
}
"""The next state, how the gate closes, and why; None: as before."""


class Closure(NamedTuple):
    """A time in which a gate is closed.

    Args:
        start: GPS nanoseconds.
        end: GPS nanoseconds.
        reason: why (core.reasons).
        gentle: whether the gain falls to it over `fade`, or over the short ramp.
    """

    start: int
    end: int
    reason: str
    gentle: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of one coupling's version.

    Args:
        bad: when the last bad verdict was, GPS nanoseconds; the start counts as one.
        good: when the last good one was that opened the gate or kept it open; so does the start.
        closes: from when on it is closed, as long as it is off.
        state: now.
        reason: why it is closed, or last was (core.reasons).
        closed_by: what it last closed for; None where it has not closed, or nothing was measured.
    """

    bad: int
    good: int
    closes: int
    state: GateState = GateState.OFF
    reason: str = reasons.UNSETTLED
    closed_by: GateFinding | None = None

    @classmethod
    def start(cls, instant: int) -> Gate:
        """Return the gate of an estimate that begins at an instant (GPS nanoseconds)."""
        return cls(instant, instant, instant)


def situation(gate: Gate, verdict: Verdict, instant: int, settings: GateSettings) -> Situation:
    """Return which situation a verdict at an instant (GPS nanoseconds) makes for a gate.

    >>> from deepclean.core.time import NS
    >>> limits = GateSettings(8 * NS, 1.001, 1.003, 3.0, 6, 6, 5, 8 * NS, 32 * NS, 2 * NS)
    >>> gate = Gate.start(0)
    >>> situation(gate, Verdict.GOOD, 5 * NS, limits).name
    'EARLY'
    >>> situation(gate, Verdict.GOOD, 8 * NS, limits).name
    'GOOD'
    >>> situation(gate, Verdict.FAIR, 32 * NS, limits).name
    'STALE'

    Raises:
        ValueError: the instant is before an earlier verdict's, or the verdict is none.
    """
    if instant < max(gate.bad, gate.good):
        raise ValueError(f"a verdict of GPS {instant} ns comes after a later one")
    if verdict is Verdict.GOOD:
        return Situation.GOOD if instant - gate.bad >= settings.dwell else Situation.EARLY
    if verdict in (Verdict.FAIR, Verdict.UNKNOWN):
        return Situation.STALE if instant - gate.good >= settings.memory else Situation.IDLE
    return Situation(verdict)


def step(
    gate: Gate,
    verdict: Verdict,
    instant: int,
    settings: GateSettings,
    finding: GateFinding | None = None,
) -> tuple[Gate, list[Closure]]:
    """Return the gate after a verdict, and where the verdict closes it.

    >>> from deepclean.core.time import NS
    >>> limits = GateSettings(8 * NS, 1.001, 1.003, 3.0, 6, 6, 5, 8 * NS, 32 * NS, 2 * NS)
    >>> gate, closures = step(Gate.start(0), Verdict.GOOD, 8 * NS, limits)
    >>> gate.state.name, closures
    ('ON', [])
    >>> gate, closures = step(gate, Verdict.BAD, 9 * NS, limits)
    >>> gate.state.name, [(one.start / NS, one.end / NS, one.gentle) for one in closures]
    ('OFF', [(11.0, 11.5, True)])

    Args:
        gate: before the verdict; it is not changed.
        verdict: what was seen.
        instant: when, GPS nanoseconds: the start of the slot for JUMP, else the end of what was
            looked at.
        settings: of the gate.
        finding: what makes the verdict bad, or keeps it from being good.

    Raises:
        ValueError: as `situation` does.
    """
    case = situation(gate, verdict, instant, settings)
    state, closing, reason = TRANSITIONS[gate.state, case]
    reason = reason or gate.reason
    closures, closes = [], gate.closes
    closed_by = finding if closing and gate.state is GateState.ON else gate.closed_by
    if closing is Closing.HOLD:
        # The next look ends at most FAST_STEP after the slot.
        held = Closure(instant, instant + SLOT + FAST_STEP, reason)
        return replace(gate, closed_by=closed_by), [held]
    if closing is Closing.SHUT:
        closes = instant
    elif closing is Closing.FADE:
        # No longer than the gate rests, so that it is closed before it can open again.
        closes = instant + min(settings.fade, settings.dwell)
        closures.append(Closure(closes, closes + FAST_STEP, reason, gentle=True))
    if state is GateState.OFF and instant >= closes:
        closures.append(Closure(instant, instant + FAST_STEP, reason))
    bad = instant if case in (Situation.URGENT, Situation.BAD) else gate.bad
    good = instant if verdict is Verdict.GOOD and state is GateState.ON else gate.good
    return Gate(bad, good, closes, state, reason, closed_by), closures
