"""The signal's path: blocks of strain and witnesses in, cleaned blocks out.

`push(block)` takes the next stretch of input, of any length, and returns the earlier blocks whose
cleaning it completed: one out for one in, of the same span. Cleaning is computed in hops anchored
to GPS 0, so the samples of a block are a pure function of the configuration, the models and the
input from `history` before it to `lookahead` after it: however the input was cut, whenever the
engine was started.

Per hop `k`, each stage has advanced by its offset in the plan (core.plan):

    witnesses -> resample -> standardise, predict -> bandpass -> interpolate -> gain -> subtract
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core import reasons
from deepclean.core.bandpass import Band, Bandpass
from deepclean.core.block import (
    Block,
    CleanedBlock,
    Estimate,
    Float64,
    Gap,
    Samples,
    Series,
    WitnessFault,
)
from deepclean.core.finite import finite
from deepclean.core.gain import gain_over
from deepclean.core.plan import CouplingPlan, EngineSettings, Plan
from deepclean.core.predict import Predictor, PredictSettings, geometry
from deepclean.core.resample import Resampler
from deepclean.core.state import CouplingState, EngineState
from deepclean.core.subtract import subtract
from deepclean.core.supervise import Stream, Supervisor
from deepclean.core.time import NS, Span, index_at, index_from
from deepclean.core.track import Track
from deepclean.core.witness import Run, clipped, frozen

_BEGINNING = -(1 << 62)


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """One subtraction problem.

    Args:
        name: for the frame and the log.
        witnesses: channel names in the network's order.
        predictor: the network with its scalers.
        predict: how it is laid over the stream.
        bandpass: confines the prediction.
        bands: Hz, for the gate.
    """

    name: str
    witnesses: tuple[str, ...]
    predictor: Predictor
    predict: PredictSettings
    bandpass: Bandpass
    bands: Sequence[Band] = ()


class Engine:
    """Cleans a stream of blocks.

    Args:
        settings: rates, hop, ramp and resampling that all couplings share.
        couplings: at least one, with distinct names.

    Raises:
        ValueError: no coupling, equal names, a coupling whose network does not suit its
            configured mode, or one without bands where there are gates.
    """

    def __init__(self, settings: EngineSettings, couplings: Sequence[Coupling]) -> None:
        if not couplings or len({coupling.name for coupling in couplings}) < len(couplings):
            raise ValueError("an engine needs at least one coupling, each with its own name")
        self.settings = settings
        self.couplings = tuple(couplings)
        self.plan = Plan(settings, {c.name: _plan(settings, c) for c in couplings})
        self._witnesses = tuple(sorted({w for c in couplings for w in c.witnesses}))
        self._users = {
            witness: tuple(c.name for c in couplings if witness in c.witnesses)
            for witness in self._witnesses
        }
        self._interpolator = settings.interpolator()
        self._supervisor: Supervisor | None = None
        if settings.gate is not None:
            bands = {coupling.name: coupling.bands for coupling in couplings}
            if not all(bands.values()):
                raise ValueError("a gate needs the bands of its coupling")
            self._supervisor = Supervisor(
                settings.gate, bands, settings.strain_rate, settings.model_rate
            )
        self._resamplers: dict[int, Resampler] = {}
        self._state: EngineState | None = None
        self.model_errors: dict[str, Exception] = {}
        """What a coupling's network raised last; its estimate is invalid there."""

    @property
    def history(self) -> int:
        """`H`: nanoseconds of input before a block that its cleaned samples depend on."""
        return self.plan.history

    @property
    def lookahead(self) -> int:
        """`L`: nanoseconds of input after a hop that its cleaned samples depend on."""
        return self.plan.lookahead

    def needs(self, span: Span) -> Span:
        """Return the input that the cleaned samples of a span depend on.

        A span that is not whole hops needs the history of the hop in which it begins and the
        look-ahead of the one in which it ends.
        """
        hop = self.settings.hop
        return Span(
            span.start // hop * hop - self.history, -(-span.end // hop) * hop + self.lookahead
        )

    @property
    def witnesses(self) -> tuple[str, ...]:
        """All channels that any coupling uses, sorted."""
        return self._witnesses

    @property
    def pending(self) -> int:
        """How many blocks went in and have not come out."""
        return len(self._state.pending) if self._state else 0

    def push(self, block: Block) -> list[CleanedBlock]:
        """Take the next block; return the blocks that this completes, in order.

        A stretch between the last block's end and this one's start is a gap in every channel.

        Args:
            block: at the strain's rate of the settings; witnesses at any rate from the slowest
                that the settings take. A witness whose rate is too low counts as a gap.

        Raises:
            ValueError: the block starts before the end of the last one, or its strain has
                another rate. The engine is unchanged.
        """
        if isinstance(block.strain, Series) and block.strain.rate != self.settings.strain_rate:
            raise ValueError(
                f"strain at {block.strain.rate} Hz, expected {self.settings.strain_rate} Hz"
            )
        finished: list[CleanedBlock] = []
        if self._state is None:
            self._state = self._begin(block.span.start)
        elif block.span.start < self._state.frontier:
            raise ValueError(f"{block.span} starts before the end of the input so far")
        elif block.span.start > self._state.frontier + self.history + self.lookahead:
            # Nothing before such a gap can reach past it.
            finished = self.release()
            self._state = self._begin(block.span.start)
        state = self._state
        if block.span.start > state.frontier:
            self._skip(state, block.span.start, reasons.NO_INPUT)
        if self._supervisor and state.watch:
            self._supervisor.take(state.watch, block)
        faults = tuple(f for witness in self._witnesses for f in self._take(state, witness, block))
        state.frontier = block.span.end
        state.pending.append((block, faults))
        return finished + self._advance(state)

    def release(self) -> list[CleanedBlock]:
        """Return every block that is still pending, taking what comes after it as a gap.

        The stream may go on: later blocks still see the whole history. Only the blocks that are
        released here lack their look-ahead, so their gain falls to 0 towards its end.
        """
        if self._state is None or not self._state.pending:
            return []
        state = self._state.copy()
        self._state.pending.clear()
        end = state.frontier + 2 * self.lookahead + 2 * self.settings.hop
        self._skip(state, end, reasons.NO_LOOKAHEAD)
        state.frontier = end
        return self._advance(state)

    def restart(self) -> None:
        """Forget the input so far, pending blocks too: the next block may start anywhere."""
        self._state = None

    def _begin(self, start: int) -> EngineState:
        """Return the state of an engine whose input begins at `start`."""
        settings = self.settings
        # The first hop whose resampled witnesses begin no later than the input.
        first = index_from(start, settings.model_rate) - self.plan.resampled
        state = EngineState(
            frontier=start,
            step=first // settings.hop_model,
            paths={c.name: CouplingState(len(c.witnesses)) for c in self.couplings},
            watch=self._supervisor.begin(start) if self._supervisor else None,
        )
        self._miss(state, self._witnesses, _BEGINNING, start, reasons.NO_HISTORY)
        return state

    def _skip(self, state: EngineState, end: int, reason: str) -> None:
        """Note that there is no input from the frontier to `end`."""
        self._miss(state, self._witnesses, state.frontier, end, reason)
        if state.watch:
            state.watch.unfit.add(state.frontier, end)

    def _miss(
        self, state: EngineState, witnesses: Sequence[str], start: int, end: int, reason: str
    ) -> None:
        """Note that these witnesses have no samples over `[start, end)`."""
        for name in {user for witness in witnesses for user in self._users[witness]}:
            state.paths[name].invalid.add(*self.plan.spoilt_by_gap(name, start, end), reason)

    def _take(self, state: EngineState, witness: str, block: Block) -> list[WitnessFault]:
        """Add one witness of a block to the input; return what is wrong with it there."""
        span = block.span
        channel = block.witnesses.get(witness, Gap(span, reasons.MISSING))
        if isinstance(channel, Series) and channel.rate < self.settings.resample.slowest_rate:
            channel = Gap(span, reasons.BAD_RATE)
        if isinstance(channel, Gap):
            self._miss(state, (witness,), span.start, span.end, channel.reason)
            return [WitnessFault(witness, channel.reason, span)]
        rate = channel.rate
        if state.rates.setdefault(witness, rate) != rate:
            # The rate changed: no filter spans the seam, which has no length of its own.
            self._miss(state, (witness,), span.start, span.start, reasons.BAD_RATE)
            state.rates[witness] = rate
            state.held.pop(witness, None)
        first = index_at(span.start, rate)
        samples, bad = finite(channel.samples)
        unusable = {
            reasons.NONFINITE_WITNESS: [(first + low, first + high) for low, high in bad],
            reasons.FROZEN: self._frozen(state, witness, channel, first),
            reasons.CLIPPED: self._clipped(witness, samples, first),
        }
        faults = []
        for reason, runs in unusable.items():
            for low, high in runs:
                # A sample stands at an instant: from the first bad one to just after the last.
                start, end = low * NS // rate, (high - 1) * NS // rate + 1
                self._miss(state, (witness,), start, end, reason)
                faults.append(WitnessFault(witness, reason, Span(start, end)))
        if samples[0] == 0 and not faults and not samples.any():
            faults.append(WitnessFault(witness, reasons.ZERO, span))
        state.inputs.setdefault((witness, rate), Track(1)).append(first, samples[None])
        return faults

    def _frozen(self, state: EngineState, witness: str, channel: Series, first: int) -> list[Run]:
        duration = self.settings.witness.frozen
        if duration is None:
            return []
        runs, state.held[witness] = frozen(
            channel.samples, first, channel.rate, duration, state.held.get(witness)
        )
        return runs

    def _clipped(self, witness: str, samples: Samples, first: int) -> list[Run]:
        limit = self.settings.witness.limits.get(witness)
        return [] if limit is None else clipped(samples, first, limit)

    def _advance(self, state: EngineState) -> list[CleanedBlock]:
        """Compute every hop that the input allows; return the blocks that are complete."""
        hop = self.settings.hop
        while state.frontier >= (state.step + 1) * hop + self.lookahead:
            self._compute(state)
            state.step += 1
        finished = []
        while state.pending and state.pending[0][0].span.end <= state.step * hop:
            finished.append(self._finish(state, *state.pending.popleft()))
        self._forget(state)
        return finished

    @np.errstate(over="ignore", invalid="ignore")
    def _compute(self, state: EngineState) -> None:
        """Compute hop `state.step` through all stages, up to the noise at the strain's rate."""
        hop = self.settings.hop_model
        start = state.step * hop
        resampled = self._resample(state, start + self.plan.resampled, hop)
        for coupling in self.couplings:
            path, plan = state.paths[coupling.name], self.plan.couplings[coupling.name]
            rows = np.stack([resampled[witness] for witness in coupling.witnesses])
            self._standardise(path, coupling, rows, start + self.plan.resampled)
            self._predict(path, coupling, start + plan.predicted)
            first = start + plan.bandpassed
            window = path.predicted.read(first - plan.settle_in, first + hop + plan.settle_in)
            path.bandpassed.append(first, coupling.bandpass.apply(window[0])[None])
            self._interpolate(path, state.step)
        if self._supervisor and state.watch:
            streams = {n: Stream(p.bandpassed, p.invalid) for n, p in state.paths.items()}
            until = (state.step + 1) * self.settings.hop + self.settings.ramp
            self._supervisor.advance(state.watch, streams, until)

    def _resample(self, state: EngineState, first: int, count: int) -> dict[str, Float64]:
        """Return `count` samples from `first` at the model rate of every witness."""
        total = dict.fromkeys(self._witnesses, np.zeros(count))
        by_rate: dict[int, list[str]] = {}
        for witness, rate in state.inputs:
            by_rate.setdefault(rate, []).append(witness)
        for rate, witnesses in by_rate.items():
            resampler = self._resampler(rate)
            low, high = resampler.needs(first, count)
            inputs = np.concatenate([state.inputs[w, rate].read(low, high) for w in witnesses])
            for witness, row in zip(witnesses, resampler.apply(inputs, first, count), strict=True):
                # Where a rate changed, each rate's track is zero in the other's time.
                total[witness] = total[witness] + row
        return total

    def _resampler(self, rate: int) -> Resampler:
        if rate not in self._resamplers:
            resample = self.settings.resample
            self._resamplers[rate] = Resampler(
                rate,
                self.settings.model_rate,
                zeros=resample.zeros,
                max_delay=resample.max_delay,
                attenuation=resample.attenuation,
            )
        return self._resamplers[rate]

    def _standardise(
        self, path: CouplingState, coupling: Coupling, rows: Float64, first: int
    ) -> None:
        """Standardise one hop from `first`; what float32 cannot hold is invalid, as if missing."""
        shape = self.plan.couplings[coupling.name].geometry
        standardised, runs = finite(coupling.predictor.standardise(rows))
        for low, high in runs:
            predicted = shape.spoilt(first + low, first + high)
            spoilt = self.plan.spoilt_by_prediction(coupling.name, *predicted)
            path.invalid.add(*spoilt, reasons.NONFINITE_WITNESS)
        path.standardised.append(first, standardised)

    def _predict(self, path: CouplingState, coupling: Coupling, first: int) -> None:
        """Predict one hop from `first`; a prediction that fails is invalid, never subtracted."""
        hop, shape = self.settings.hop_model, self.plan.couplings[coupling.name].geometry
        window = path.standardised.read(first - shape.before, first + hop + shape.after)
        reason = reasons.NONFINITE
        try:
            raw = coupling.predictor.predict(window, shape)
        except Exception as error:  # noqa: BLE001  (whatever a network raises, the strain goes out)
            self.model_errors[coupling.name] = error
            raw, reason = np.full(hop, np.nan), reasons.MODEL_ERROR
        predicted, runs = finite(raw)
        for low, high in runs:
            spoilt = self.plan.spoilt_by_prediction(coupling.name, first + low, first + high)
            path.invalid.add(*spoilt, reason)
        path.predicted.append(first, predicted[None])

    def _interpolate(self, path: CouplingState, step: int) -> None:
        """Bring one hop of bandpassed prediction to the strain's rate.

        The last stage before the subtraction: a prediction so great that a filter's sum overflowed
        is found here.
        """
        count, rate = self.settings.hop_strain, self.settings.strain_rate
        first = step * count
        window = path.bandpassed.read(*self._interpolator.needs(first, count))
        noise, runs = finite(self._interpolator.apply(window, first, count))
        for low, high in runs:
            start, last = ((first + index) * NS // rate for index in (low, high - 1))
            path.invalid.add(start, last + 1, reasons.NONFINITE)
        path.noise.append(first, noise)

    def _finish(
        self, state: EngineState, block: Block, faults: tuple[WitnessFault, ...]
    ) -> CleanedBlock:
        """Return the cleaned block of a block whose hops are all computed."""
        if isinstance(block.strain, Gap):
            return CleanedBlock(block, None, {}, faults)
        estimates = {c.name: self._estimate(state, c, block.span) for c in self.couplings}
        cleaned = subtract(block.strain.samples, estimates.values())
        return CleanedBlock(block, cleaned, estimates, faults)

    def _estimate(self, state: EngineState, coupling: Coupling, span: Span) -> Estimate:
        """Return what a coupling contributes to a block whose hops are all computed."""
        rate, path = self.settings.strain_rate, state.paths[coupling.name]
        ramp = self.settings.ramp * rate // NS
        near = (span.start - self.settings.ramp, span.end + self.settings.ramp)
        first, stop = span.indices(rate)
        noise, version = path.noise.read(first, stop)[0], coupling.predictor.version
        valid = gain_over(span, rate, path.invalid, ramp)
        why = () if (valid == 1).all() else path.invalid.reasons(*near)
        if state.watch is None:
            return Estimate(noise, valid, version, why)
        watched = state.watch.couplings[coupling.name]
        assert self._supervisor is not None
        gate, also = self._supervisor.gain(watched, span, self.settings.ramp)
        why = (*why, *also)  # what the data lack comes first
        unsettled = watched.unsettled.overlapping(span.start, span.end)
        return Estimate(
            noise,
            np.minimum(valid, gate),
            version,
            why,
            valid,
            gate,
            tuple(Span(max(low, span.start), min(high, span.end)) for low, high in unsettled),
            watched.quality,
        )

    def _forget(self, state: EngineState) -> None:
        """Drop what no later hop or pending block needs."""
        hop = self.settings.hop_model
        start = state.step * hop
        for (witness, rate), track in list(state.inputs.items()):
            low, _ = self._resampler(rate).needs(start + self.plan.resampled, hop)
            track.drop_before(low)
            if len(track) == 0:
                del state.inputs[witness, rate]
        oldest = state.step * self.settings.hop
        if state.pending:
            oldest = min(oldest, state.pending[0][0].span.start)
        # What a block's gain may still depend on.
        near = oldest - self.settings.ramp - NS
        watched = start
        if self._supervisor and state.watch:
            watched = self._supervisor.forget(state.watch, near) * self.settings.model_rate // NS
        for name, path in state.paths.items():
            plan = self.plan.couplings[name]
            path.standardised.drop_before(start + plan.predicted - plan.geometry.before)
            path.predicted.drop_before(start + plan.bandpassed - plan.settle_in)
            low, _ = self._interpolator.needs(state.step * self.settings.hop_strain, 1)
            path.bandpassed.drop_before(min(low, watched))
            path.noise.drop_before(oldest * self.settings.strain_rate // NS)
            path.invalid.drop_before(min(near, watched * NS // self.settings.model_rate))


def _plan(settings: EngineSettings, coupling: Coupling) -> CouplingPlan:
    """Return where a coupling's stages stand. Raises ValueError as core.predict.geometry does."""
    predictor = coupling.predictor
    shape = geometry(coupling.predict, settings.hop_model, predictor.field, predictor.period)
    return CouplingPlan.of(settings, coupling.bandpass.settle_in, shape)
