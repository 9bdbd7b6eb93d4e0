"""The pipeline takes the input in and computes every hop that it allows, with all versions.

A strategy decides whether a hop waits for its look-ahead (core.engine.lookahead) or forecasts it
(core.engine.forecasting). Everything else is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.spectra import SECONDS
from deepclean.core.block import Block, Estimate, Version, Without, WitnessFault
from deepclean.core.engine.adaptation import learn_together
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.freezing import knots_over
from deepclean.core.engine.intake import Intake
from deepclean.core.engine.lookahead import Strategy
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import CouplingState, StreamState
from deepclean.core.gain import is_one
from deepclean.core.gate.monitor import GateMonitor, highest_seen
from deepclean.core.gate.state import BEGINNING, EstimateStream
from deepclean.core.strain import StrainSpectra
from deepclean.core.time import NS, Span, index_from


class Pipeline:
    """Computes the hops of one engine, over a state that the engine keeps.

    Args:
        settings: the engine's settings.
        schedule: the schedule of the engine's stages.
        strategy: the strategy, which waits for the look-ahead of a hop or forecasts it.
        couplings: the couplings with the models that are in production first.

    Attributes:
        witnesses: all channels that any coupling uses, sorted.
        couplings: the pipeline of each version at work, also of those that are let go.

    Raises:
        ValueError: a network does not suit its configured mode, or a coupling has no bands where
            there are gates.
    """

    def __init__(
        self,
        settings: EngineSettings,
        schedule: Schedule,
        strategy: Strategy,
        couplings: Sequence[Coupling],
    ) -> None:
        self.settings, self.schedule, self.strategy = settings, schedule, strategy
        self.witnesses = tuple(sorted({w for c in couplings for w in c.witnesses}))
        made = [strategy.pipeline(coupling) for coupling in couplings]
        self.couplings: dict[Version, CouplingPipeline] = {p.coupling.version: p for p in made}
        self._lookahead = schedule.lookahead
        self._intake = Intake(settings, self.witnesses)
        learning = [p.adaptation.bins for p in made if p.adaptation is not None]
        highest = max((float(bins[-1]) / SECONDS for bins in learning), default=0.0)
        if settings.gate is not None:
            highest = max(highest, highest_seen(settings.strain_rate, settings.model_rate))
        self._strain = StrainSpectra(settings.strain_rate, highest) if highest else None
        self._monitor: GateMonitor | None = None
        if settings.gate is not None:
            bands = {coupling.name: coupling.bands for coupling in couplings}
            if not all(bands.values()):
                raise ValueError("a gate needs the bands of its coupling")
            assert self._strain is not None
            self._monitor = GateMonitor(
                settings.gate, bands, self._strain, settings.model_rate, delay=strategy.gate_delay
            )

    def start(self, start: int) -> StreamState:
        """Return the state of a stream that begins at `start` (GPS ns), with every version."""
        # Hop k reads the resampled witnesses from k hop + lead to (k + 1) hop + lead. The first hop
        # is the one whose witnesses hold the input's first sample, so that none is left out.
        first = index_from(start, self.settings.model_rate) - self.strategy.lead
        stream = StreamState(
            frontier=start,
            step=first // self.settings.hop_model,
            prepared=first // self.settings.hop_model,
            gates=self._monitor.start(start) if self._monitor else None,
        )
        stream.strain.unfit.add(BEGINNING, start)
        self._intake.skip(stream, start)
        for version in self.couplings:
            self.begin(stream, version)
        return stream

    def begin(self, stream: StreamState, version: Version) -> None:
        """Begin the streams of a version at the frontier. It has no witnesses before that."""
        self.prepare(stream)
        stream.couplings[version] = self.couplings[version].begin(stream.frontier)
        if self._monitor and stream.gates:
            loudest = self.couplings[version].coupling.predictor.loudest
            self._monitor.add(stream.gates, version, loudest)

    def end(self, stream: StreamState, version: Version) -> None:
        """End the streams of a version."""
        del stream.couplings[version]
        if stream.gates:
            del stream.gates.couplings[version]

    def push(self, stream: StreamState, block: Block) -> tuple[WitnessFault, ...]:
        """Take in the block at the frontier and return the faults of its witnesses."""
        faults: tuple[WitnessFault, ...] = ()
        for piece in self._pieces(block):
            self.prepare(stream)
            if self._strain:
                self._strain.push(stream.strain, piece)
            faults += self._intake.push(stream, piece, partial(self._mark_missing, stream))
            stream.frontier = piece.span.end
            self._compute_due(stream)
        return faults

    def skip(self, stream: StreamState, end: int, reason: str) -> None:
        """Advance the frontier to `end` (GPS ns) without input.

        Args:
            stream: the stream.
            end: GPS nanoseconds.
            reason: the reason for which there is no input.
        """
        for instant in self.strategy.cuts(stream.frontier, end):
            self.prepare(stream)
            for version, state in stream.couplings.items():
                self.couplings[version].mark_missing(state, stream.frontier, instant, reason)
            stream.strain.unfit.add(stream.frontier, instant)
            self._intake.skip(stream, instant)
            stream.frontier = instant
            self._compute_due(stream)

    @np.errstate(over="ignore", invalid="ignore")
    def prepare(self, stream: StreamState) -> None:
        """Do what the hops so far have left to the next one; nothing where it is done.

        It comes before anything else changes, so that it is the same whenever it is done.
        """
        if not self.strategy.defers or stream.prepared == stream.step:
            return
        self.strategy.prepare(self._intake, stream)
        self._learn(stream, stream.step - 1, late=True)
        if self._monitor and stream.gates:
            self._monitor.look(stream.gates, stream.strain, _streams(stream))
        stream.prepared = stream.step

    def estimate(self, stream: StreamState, version: Version, span: Span) -> Estimate:
        """Return a version's estimate over a span whose hops are all computed."""
        settings, state = self.settings, stream.couplings[version]
        near = (span.start - settings.ramp, span.end + settings.ramp)
        noise = state.noise.read(*span.indices(settings.strain_rate))[0]
        valid = self.couplings[version].valid(state, span)
        why = () if is_one(valid) else state.invalid.reasons(*near)
        without = tuple(
            Without(witness, Span(low, high))
            for witness, low, high in state.reduced.by_reason(span.start, span.end)
        )
        knots = knots_over(state.adaptation, span)
        if stream.gates is None or self._monitor is None:
            return Estimate(noise, valid, version.number, why, knots=knots, without=without)
        monitor = stream.gates.couplings[version]
        gate, also = self._monitor.gain(monitor, span, settings.ramp)
        unsettled = monitor.unsettled.overlapping(span.start, span.end)
        return Estimate(
            noise,
            np.minimum(valid, gate) if also else valid,
            version.number,
            (*why, *also),  # a frame's outcome is its first reason: bad data before the gate
            valid,
            gate,
            tuple(Span(max(low, span.start), min(high, span.end)) for low, high in unsettled),
            monitor.quality,
            monitor.gate.closed_by if also else None,
            monitor.obstacle,
            knots,
            without=without,
        )

    def trim(self, stream: StreamState) -> None:
        """Drop the samples that no later hop and no pending block needs."""
        settings, step = self.settings, stream.step
        self._intake.trim(stream, *self.strategy.window(step), step * settings.hop)
        oldest = min(step * settings.hop, stream.oldest)
        monitored = step * settings.hop
        if self._monitor and stream.gates:
            near = oldest - settings.ramp - NS
            monitored = self._monitor.trim(stream.gates, near)
        if self._strain:
            states = (state.adaptation for state in stream.couplings.values())
            unlearnt = (one.unlearnt for one in states if one is not None)
            self._strain.trim(stream.strain, min([monitored, *unlearnt]))
        for version, state in stream.couplings.items():
            self.couplings[version].trim(state, step, oldest, monitored * settings.model_rate // NS)

    def _learn(self, stream: StreamState, step: int, *, late: bool = False) -> None:
        """Let the gains of all versions learn from hop `step` (`CouplingPipeline.lesson`)."""
        lessons = (
            self.couplings[version].lesson(state, step, late=late)
            for version, state in stream.couplings.items()
        )
        learn_together(
            [lesson for lesson in lessons if lesson is not None], partial(self._spectrum, stream)
        )

    def _spectrum(self, stream: StreamState, second: int) -> Complex | None:
        """Return the strain's transform from a GPS second on; None where it is not usable."""
        return self._strain.of_second(stream.strain, second) if self._strain else None

    def _pieces(self, block: Block) -> list[Block]:
        """Return the pieces by which the strategy takes a block in."""
        span = block.span
        edges = [span.start, *self.strategy.cuts(span.start, span.end)]
        if len(edges) == 2:
            return [block]
        return [block.cut(Span(low, high)) for low, high in pairwise(edges)]

    def _using(
        self, stream: StreamState, witness: str
    ) -> Iterable[tuple[CouplingPipeline, CouplingState]]:
        """Yield the pipeline of each version that uses a witness, with its streams."""
        for version, state in stream.couplings.items():
            if witness in self.couplings[version].coupling.witnesses:
                yield self.couplings[version], state

    def _mark_missing(
        self, stream: StreamState, witness: str, start: int, end: int, reason: str
    ) -> None:
        """Note that a witness has no usable samples over `[start, end)` (GPS nanoseconds)."""
        for pipeline, state in self._using(stream, witness):
            pipeline.mark_missing(state, start, end, reason, witness)

    def _compute_due(self, stream: StreamState) -> None:
        """Compute every hop that the input allows: those that end a look-ahead before it."""
        while stream.frontier >= (stream.step + 1) * self.settings.hop + self._lookahead:
            self._compute(stream)
            stream.step += 1

    @np.errstate(over="ignore", invalid="ignore")
    def _compute(self, stream: StreamState) -> None:
        """Compute the next hop through all stages, up to the noise at the strain's rate."""
        strategy, step = self.strategy, stream.step
        first, _ = strategy.window(step)
        resampled = strategy.witnesses(self._intake, stream)
        for witness in strategy.uncertain(self._intake, stream):
            for pipeline, state in self._using(stream, witness):
                pipeline.mark_uncertain(state, (step + 1) * self.settings.hop, witness)
        spectrum = partial(self._spectrum, stream)
        working = [(self.couplings[version], state) for version, state in stream.couplings.items()]
        made = [one.bandpassed(state, resampled, first, step, spectrum) for one, state in working]
        self._learn(stream, step)
        for (one, state), bandpassed in zip(working, made, strict=True):
            one.finish(state, bandpassed, step)
        if self._monitor and stream.gates:
            seen = stream.gates, stream.strain, _streams(stream)
            self._monitor.advance(*seen, strategy.seen(step))
            if not strategy.defers:
                self._monitor.look(*seen)


def _streams(stream: StreamState) -> dict[Version, EstimateStream]:
    """Return what a gate can see of each version."""
    return {
        version: EstimateStream(state.bandpassed, state.invalid)
        for version, state in stream.couplings.items()
    }
