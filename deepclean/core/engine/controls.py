"""The controls of an operator in an engine: gains, frozen adaptation, limits of the gates.

The gain goes from one value to the next along a raised cosine that begins at the control's second
and is as long as the crossfade of two versions, because nothing about it is urgent:

    g(t) = (1 - w) g_before + w g_after,    w = sin^2(pi/2 (t - t_0) / length)

It is a factor on the gain of the estimate, behind gap and gate. Everything before that goes on: the
estimate is computed, its adaptation learns, its gate judges, versions are tried.

While adaptation is frozen the gains keep the value of the first knot at or after the freeze's
second, which rests on data before that second only. That value is computed from the data before the
freeze, which a later restart does not read any more. So it is a part of the freeze: whoever keeps
the record of controls keeps `held` too, and gives it back to an engine that begins later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepclean.core import reasons
from deepclean.core.adapt.held import HeldGains
from deepclean.core.block import Estimate, Float64, Version
from deepclean.core.control import Control, Freeze, Step, freezes, gate_limits, steps
from deepclean.core.engine.crossfade import weight
from deepclean.core.engine.freezing import held_gains, set_freezes
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.engine.state import EngineState, StreamState
from deepclean.core.gate.settings import GateSettings
from deepclean.core.time import NS, Span

LEAD = NS
"""Nanoseconds from the end of the input to the first second that may be controlled. A hop that is
computed already may reach after the end of the input by its filters, which are shorter."""


class ActiveControls:
    """The controls at work in an engine.

    Args:
        settings: the engine's settings.
        state: the engine's state.
    """

    def __init__(self, settings: EngineSettings, state: EngineState) -> None:
        self._settings, self._state = settings, state
        # What follows from the controls in the state, made when one is added.
        self._timelines: dict[str, tuple[list[Step], tuple[Freeze, ...]]] = {}
        self._limits: tuple[tuple[int, GateSettings], ...] = ()

    @property
    def all(self) -> tuple[Control, ...]:
        """The controls that were added, in their order."""
        return self._state.controls

    def earliest(self, instant: int) -> int:
        """Return the first whole second that may still be controlled, GPS nanoseconds.

        Args:
            instant: the start of the next block, GPS nanoseconds.
        """
        stream = self._state.stream
        frontier = instant if stream is None else max(instant, stream.frontier)
        return -(-(frontier + LEAD) // NS) * NS

    def add(self, control: Control) -> None:
        """Let a control hold from its second on.

        Raises:
            ValueError: blocks inside, or that are out, may depend on the time after that second.
        """
        stream = self._state.stream
        if stream is not None and control.instant < stream.frontier + LEAD:
            raise ValueError("the time from which a control is to hold is computed already")
        self._state.controls = (*self._state.controls, control)
        self._timelines.clear()
        if self._settings.gate is not None:
            self._limits = gate_limits(self._state.controls, self._settings.gate)

    def _timeline(self, coupling: str) -> tuple[list[Step], tuple[Freeze, ...]]:
        """Return the changes of a coupling's gain, and the freezes of its adaptation."""
        if coupling not in self._timelines:
            controls = self._state.controls
            self._timelines[coupling] = steps(controls, coupling), freezes(controls, coupling)
        return self._timelines[coupling]

    def restore(self, held: Iterable[HeldGains]) -> None:
        """Take the gains that freezes of an earlier run hold."""
        for one in held:
            self._state.held[one.key] = one

    def pop_held(self) -> list[HeldGains]:
        """Return the gains that freezes hold and that became known since the last call."""
        found, self._state.fresh = self._state.fresh, []
        return found

    def collect(self, stream: StreamState) -> None:
        """Keep the gains that freezes hold, which outlive a stream."""
        if not self._state.controls:
            return
        for version, state in stream.couplings.items():
            for one in held_gains(state.adaptation, version):
                if one.key not in self._state.held:
                    self._state.held[one.key] = one
                    self._state.fresh.append(one)

    def prepare(self, stream: StreamState) -> None:
        """Tell a stream of freezes and of limits of the gates, before the next block goes in."""
        if not self._state.controls:
            return
        if stream.gates is not None:
            stream.gates.limits = self._limits
        for version, state in stream.couplings.items():
            if state.adaptation is not None:
                _, stretches = self._timeline(version.coupling)
                set_freezes(state.adaptation, stretches, version, self._state.held)

    def applied(self, made: Mapping[Version, Estimate], span: Span) -> dict[Version, Estimate]:
        """Return the estimates over a span under the gains that the operator allows."""
        if not self._state.controls:
            return dict(made)
        return {version: self._controlled(one, version, span) for version, one in made.items()}

    def _controlled(self, estimate: Estimate, version: Version, span: Span) -> Estimate:
        changes, stretches = self._timeline(version.coupling)
        settings = self._settings
        gain = allowed_gain(changes, span, settings.strain_rate, settings.crossfade)
        frozen = () if estimate.knots is None else _inside(span, stretches)
        if gain is None:
            return replace(estimate, frozen=frozen) if frozen else estimate
        bad = [reason for reason in estimate.reasons if reason not in reasons.OF_GATES]
        gates = [reason for reason in estimate.reasons if reason in reasons.OF_GATES]
        return replace(
            estimate,
            gain=estimate.gain * gain,
            # A frame's outcome is its first reason: bad data, the operator, the gate.
            reasons=(*bad, reasons.OPERATOR, *gates),
            valid=estimate.gain if estimate.valid is None else estimate.valid,
            control=gain,
            frozen=frozen,
        )


def allowed_gain(changes: Sequence[Step], span: Span, rate: int, length: int) -> Float64 | None:
    """Return the gain that an operator allows over a span, shape `(n,)`; None where it is 1.

    >>> down = [Step(NS, 0.0)]
    >>> allowed_gain(down, Span(0, NS), 16, length=NS // 4) is None
    True
    >>> allowed_gain(down, Span.of_samples(16, 5, 16), 16, length=NS // 4).round(2).tolist()
    [0.96, 0.69, 0.31, 0.04, 0.0]

    Args:
        changes: the changes of the gain (core.control.steps).
        span: the span whose samples are returned.
        rate: samples per second.
        length: length of a change, nanoseconds.
    """
    # Those that are over before the span, and those that begin before its end.
    over = bisect_right(changes, span.start - length, key=lambda change: change.instant)
    begun = bisect_left(changes, span.end, key=lambda change: change.instant)
    settled, recent = changes[over - 1].gain if over else 1.0, changes[over:begun]
    if settled == 1 and not recent:
        return None
    gain = np.full(span.samples(rate), settled)
    for change in recent:
        # The weights add up to 1, so the gain lies between the two values; where the weight is 0 or
        # 1 it is the one or the other, bit for bit.
        rising = weight(span, rate, change.instant, length)
        gain = (1 - rising) * gain + rising * change.gain
    return gain


def _inside(span: Span, stretches: Iterable[Freeze]) -> tuple[Span, ...]:
    """Return the parts of a span in which adaptation is frozen."""
    parts = ((max(span.start, one.start * NS), min(span.end, one.stop * NS)) for one in stretches)
    return tuple(Span(low, high) for low, high in parts if low < high)
