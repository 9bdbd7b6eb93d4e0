"""The strategy that waits: a hop is computed when the input reaches its look-ahead.

The other strategy is core.engine.forecasting. A strategy determines the cuts at which a stream is
taken in, the witnesses from which a hop is computed, and the instant up to which the gates see.
"""

from __future__ import annotations

from typing import Protocol

from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.intake import Intake, Resampled
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import StreamState
from deepclean.core.filters.resample import Resampler


class Strategy(Protocol):
    """The interface of a strategy by which a hop gets the witnesses after its end."""

    lead: int
    """The samples at the model rate by which a hop's witnesses run ahead of it."""

    gate_delay: int
    """The nanoseconds by which a gate acts later than it sees."""

    defers: bool
    """Whether what only the next hop needs is left to that."""

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return the pipeline that computes the estimate of a coupling's version, hop by hop."""
        ...

    def cuts(self, start: int, end: int) -> list[int]:
        """Return the instants at which input from `start` to `end` is cut, in order (GPS ns)."""
        ...

    def window(self, step: int) -> tuple[int, int]:
        """Return the first index and the number of the resampled witnesses of a hop."""
        ...

    def witnesses(self, intake: Intake, stream: StreamState) -> Resampled:
        """Return the witnesses at the model rate for the next hop, over its window."""
        ...

    def prepare(self, intake: Intake, stream: StreamState) -> None:
        """Do for the witnesses what the last hop has left to the next one."""
        ...

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return the witnesses that have samples but cannot be used for the next hop."""
        ...

    def seen(self, step: int) -> int:
        """Return the instant up to which the gates see once a hop is computed, GPS nanoseconds."""
        ...


class LookAhead:
    """The strategy that waits for the witnesses after a hop's end.

    Args:
        settings: the engine's settings.
        schedule: the schedule of the engine's stages.

    Attributes:
        lead: the offset of the resampled witnesses, in samples at the model rate.
        gate_delay: 0, because a gate sees the estimate a ramp in advance.
        defers: False, because a hop that waits needs all that is computed with it.
    """

    def __init__(self, settings: EngineSettings, schedule: Schedule) -> None:
        self._settings = settings
        self._interpolator: Resampler = settings.interpolator()
        self.lead = schedule.resampled
        self.gate_delay = 0
        self.defers = False

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return the pipeline that computes the estimate of a coupling's version, hop by hop."""
        return CouplingPipeline(self._settings, coupling, self._interpolator)

    def cuts(self, start: int, end: int) -> list[int]:
        """Return one cut, because a hop waits for its look-ahead however the input comes."""
        return [end]

    def window(self, step: int) -> tuple[int, int]:
        """Return the first index and the number of a hop's witnesses, ahead of it by the lead."""
        hop = self._settings.hop_model
        return step * hop + self.lead, hop

    def witnesses(self, intake: Intake, stream: StreamState) -> Resampled:
        """Return the witnesses at the model rate for the next hop, over its window."""
        return intake.resample(stream, *self.window(stream.step))

    def prepare(self, intake: Intake, stream: StreamState) -> None:
        """Do nothing, because nothing is left."""

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return no witness, because none is forecast."""
        return []

    def seen(self, step: int) -> int:
        """Return the end of the ramp after the hop, by which a gate may have to be closed."""
        return (step + 1) * self._settings.hop + self._settings.ramp
