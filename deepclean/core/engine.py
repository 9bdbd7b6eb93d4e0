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
from functools import partial
from itertools import pairwise

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import (
    Block,
    CleanedBlock,
    Estimate,
    Gap,
    Series,
    Version,
    WitnessFault,
)
from deepclean.core.intake import Intake
from deepclean.core.lineup import Lineup
from deepclean.core.plan import EngineSettings, Plan
from deepclean.core.runner import Coupling, Runner, plan_of
from deepclean.core.state import CouplingState, EngineState, Role, Switch
from deepclean.core.subtract import subtract
from deepclean.core.supervise import Supervisor
from deepclean.core.time import NS, Span, index_from
from deepclean.core.watched import BEGINNING, Stream
from deepclean.core.zero_wait import ZeroWaitRunner


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
        self._interpolator = settings.interpolator()
        self.plan = Plan(settings, {one.name: plan_of(settings, one) for one in couplings})
        runners = [self._runner(coupling) for coupling in couplings]
        self._witnesses = tuple(sorted({w for c in couplings for w in c.witnesses}))
        self._intake = Intake(settings, self._witnesses)
        self._lineup = Lineup(runners)
        self._supervisor: Supervisor | None = None
        if settings.gate is not None:
            bands = {coupling.name: coupling.bands for coupling in couplings}
            if not all(bands.values()):
                raise ValueError("a gate needs the bands of its coupling")
            self._supervisor = Supervisor(
                settings.gate,
                bands,
                settings.strain_rate,
                settings.model_rate,
                delay=settings.ramp if settings.forecast else 0,
            )
        self._state: EngineState | None = None

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        """With the models that are in production from the next block on."""
        lineup = self._lineup
        return tuple(lineup.runners[version].coupling for version in lineup.production)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version that is at work from the next block on."""
        return self._lineup.versions

    def canary(self, coupling: str) -> Version | None:
        """Return the version that is a coupling's canary from the next block on."""
        return self._lineup.roles.get((coupling, "canary"))

    @property
    def model_errors(self) -> dict[Version, Exception]:
        """What a version's network raised last; its estimate is invalid there."""
        return {
            version: one.error
            for version, one in self._lineup.runners.items()
            if one.error is not None
        }

    @property
    def frontier(self) -> int | None:
        """Where the input ends, GPS nanoseconds; None before the first block."""
        return self._state.frontier if self._state else None

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
        faults: tuple[WitnessFault, ...] = ()
        for piece in self._pieces(block):
            if self._supervisor and state.watch:
                self._supervisor.take(state.watch, piece)
            faults += self._intake.take(state, piece, partial(self._miss, state))
            state.frontier = piece.span.end
            self._compute_due(state)
        state.pending.append((block, faults))
        finished += self._give_out(state)
        self._retire(state)
        return finished

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
        return self._give_out(state)

    def restart(self) -> None:
        """Forget the input so far, pending blocks too: the next block may start anywhere."""
        self._state = None

    def add(self, coupling: Coupling) -> None:
        """Let another version of a coupling's model run beside production, from the next block on.

        For it the input begins there: its estimate is valid when its filters are full, and its
        gate starts closed. What comes out of the engine is not changed.

        Raises:
            ValueError: no such coupling, the version is at work already, it wants a witness that
                the engine does not take, its network does not suit the configured mode, or it
                needs to see further than the engine waits or remembers.
        """
        version, lineup, state = coupling.version, self._lineup, self._state
        if (version.coupling, "production") not in lineup.roles:
            raise ValueError(f"there is no coupling {version.coupling}")
        if version in lineup.versions:
            raise ValueError(f"{version} is at work already")
        unknown = sorted(set(coupling.witnesses) - set(self._witnesses))
        if unknown:
            raise ValueError(f"{version} wants witnesses that are not read: {', '.join(unknown)}")
        runner = self._runner(coupling)
        wanted = Plan(self.settings, {version.coupling: runner.plan})
        for what, needs, has in (
            ("look-ahead", wanted.lookahead, self.lookahead),
            ("history", wanted.history, self.history),
        ):
            if needs > has:
                raise ValueError(
                    f"{version} needs {needs / NS:.4f} s of {what}, this engine has "
                    f"{has / NS:.4f} s: restart to put it in force"
                )
        if lineup.leaving.pop(version, None) is not None:
            return  # it never stopped
        lineup.runners[version] = runner
        if state is not None:
            self._join(state, runner, state.frontier)

    def remove(self, version: Version) -> None:
        """Let a version go that has no role, as soon as no block inside depends on it.

        Raises:
            ValueError: it is not at work, in production or a canary.
        """
        self._lineup.require(version)
        if version in self._lineup.roles.values():
            raise ValueError(f"{version} has a role")
        if self._state is None:
            self._lineup.drop(version)
            return
        given_up = [s.instant + self.settings.crossfade for s in self._state.switches]
        self._lineup.leaving[version] = max([self._state.frontier, *given_up])

    def promote(self, version: Version) -> int | None:
        """Put a version into production from the next block on; return where that begins (GPS ns).

        The two are crossfaded from there on. A canary is none any more then. None
        where nothing has gone in yet.

        Raises:
            ValueError: it is not at work, or the coupling's last switch is not done yet.
        """
        self._lineup.require(version)
        name = version.coupling
        if not self.can_switch(name):
            raise ValueError(f"the last switch of {name} is not done yet")
        if self.canary(name) == version:
            self.set_canary(name, None)
        return self._give(name, "production", version)

    def set_canary(self, coupling: str, version: Version | None) -> int | None:
        """Make a version the canary, or none, from the next block on; return where that begins.

        Raises:
            ValueError: it is not at work.
        """
        if version is not None:
            self._lineup.require(version)
        return self._give(coupling, "canary", version)

    def can_switch(self, coupling: str) -> bool:
        """Return whether the coupling's last switch is done."""
        if self._state is None:
            return True
        latest = [s.instant for s in self._state.switches if s.coupling == coupling]
        return not latest or self._state.frontier >= max(latest) + self.settings.crossfade

    def _give(self, coupling: str, role: Role, version: Version | None) -> int | None:
        """Give a role from the next block on; return where that begins."""
        before = self._lineup.give(coupling, role, version)
        if self._state is None:
            return None
        frontier = self._state.frontier
        if before != version:
            self._state.switches.append(Switch(frontier, coupling, role, before, version))
        return frontier

    def _runner(self, coupling: Coupling) -> Runner:
        """Return what computes a version's estimate."""
        if self.settings.forecast is None:
            return Runner(self.settings, coupling, self._interpolator)
        return ZeroWaitRunner(self.settings, coupling, self._interpolator, self.plan.window)

    def _begin(self, start: int) -> EngineState:
        """Return the state of an engine whose input begins at `start`."""
        settings = self.settings
        # The first hop whose resampled witnesses begin no later than the input.
        first = index_from(start, settings.model_rate)
        first -= 0 if settings.forecast else self.plan.resampled
        state = EngineState(
            frontier=start,
            step=first // settings.hop_model,
            paths={},
            watch=self._supervisor.begin(start) if self._supervisor else None,
        )
        self._intake.skip(state, start)
        for version in list(self._lineup.leaving):
            self._lineup.drop(version)
        for runner in self._lineup.runners.values():
            self._join(state, runner, start)
        return state

    def _join(self, state: EngineState, runner: Runner, start: int) -> None:
        """Begin a version's streams; what was before `start` (GPS ns) is missing for it."""
        version, path = runner.coupling.version, CouplingState(len(runner.coupling.witnesses))
        runner.miss(path, BEGINNING, start, reasons.NO_HISTORY)
        state.paths[version] = path
        if self._supervisor and state.watch:
            self._supervisor.join(state.watch, version)

    def _retire(self, state: EngineState) -> None:
        """Let go what no block inside depends on any more."""
        oldest = state.pending[0][0].span.start if state.pending else state.frontier
        done = oldest - self.settings.crossfade
        state.switches = [switch for switch in state.switches if switch.instant > done]
        for version in [v for v, until in self._lineup.leaving.items() if until <= oldest]:
            self._lineup.drop(version)
            del state.paths[version]
            if state.watch:
                del state.watch.couplings[version]

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

    def _skip(self, state: EngineState, end: int, reason: str) -> None:
        """Go on to `end`, from the frontier, without input."""
        for instant in self._ends(state.frontier, end):
            for version, path in state.paths.items():
                self._lineup.runners[version].miss(path, state.frontier, instant, reason)
            if state.watch:
                state.watch.unfit.add(state.frontier, instant)
            self._intake.skip(state, instant)
            state.frontier = instant
            self._compute_due(state)

    def _miss(self, state: EngineState, witness: str, start: int, end: int, reason: str) -> None:
        """Note that a witness has no samples over `[start, end)`."""
        for version, path in state.paths.items():
            runner = self._lineup.runners[version]
            if witness in runner.coupling.witnesses:
                runner.miss(path, start, end, reason)

    def _doubt(self, state: EngineState, witness: str, end: int) -> None:
        """Note that nothing up to `end` may rest on a forecast of a witness."""
        for version, path in state.paths.items():
            runner = self._lineup.runners[version]
            if witness in runner.coupling.witnesses:
                start, _ = runner.plan.spoilt_by_gap(self.settings, end, end)
                path.invalid.add(start, end, reasons.NO_FORECAST)

    def _compute_due(self, state: EngineState) -> None:
        """Compute every hop that the input allows."""
        while state.frontier >= (state.step + 1) * self.settings.hop + self.lookahead:
            self._compute(state)
            state.step += 1

    def _give_out(self, state: EngineState) -> list[CleanedBlock]:
        """Return the blocks that are complete."""
        hop, finished = self.settings.hop, []
        while state.pending and state.pending[0][0].span.end <= state.step * hop:
            finished.append(self._finish(state, *state.pending.popleft()))
        self._forget(state)
        return finished

    @np.errstate(over="ignore", invalid="ignore")
    def _compute(self, state: EngineState) -> None:
        """Compute hop `state.step` through all stages, up to the noise at the strain's rate."""
        first, count = self._wanted(state.step)
        end = (state.step + 1) * self.settings.hop
        if self.settings.forecast is None:
            resampled = self._intake.resample(state, first, count)
            seen = end + self.settings.ramp
        else:
            resampled = self._intake.foresee(state, first, count, end)
            for witness in self._intake.doubtful(state, end):
                self._doubt(state, witness, end)
            seen = end
        for version, path in state.paths.items():
            self._lineup.runners[version].compute(path, resampled, first, state.step)
        if self._supervisor and state.watch:
            streams = {v: Stream(p.bandpassed, p.invalid) for v, p in state.paths.items()}
            self._supervisor.advance(state.watch, streams, seen)

    def _wanted(self, step: int) -> tuple[int, int]:
        """Return which witnesses at the model rate a hop is computed from: first, and how many."""
        hop = self.settings.hop_model
        if self.settings.forecast is None:
            return step * hop + self.plan.resampled, hop
        low, high = self.plan.window
        return step * hop + low, high - low

    def _finish(
        self, state: EngineState, block: Block, faults: tuple[WitnessFault, ...]
    ) -> CleanedBlock:
        """Return the cleaned block of a block whose hops are all computed."""
        if isinstance(block.strain, Gap):
            return CleanedBlock(block, None, {}, faults)
        span, lineup = block.span, self._lineup
        made = {
            version: self._estimate(state, version, span)
            for version in state.paths
            if lineup.leaving.get(version, span.end) > span.start
        }
        settings = self.settings
        estimates, canary = lineup.assign(
            state.switches, made, span, settings.strain_rate, settings.crossfade
        )
        cleaned = subtract(block.strain.samples, estimates.values())
        in_production = {Version(name, one.version) for name, one in estimates.items()}
        others = {version: one for version, one in made.items() if version not in in_production}
        return CleanedBlock(block, cleaned, estimates, faults, canary, others)

    def _estimate(self, state: EngineState, version: Version, span: Span) -> Estimate:
        """Return what a version contributes to a block whose hops are all computed."""
        rate, path = self.settings.strain_rate, state.paths[version]
        near = (span.start - self.settings.ramp, span.end + self.settings.ramp)
        first, stop = span.indices(rate)
        noise = path.noise.read(first, stop)[0]
        valid = self._lineup.runners[version].valid(path, span)
        why = () if (valid == 1).all() else path.invalid.reasons(*near)
        if state.watch is None:
            return Estimate(noise, valid, version.number, why)
        watched = state.watch.couplings[version]
        assert self._supervisor is not None
        gate, also = self._supervisor.gain(watched, span, self.settings.ramp)
        why = (*why, *also)  # what the data lack comes first
        unsettled = watched.unsettled.overlapping(span.start, span.end)
        return Estimate(
            noise,
            np.minimum(valid, gate),
            version.number,
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
        self._intake.forget(state, *self._wanted(state.step), (state.step + 1) * self.settings.hop)
        oldest = state.step * self.settings.hop
        if state.pending:
            oldest = min(oldest, state.pending[0][0].span.start)
        watched = start
        if self._supervisor and state.watch:
            near = oldest - self.settings.ramp - NS
            watched = self._supervisor.forget(state.watch, near) * self.settings.model_rate // NS
        for version, path in state.paths.items():
            self._lineup.runners[version].forget(path, state.step, oldest, watched)
