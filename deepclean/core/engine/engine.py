"""The signal's path: blocks of strain and witnesses in, cleaned blocks out.

`push(block)` takes the next stretch of input, of any length, and returns the earlier blocks whose
cleaning it completed: one out for one in, of the same span. Cleaning is computed in hops anchored
to GPS 0, so the samples of a block are a pure function of the configuration, the models and the
input from `history` before it to `lookahead` after it: however the input was cut, whenever the
engine was started. Where nothing waits, `lookahead` is 0: what a hop would have to wait for is
forecast (core.engine.forecasting).

Per hop `k`, each stage has advanced by its offset in the plan (core.engine.schedule):

    witnesses -> resample -> standardise, predict -> bandpass -> interpolate -> gain -> subtract
"""

from __future__ import annotations

from collections.abc import Sequence

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
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.pipeline import Pipeline
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import EngineState, Role, Switch
from deepclean.core.subtract import subtract
from deepclean.core.time import NS, Span


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
        self._pipeline = Pipeline(settings, couplings)
        self._active = self._pipeline.active
        self._state: EngineState | None = None

    @property
    def plan(self) -> Schedule:
        """Where each stage stands."""
        return self._pipeline.plan

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        """With the models that are in production from the next block on."""
        active = self._active
        return tuple(active.pipelines[version].coupling for version in active.production)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version that is at work from the next block on."""
        return self._active.versions

    def canary(self, coupling: str) -> Version | None:
        """Return the version that is a coupling's canary from the next block on."""
        return self._active.roles.get((coupling, "canary"))

    @property
    def model_errors(self) -> dict[Version, Exception]:
        """What a version's network raised last; its estimate is invalid there."""
        return {
            version: one.error
            for version, one in self._active.pipelines.items()
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
        return self._pipeline.witnesses

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
            self._state = self._pipeline.start(block.span.start)
        elif block.span.start < self._state.frontier:
            raise ValueError(f"{block.span} starts before the end of the input so far")
        elif block.span.start > self._state.frontier + self.history + self.lookahead:
            # Nothing before such a gap can reach past it.
            finished = self.release()
            self._state = self._pipeline.start(block.span.start)
        state = self._state
        if block.span.start > state.frontier:
            self._pipeline.skip(state, block.span.start, reasons.NO_INPUT)
        state.pending.append((block, self._pipeline.push(state, block)))
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
        self._pipeline.skip(state, end, reasons.NO_LOOKAHEAD)
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
        version, active, state = coupling.version, self._active, self._state
        if (version.coupling, "production") not in active.roles:
            raise ValueError(f"there is no coupling {version.coupling}")
        if version in active.versions:
            raise ValueError(f"{version} is at work already")
        unknown = sorted(set(coupling.witnesses) - set(self._pipeline.witnesses))
        if unknown:
            raise ValueError(f"{version} wants witnesses that are not read: {', '.join(unknown)}")
        pipeline = self._pipeline.make(coupling)
        wanted = Schedule(self.settings, {version.coupling: pipeline.plan})
        for what, needs, has in (
            ("look-ahead", wanted.lookahead, self.lookahead),
            ("history", wanted.history, self.history),
        ):
            if needs > has:
                raise ValueError(
                    f"{version} needs {needs / NS:.4f} s of {what}, this engine has "
                    f"{has / NS:.4f} s: restart to put it in force"
                )
        if active.leaving.pop(version, None) is not None:
            return  # it never stopped
        active.pipelines[version] = pipeline
        if state is not None:
            self._pipeline.add(state, pipeline, state.frontier)

    def remove(self, version: Version) -> None:
        """Let a version go that has no role, as soon as no block inside depends on it.

        Raises:
            ValueError: it is not at work, in production or a canary.
        """
        self._active.require(version)
        if version in self._active.roles.values():
            raise ValueError(f"{version} has a role")
        if self._state is None:
            self._active.drop(version)
            return
        given_up = [s.instant + self.settings.crossfade for s in self._state.switches]
        self._active.leaving[version] = max([self._state.frontier, *given_up])

    def promote(self, version: Version) -> int | None:
        """Put a version into production from the next block on; return where that begins (GPS ns).

        The two are crossfaded from there on. A canary is none any more then. None
        where nothing has gone in yet.

        Raises:
            ValueError: it is not at work, or the coupling's last switch is not done yet.
        """
        self._active.require(version)
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
            self._active.require(version)
        return self._give(coupling, "canary", version)

    def can_switch(self, coupling: str) -> bool:
        """Return whether the coupling's last switch is done."""
        if self._state is None:
            return True
        latest = [s.instant for s in self._state.switches if s.coupling == coupling]
        return not latest or self._state.frontier >= max(latest) + self.settings.crossfade

    def _give(self, coupling: str, role: Role, version: Version | None) -> int | None:
        """Give a role from the next block on; return where that begins."""
        before = self._active.give(coupling, role, version)
        if self._state is None:
            return None
        frontier = self._state.frontier
        if before != version:
            self._state.switches.append(Switch(frontier, coupling, role, before, version))
        return frontier

    def _retire(self, state: EngineState) -> None:
        """Let go what no block inside depends on any more."""
        oldest = state.pending[0][0].span.start if state.pending else state.frontier
        done = oldest - self.settings.crossfade
        state.switches = [switch for switch in state.switches if switch.instant > done]
        for version in [v for v, until in self._active.leaving.items() if until <= oldest]:
            self._active.drop(version)
            del state.paths[version]
            if state.gates:
                del state.gates.couplings[version]

    def _give_out(self, state: EngineState) -> list[CleanedBlock]:
        """Return the blocks that are complete."""
        hop, finished = self.settings.hop, []
        while state.pending and state.pending[0][0].span.end <= state.step * hop:
            finished.append(self._finish(state, *state.pending.popleft()))
        self._pipeline.trim(state)
        return finished

    def _finish(
        self, state: EngineState, block: Block, faults: tuple[WitnessFault, ...]
    ) -> CleanedBlock:
        """Return the cleaned block of a block whose hops are all computed."""
        if isinstance(block.strain, Gap):
            return CleanedBlock(block, None, {}, faults)
        span, active = block.span, self._active
        made = {
            version: self._estimate(state, version, span)
            for version in state.paths
            if active.leaving.get(version, span.end) > span.start
        }
        settings = self.settings
        estimates, canary = active.assign(
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
        valid = self._active.pipelines[version].valid(path, span)
        why = () if (valid == 1).all() else path.invalid.reasons(*near)
        if state.gates is None:
            return Estimate(noise, valid, version.number, why)
        watched = state.gates.couplings[version]
        assert self._pipeline.monitor is not None
        gate, also = self._pipeline.monitor.gain(watched, span, self.settings.ramp)
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
