"""The strategy that waits: a hop is computed when the input reaches its look-ahead.

The other strategy is core.engine.forecasting. A strategy says how a stream is cut before it is
taken in, which witnesses a hop is computed from, and how far the gates see.
"""

from __future__ import annotations

from typing import Protocol

from deepclean.core.block import Float64
from deepclean.core.engine.coupling import Coupling, CouplingPipeline
from deepclean.core.engine.intake import Intake
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import StreamState
from deepclean.core.resample import Resampler


class Strategy(Protocol):
    """How a hop gets what it depends on beyond its end."""

    lead: int
    """Samples at the model rate by which a hop's witnesses run ahead of it."""

    gate_delay: int
    """Nanoseconds by which a gate acts later than it sees."""

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return what computes the estimate of a coupling's version, hop by hop."""
        ...

    def cuts(self, start: int, end: int) -> list[int]:
        """Return the instants up to which input from `start` to `end` is taken, in order (ns)."""
        ...

    def window(self, step: int) -> tuple[int, int]:
        """Return which witnesses a hop is computed from: first index at the model rate, count."""
        ...

    def witnesses(self, intake: Intake, stream: StreamState) -> dict[str, Float64]:
        """Return the witnesses at the model rate for the next hop, over its window."""
        ...

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return the witnesses that are there but cannot be used for the next hop."""
        ...

    def seen(self, step: int) -> int:
        """Return how far the gates see once a hop is computed, GPS nanoseconds."""
        ...


class LookAhead:
    """Waits for what a hop depends on.

    Args:
        settings: of the engine.
        schedule: of its stages.
    """

    def __init__(self, settings: EngineSettings, schedule: Schedule) -> None:
        self._settings = settings
        self._interpolator: Resampler = settings.interpolator()
        self.lead = schedule.resampled
        self.gate_delay = 0

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return what computes the estimate of a coupling's version, hop by hop."""
        return CouplingPipeline(self._settings, coupling, self._interpolator)

    def cuts(self, start: int, end: int) -> list[int]:
        """Return one cut: a hop waits for its look-ahead, however the input comes."""
        return [end]

    def window(self, step: int) -> tuple[int, int]:
        """Return one hop of witnesses, ahead of the hop by the lead of the resampling."""
        hop = self._settings.hop_model
        return step * hop + self.lead, hop

    def witnesses(self, intake: Intake, stream: StreamState) -> dict[str, Float64]:
        """Return the witnesses at the model rate for the next hop, over its window."""
        return intake.resample(stream, *self.window(stream.step))

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return no witness: nothing is forecast."""
        return []

    def seen(self, step: int) -> int:
        """Return the end of the hop and the ramp after it: a gate closes by the end of a ramp."""
        return (step + 1) * self._settings.hop + self._settings.ramp
