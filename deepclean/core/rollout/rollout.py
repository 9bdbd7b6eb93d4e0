"""The rollout of a model in a running engine: it joins, is tried, takes over, stays or goes.

| offered as | it runs beside production until | then |
|---|---|---|
| production | its gate is open where production's is, or that one is closed | takes over |
| | `patience` of counted time has passed | refused |
| canary | a trial is passed (core.rollout.rules) | takes over |
| | the trial is failed | rejected |

A version that took over is on probation: the former production runs on beside it, and takes over
again, once, if that would be better. All decisions rest on blocks that came out of the engine, and
are in force from the next block on that goes in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from deepclean.core.block import CleanedBlock, Estimate, Version
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.state import Role
from deepclean.core.rollout.compared import does_count, is_open, is_valid, trial_block
from deepclean.core.rollout.rules import (
    CanaryProgress,
    Probation,
    Trial,
    TrialSettings,
    TrialVerdict,
)
from deepclean.core.time import NS

What = Literal[
    "started",
    "offered",
    "withdrawn",
    "in_force",
    "refused",
    "promoted",
    "rejected",
    "rolled_back",
    "confirmed",
]
"""An event in a version's life. The first three come from outside, the others are decided here."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a version's life.

    Args:
        instant: the instant from which on it is in force, GPS nanoseconds: the edge of a block.
        what: the kind of event.
        version: the version.
        role: the role of the version.
        former: the number of the version that it took over from.
        why: the reason, for people.
        figures: the measures on which the decision rests, by name.
    """

    instant: int
    what: What
    version: Version
    role: Role
    former: int | None = None
    why: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _CouplingRollout:
    """The versions of a coupling beside production, and the rules that judge them.

    Args:
        incoming: the version that takes over as soon as nothing is lost by it.
        waited: the counted time, in nanoseconds, that it has waited.
        canary: the canary, and `trial` its trial.
        former: the former production, kept ready, and `probation` that of the new production.
    """

    incoming: Version | None = None
    waited: int = 0
    canary: Version | None = None
    trial: Trial | None = None
    former: Version | None = None
    probation: Probation | None = None

    @property
    def kept(self) -> set[Version | None]:
        return {self.incoming, self.canary, self.former}


class Rollout:
    """Decides which versions of an engine's models are at work.

    Args:
        engine: the engine, whose versions nobody else may switch.
        settings: the settings of the rules.
    """

    def __init__(self, engine: Engine, settings: TrialSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._courses = {
            coupling.name: _CouplingRollout() for coupling in engine.versions.production
        }

    def production(self, coupling: str) -> Version:
        """Return the version in production from the next block on."""
        return next(c.version for c in self._engine.versions.production if c.name == coupling)

    def runs(self, version: Version) -> bool:
        """Return whether a version is at work."""
        return version in self._engine.versions.at_work

    def standing(self, coupling: str) -> str:
        """Return a description of a coupling's versions at work and of their progress."""
        course, said = self._courses[coupling], [str(self.production(coupling).number)]
        if course.incoming is not None:
            said.append(f"{course.incoming.number} about to take over")
        if (canary := self.canary(coupling)) is not None:
            seconds, wanted = canary.figures.in_spec // NS, canary.wanted // NS
            said.append(f"canary {canary.version} in spec for {seconds} of {wanted} s")
        if course.former is not None:
            said.append(f"{course.former.number} kept ready")
        return ", ".join(said)

    def canary(self, coupling: str) -> CanaryProgress | None:
        """Return how far the trial of a coupling's canary is; None where it has none."""
        course = self._courses[coupling]
        if course.canary is None or course.trial is None:
            return None
        wanted = self._settings.validation_time
        return CanaryProgress(course.canary.number, wanted, course.trial.figures())

    def offer(
        self, instant: int, version: Version, role: Role, model: Coupling | None
    ) -> Event | None:
        """Take a model that is to have a role and return the event, if there is one.

        An offer of the version in production withdraws the version that was to have the role.

        Args:
            instant: the start of the next block, GPS nanoseconds.
            version: the version.
            role: the role that it is to have.
            model: the coupling with the model of that version; None where it is at work.

        Raises:
            ValueError: the engine cannot take it (ActiveVersions.add). Nothing is changed.
        """
        course, name = self._courses[version.coupling], version.coupling
        if version == self.production(name):
            return self.withdraw(instant, name, role)
        if model is not None and not self.runs(version):
            self._engine.versions.add(model)
        if role == "canary":
            before, course.canary, course.trial = course.canary, version, Trial(self._settings)
            if before is not None and before != version:
                self._engine.versions.set_canary(name, None)
                self._let_go(before)
        elif version != course.incoming:
            self._drop_incoming(course)
            course.incoming, course.waited = version, 0
        return Event(instant, "offered", version, role)

    def withdraw(self, instant: int, coupling: str, role: Role) -> Event | None:
        """Let the incoming version or the canary go and return the event, if there was one."""
        course = self._courses[coupling]
        version = course.incoming if role == "production" else course.canary
        if version is None:
            return None
        if role == "production":
            self._drop_incoming(course)
        else:
            self._drop_canary(course)
        return Event(instant, "withdrawn", version, role)

    def step(self, block: CleanedBlock) -> list[Event]:
        """Take the next block that came out and return the events that are decided on it."""
        found: list[Event] = []
        if not block.others or block.cleaned is None:
            return found
        counts = does_count(block)
        for name, course in self._courses.items():
            for step in (self._step_incoming, self._step_trial, self._step_probation):
                # One switch at a time: the rest is decided on the next block.
                if not self._engine.versions.can_switch(name):
                    break
                event = step(course, block, block.estimates[name], counts)
                if event is not None:
                    found.append(event)
        return found

    def _step_incoming(
        self, course: _CouplingRollout, block: CleanedBlock, now: Estimate, counts: bool
    ) -> Event | None:
        """Let an incoming version take over as soon as nothing is lost by it."""
        version = course.incoming
        one = block.others.get(version) if version else None
        if version is None or one is None:
            return None
        if is_open(one) or not is_open(now):
            if is_valid(one) or not is_valid(now):
                course.incoming = None
                why = "" if is_open(one) else "production's gate is closed"
                return self._take_over("in_force", course, version, block, now, why)
            return None
        if counts and not one.unsettled:
            course.waited += block.span.duration
        if course.waited < self._settings.patience:
            return None
        self._drop_incoming(course)
        ratio = "unknown" if one.quality is None else f"{one.quality.in_band:.3f}"
        why = (
            f"its gate did not open in {self._settings.patience // 10**9} s in which production's "
            f"was open (ASD ratio {ratio})"
        )
        return Event(self._instant(block), "refused", version, "production", None, why)

    def _step_trial(
        self, course: _CouplingRollout, block: CleanedBlock, now: Estimate, counts: bool
    ) -> Event | None:
        """Show the canary's trial the next block, and act on its verdict."""
        version, trial = course.canary, course.trial
        one = block.others.get(version) if version else None
        if version is None or trial is None or one is None:
            return None
        if self._engine.versions.canary(version.coupling) != version:
            # A canary begins when its filters are full.
            if not is_valid(one):
                return None
            self._engine.versions.set_canary(version.coupling, version)
        compared = trial_block(block, one, now) if counts else None
        if compared is None:
            return None
        verdict = trial.step(compared)
        if verdict is TrialVerdict.WAIT:
            return None
        figures = asdict(trial.figures())
        if verdict is TrialVerdict.BAD:
            why = trial.why()
            self._drop_canary(course)
            return Event(self._instant(block), "rejected", version, "canary", None, why, figures)
        course.canary = course.trial = None
        return self._take_over("promoted", course, version, block, now, "trial passed", figures)

    def _step_probation(
        self, course: _CouplingRollout, block: CleanedBlock, now: Estimate, counts: bool
    ) -> Event | None:
        """Show production's probation the next block, and act on its verdict."""
        version, probation = course.former, course.probation
        one = block.others.get(version) if version else None
        if version is None or probation is None or one is None:
            return None
        compared = trial_block(block, now, one) if counts else None
        verdict = TrialVerdict.WAIT if compared is None else probation.step(compared)
        if verdict is TrialVerdict.WAIT:
            return None
        course.former = course.probation = None
        current = self.production(version.coupling)
        if verdict is TrialVerdict.BAD:
            self._engine.versions.promote(version)
            self._let_go(current)
            return Event(
                self._instant(block),
                "rolled_back",
                version,
                "production",
                current.number,
                probation.why(),
                probation.figures(),
            )
        self._let_go(version)
        return Event(self._instant(block), "confirmed", current, "production", version.number)

    def _take_over(
        self,
        what: What,
        course: _CouplingRollout,
        version: Version,
        block: CleanedBlock,
        now: Estimate,
        why: str,
        figures: dict[str, float] | None = None,
    ) -> Event:
        """Let a version take over. The former is kept ready where there are gates to judge by."""
        before, older = self.production(version.coupling), course.former
        instant = self._engine.versions.promote(version)
        if instant is None:  # the stream has just ended: the next one begins with the version
            instant = self._instant(block)
        if course.canary == version:
            course.canary = course.trial = None
        judged = now.gate is not None
        course.former = before if judged else None
        course.probation = Probation(self._settings) if judged else None
        for one in {older, before} - {None}:
            assert one is not None
            self._let_go(one)
        return Event(instant, what, version, "production", before.number, why, figures or {})

    def _let_go(self, version: Version) -> None:
        """Let a version go, unless it is in production or kept beside it."""
        kept = {*self._courses[version.coupling].kept, self.production(version.coupling)}
        if version not in kept and self.runs(version):
            self._engine.versions.remove(version)

    def _drop_incoming(self, course: _CouplingRollout) -> None:
        version, course.incoming = course.incoming, None
        if version is not None:
            self._let_go(version)

    def _drop_canary(self, course: _CouplingRollout) -> None:
        version, course.canary, course.trial = course.canary, None, None
        if version is not None:
            self._engine.versions.set_canary(version.coupling, None)
            self._let_go(version)

    def _instant(self, block: CleanedBlock) -> int:
        """Return the instant from which on a decision is in force, GPS nanoseconds."""
        frontier = self._engine.frontier
        return block.span.end if frontier is None else frontier
