"""The input taken in, and every hop computed that it allows, through all stages of all versions.

With look-ahead a hop is computed when the input reaches so far beyond it. Without, it is computed
when the input reaches its end, from that and nothing more: whatever there is of the input, it
is taken hop by hop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Block, WitnessFault
from deepclean.core.engine.coupling import Coupling, CouplingPipeline, schedule_of
from deepclean.core.engine.forecasting import ForecastingPipeline
from deepclean.core.engine.intake import Intake
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import CouplingState, EngineState
from deepclean.core.engine.versions import ActiveVersions
from deepclean.core.gate.monitor import GateMonitor
from deepclean.core.gate.state import BEGINNING, EstimateStream
from deepclean.core.time import NS, Span, index_from


class Pipeline:
    """Computes the hops of one engine, over a state that the engine keeps.

    Args:
        settings: of the engine.
        couplings: with the models that are in production first.

    Attributes:
        plan: where each stage stands.
        witnesses: all channels that any coupling uses, sorted.
        active: the versions at work.
        monitor: of the gates; None where there are none.

    Raises:
        ValueError: as Engine.
    """

    def __init__(self, settings: EngineSettings, couplings: Sequence[Coupling]) -> None:
        self.settings = settings
        self._interpolator = settings.interpolator()
        self.plan = Schedule(settings, {one.name: schedule_of(settings, one) for one in couplings})
        self._lookahead, self._window = self.plan.lookahead, self.plan.window
        self.witnesses = tuple(sorted({w for c in couplings for w in c.witnesses}))
        self.active = ActiveVersions([self.make(coupling) for coupling in couplings])
        self._intake = Intake(settings, self.witnesses)
        self.monitor: GateMonitor | None = None
        if settings.gate is not None:
            bands = {coupling.name: coupling.bands for coupling in couplings}
            if not all(bands.values()):
                raise ValueError("a gate needs the bands of its coupling")
            self.monitor = GateMonitor(
                settings.gate,
                bands,
                settings.strain_rate,
                settings.model_rate,
                delay=settings.ramp if settings.forecast else 0,
            )

    def make(self, coupling: Coupling) -> CouplingPipeline:
        """Return what computes a version's estimate."""
        if self.settings.forecast is None:
            return CouplingPipeline(self.settings, coupling, self._interpolator)
        return ForecastingPipeline(self.settings, coupling, self._interpolator, self._window)

    def start(self, start: int) -> EngineState:
        """Return the state of an engine whose input begins at `start`."""
        settings = self.settings
        # The first hop whose resampled witnesses begin no later than the input.
        first = index_from(start, settings.model_rate)
        first -= 0 if settings.forecast else self.plan.resampled
        state = EngineState(
            frontier=start,
            step=first // settings.hop_model,
            paths={},
            gates=self.monitor.start(start) if self.monitor else None,
        )
        self._intake.skip(state, start)
        for version in list(self.active.leaving):
            self.active.drop(version)
        for pipeline in self.active.pipelines.values():
            self.add(state, pipeline, start)
        return state

    def add(self, state: EngineState, pipeline: CouplingPipeline, start: int) -> None:
        """Begin a version's streams; what was before `start` (GPS ns) is missing for it."""
        version, path = pipeline.coupling.version, CouplingState(len(pipeline.coupling.witnesses))
        pipeline.mark_missing(path, BEGINNING, start, reasons.NO_HISTORY)
        state.paths[version] = path
        if self.monitor and state.gates:
            self.monitor.add(state.gates, version)

    def push(self, state: EngineState, block: Block) -> tuple[WitnessFault, ...]:
        """Take the block at the frontier in; return what is wrong with its witnesses."""
        faults: tuple[WitnessFault, ...] = ()
        for piece in self._pieces(block):
            if self.monitor and state.gates:
                self.monitor.push(state.gates, piece)
            faults += self._intake.push(state, piece, partial(self._miss, state))
            state.frontier = piece.span.end
            self._compute_due(state)
        return faults

    def skip(self, state: EngineState, end: int, reason: str) -> None:
        """Go on to `end`, from the frontier, without input."""
        for instant in self._ends(state.frontier, end):
            for version, path in state.paths.items():
                self.active.pipelines[version].mark_missing(path, state.frontier, instant, reason)
            if state.gates:
                state.gates.unfit.add(state.frontier, instant)
            self._intake.skip(state, instant)
            state.frontier = instant
            self._compute_due(state)

    def trim(self, state: EngineState) -> None:
        """Drop what no later hop or pending block needs."""
        hop = self.settings.hop_model
        start = state.step * hop
        self._intake.trim(state, *self._wanted(state.step), (state.step + 1) * self.settings.hop)
        oldest = state.step * self.settings.hop
        if state.pending:
            oldest = min(oldest, state.pending[0][0].span.start)
        watched = start
        if self.monitor and state.gates:
            near = oldest - self.settings.ramp - NS
            watched = self.monitor.trim(state.gates, near) * self.settings.model_rate // NS
        for version, path in state.paths.items():
            self.active.pipelines[version].trim(path, state.step, oldest, watched)

    def _ends(self, start: int, end: int) -> list[int]:
        """Return how far the input from `start` to `end` may be taken, one after the other.

        What does not wait sees the input hop by hop, whatever there is of it.
        """
        hop = self.settings.hop
        if self.settings.forecast is None:
            return [end]
        return [*range((start // hop + 1) * hop, end, hop), end]

    def _pieces(self, block: Block) -> list[Block]:
        """Cut a block where the input is to be taken piece by piece."""
        span = block.span
        edges = [span.start, *self._ends(span.start, span.end)]
        if len(edges) == 2:
            return [block]
        return [block.cut(Span(low, high)) for low, high in pairwise(edges)]

    def _miss(self, state: EngineState, witness: str, start: int, end: int, reason: str) -> None:
        """Note that a witness has no samples over `[start, end)`."""
        for version, path in state.paths.items():
            pipeline = self.active.pipelines[version]
            if witness in pipeline.coupling.witnesses:
                pipeline.mark_missing(path, start, end, reason)

    def _doubt(self, state: EngineState, witness: str, end: int) -> None:
        """Note that nothing up to `end` may rest on a forecast of a witness."""
        for version, path in state.paths.items():
            pipeline = self.active.pipelines[version]
            if witness in pipeline.coupling.witnesses:
                start, _ = pipeline.plan.spoilt_by_gap(self.settings, end, end)
                path.invalid.add(start, end, reasons.NO_FORECAST)

    def _compute_due(self, state: EngineState) -> None:
        """Compute every hop that the input allows."""
        while state.frontier >= (state.step + 1) * self.settings.hop + self._lookahead:
            self._compute(state)
            state.step += 1

    @np.errstate(over="ignore", invalid="ignore")
    def _compute(self, state: EngineState) -> None:
        """Compute hop `state.step` through all stages, up to the noise at the strain's rate."""
        first, count = self._wanted(state.step)
        end = (state.step + 1) * self.settings.hop
        if self.settings.forecast is None:
            resampled = self._intake.resample(state, first, count)
            seen = end + self.settings.ramp
        else:
            resampled = self._intake.extrapolate(state, first, count, end)
            for witness in self._intake.uncertain(state, end):
                self._doubt(state, witness, end)
            seen = end
        for version, path in state.paths.items():
            self.active.pipelines[version].compute(path, resampled, first, state.step)
        if self.monitor and state.gates:
            streams = {v: EstimateStream(p.bandpassed, p.invalid) for v, p in state.paths.items()}
            self.monitor.advance(state.gates, streams, seen)

    def _wanted(self, step: int) -> tuple[int, int]:
        """Return which witnesses at the model rate a hop is computed from: first, and how many."""
        hop = self.settings.hop_model
        if self.settings.forecast is None:
            return step * hop + self.plan.resampled, hop
        low, high = self._window
        return step * hop + low, high - low
