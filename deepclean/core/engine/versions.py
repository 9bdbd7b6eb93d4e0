"""The versions of each coupling's model that are at work, and the role of each.

One version of every coupling is in production, and one may be its canary. Others run beside them
without a role, to be ready. A version that is let go stays until no block inside depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping

from deepclean.core.block import Estimate, Version
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.crossfade import in_force, mixed, weight
from deepclean.core.engine.pipeline import Pipeline
from deepclean.core.engine.schedule import Schedule
from deepclean.core.engine.state import EngineState, Role, StreamState, Switch
from deepclean.core.time import NS, Span


class ActiveVersions:
    """The versions at work in an engine, and the operations that change them.

    A change is in force from the next block on that goes in.

    Args:
        pipeline: the pipeline that computes the versions. At first it has one version of each
            coupling, which is in production.

    Attributes:
        state: the engine's state, with the roles.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._settings = pipeline.settings
        self._names = tuple(version.coupling for version in pipeline.couplings)
        self.state = EngineState({(v.coupling, "production"): v for v in pipeline.couplings})

    @property
    def at_work(self) -> tuple[Version, ...]:
        """The versions at work, without those that are let go."""
        return tuple(v for v in self._pipeline.couplings if v not in self.state.leaving)

    @property
    def production(self) -> tuple[Coupling, ...]:
        """The couplings with the models that are in production from the next block on."""
        return tuple(
            self._pipeline.couplings[self.state.roles[name, "production"]].coupling
            for name in self._names
        )

    def canary(self, coupling: str) -> Version | None:
        """Return a coupling's canary from the next block on; None where it has none."""
        return self.state.roles.get((coupling, "canary"))

    def add(self, coupling: Coupling) -> None:
        """Let another version of a coupling's model run beside production.

        The input begins here for it: its estimate is valid when its filters are full, and its gate
        starts closed. The products of the engine do not change.

        Raises:
            ValueError: there is no such coupling, the version is at work already, it wants a
                witness that the engine does not take, its network does not suit the configured
                mode, or it needs more look-ahead or history than the engine has.
        """
        version, stream = coupling.version, self.state.stream
        if version.coupling not in self._names:
            raise ValueError(f"there is no coupling {version.coupling}")
        if version in self.at_work:
            raise ValueError(f"{version} is at work already")
        unknown = sorted(set(coupling.witnesses) - set(self._pipeline.witnesses))
        if unknown:
            raise ValueError(f"{version} wants witnesses that are not read: {', '.join(unknown)}")
        pipeline = self._pipeline.strategy.pipeline(coupling)
        self._require_reach(pipeline)
        if self.state.leaving.pop(version, None) is not None:
            return  # its streams never stopped
        self._pipeline.couplings[version] = pipeline
        if stream is not None:
            self._pipeline.begin(stream, version)

    def remove(self, version: Version) -> None:
        """Let a version go that has no role, as soon as no block inside depends on it.

        Raises:
            ValueError: the version is not at work, or it is in production or a canary.
        """
        self._require(version)
        if version in self.state.roles.values():
            raise ValueError(f"{version} has a role")
        stream = self.state.stream
        if stream is None:
            self._drop(version)
            return
        # The blocks inside end at the frontier, but those after it still depend on the version
        # while a crossfade from it lasts.
        given_up = [switch.instant + self._settings.crossfade for switch in stream.switches]
        self.state.leaving[version] = max([stream.frontier, *given_up])

    def promote(self, version: Version) -> int | None:
        """Put a version into production and return the instant from which on it is there (GPS ns).

        The former version and this one are crossfaded from that instant on. If the version was the
        canary, there is no canary any more. The instant is None where no block has gone in yet.

        Raises:
            ValueError: the version is not at work, or the coupling's last crossfade is not over.
        """
        self._require(version)
        name = version.coupling
        if not self.can_switch(name):
            raise ValueError(f"the last switch of {name} is not done yet")
        if self.canary(name) == version:
            self.set_canary(name, None)
        return self._give(name, "production", version)

    def set_canary(self, coupling: str, version: Version | None) -> int | None:
        """Make a version, or none, the canary and return the instant of the change (GPS ns).

        The instant is None where no block has gone in yet.

        Raises:
            ValueError: the version is not at work.
        """
        if version is not None:
            self._require(version)
        return self._give(coupling, "canary", version)

    def can_switch(self, coupling: str) -> bool:
        """Return whether the crossfade of the coupling's last switch is over."""
        stream = self.state.stream
        if stream is None:
            return True
        latest = [s.instant for s in stream.switches if s.coupling == coupling]
        return not latest or stream.frontier >= max(latest) + self._settings.crossfade

    def drop_leaving(self) -> None:
        """Drop every version that was let go, because a new stream begins without them."""
        for version in list(self.state.leaving):
            self._drop(version)

    def retire(self, stream: StreamState) -> None:
        """Drop the switches and the versions that no block inside depends on any more."""
        oldest = stream.oldest
        done = oldest - self._settings.crossfade
        stream.switches = [switch for switch in stream.switches if switch.instant > done]
        for version in [v for v, until in self.state.leaving.items() if until <= oldest]:
            self._drop(version)
            self._pipeline.end(stream, version)

    def estimates(self, stream: StreamState, span: Span) -> dict[Version, Estimate]:
        """Return the estimate of every version that is not gone before a span begins."""
        leaving = self.state.leaving
        return {
            version: self._pipeline.estimate(stream, version, span)
            for version in stream.couplings
            if leaving.get(version, span.end) > span.start
        }

    def assign(
        self, switches: list[Switch], made: Mapping[Version, Estimate], span: Span
    ) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
        """Return the estimates in production over a block, and those of the canary product.

        The second is empty where no coupling has a canary. A coupling without a canary has its
        estimate in production there.

        Args:
            switches: the switches on which the block depends, in order.
            made: the estimate of each version over the block.
            span: the block's span.
        """
        rate, crossfade = self._settings.strain_rate, self._settings.crossfade

        def of(name: str, role: Role, otherwise: Estimate | None) -> Estimate | None:
            """Return the estimate in a role, or another one where the role is vacant."""
            now = self.state.roles.get((name, role))
            version, switch = in_force(switches, name, role, span.start, now)
            after = otherwise if version is None else made[version]
            if switch is None or span.start >= switch.instant + crossfade:
                return after
            before = otherwise if switch.before is None else made[switch.before]
            assert before is not None
            assert after is not None
            return mixed(before, after, weight(span, rate, switch.instant, crossfade))

        estimates, candidates, tried = {}, {}, False
        for name in self._names:
            one = of(name, "production", None)
            candidate = of(name, "canary", one)
            assert one is not None
            assert candidate is not None
            estimates[name], candidates[name] = one, candidate
            tried = tried or candidate is not one
        return estimates, candidates if tried else {}

    def _require(self, version: Version) -> None:
        """Raise ValueError if a version is not at work."""
        if version not in self.at_work:
            raise ValueError(f"{version} is not at work")

    def _require_reach(self, pipeline: CouplingPipeline) -> None:
        """Raise ValueError if a version needs more look-ahead or history than the engine has."""
        version, engine = pipeline.coupling.version, self._pipeline.schedule
        wanted = Schedule(self._settings, {version.coupling: pipeline.schedule})
        for what, needs, has in (
            ("look-ahead", wanted.lookahead, engine.lookahead),
            ("history", wanted.history, engine.history),
        ):
            if needs > has:
                raise ValueError(
                    f"{version} needs {needs / NS:.4f} s of {what}, this engine has "
                    f"{has / NS:.4f} s: promote it and restart to put it in force"
                )

    def _give(self, coupling: str, role: Role, version: Version | None) -> int | None:
        """Give a role to a version, or to none, and return the instant of the change (GPS ns)."""
        before = self.state.roles.pop((coupling, role), None)
        if version is not None:
            self.state.roles[coupling, role] = version
        stream = self.state.stream
        if stream is None:
            return None
        if before != version:
            stream.switches.append(Switch(stream.frontier, coupling, role, before, version))
        return stream.frontier

    def _drop(self, version: Version) -> None:
        """Drop a version's pipeline, and the record of it."""
        del self._pipeline.couplings[version]
        self.state.leaving.pop(version, None)
        self.state.errors.pop(version, None)
