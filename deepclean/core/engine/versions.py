"""Which versions of each coupling's model are at work, and what each is there for.

Of every coupling one version is in production; one may be its canary; others run beside them
without a role, to be ready. A version that is let go stays until no block inside depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deepclean.core.block import Estimate, Version
from deepclean.core.engine import crossfade as handover
from deepclean.core.engine.coupling import CouplingPipeline
from deepclean.core.engine.state import Role, Switch
from deepclean.core.time import Span


class ActiveVersions:
    """The versions at work in an engine.

    Args:
        pipelines: in production, one a coupling.

    Attributes:
        pipelines: of all versions, those that are let go too.
        roles: who has which from the next block on.
        leaving: until when a version that was let go is needed, GPS nanoseconds.
    """

    def __init__(self, pipelines: Iterable[CouplingPipeline]) -> None:
        self.pipelines = {one.coupling.version: one for one in pipelines}
        self.roles: dict[tuple[str, Role], Version] = {
            (version.coupling, "production"): version for version in self.pipelines
        }
        self.leaving: dict[Version, int] = {}
        self._couplings = tuple(version.coupling for version in self.pipelines)

    @property
    def versions(self) -> tuple[Version, ...]:
        """All but those that are let go."""
        return tuple(version for version in self.pipelines if version not in self.leaving)

    @property
    def production(self) -> tuple[Version, ...]:
        """One a coupling, in the order of the couplings."""
        return tuple(self.roles[name, "production"] for name in self._couplings)

    def require(self, version: Version) -> None:
        """Raise ValueError where a version is not at work."""
        if version not in self.versions:
            raise ValueError(f"{version} is not at work")

    def give(self, coupling: str, role: Role, version: Version | None) -> Version | None:
        """Give a role to a version, or to none; return the one that had it."""
        before = self.roles.pop((coupling, role), None)
        if version is not None:
            self.roles[coupling, role] = version
        return before

    def drop(self, version: Version) -> None:
        """Forget a version."""
        del self.pipelines[version]
        self.leaving.pop(version, None)

    def assign(
        self,
        switches: list[Switch],
        made: Mapping[Version, Estimate],
        span: Span,
        rate: int,
        crossfade: int,
    ) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
        """Return the estimates in production over a block, and those of the canary product.

        Where no coupling has a canary, the second is empty; a coupling without one has its
        production in it.

        Args:
            switches: as far as the block depends on them.
            made: each version's estimate.
            span: of the block.
            rate: of the strain, Hz.
            crossfade: nanoseconds.
        """

        def of(name: str, role: Role, otherwise: Estimate | None) -> Estimate | None:
            now = self.roles.get((name, role))
            version, switch = handover.in_force(switches, name, role, span.start, now)
            after = otherwise if version is None else made[version]
            if switch is None or span.start >= switch.instant + crossfade:
                return after
            before = otherwise if switch.before is None else made[switch.before]
            assert before is not None
            assert after is not None
            return handover.mixed(
                before, after, handover.weight(span, rate, switch.instant, crossfade)
            )

        estimates, candidates, tried = {}, {}, False
        for name in self._couplings:
            one = of(name, "production", None)
            candidate = of(name, "canary", one)
            assert one is not None
            assert candidate is not None
            estimates[name], candidates[name] = one, candidate
            tried = tried or candidate is not one
        return estimates, candidates if tried else {}
