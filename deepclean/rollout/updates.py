"""Updates of the models in a running stream: between two frames, each offer is taken or refused.

The updates stand between the work loop and whoever knows which models are to come: the follower of
the store in the daemon (rollout.store_follower), a record in a replay (rollout.recorded).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from deepclean.control.updates import ControlUpdates
from deepclean.core.block import Block, Version
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.state import Role
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.rollout.rollout import Event, Rollout
from deepclean.core.rollout.rules import CanaryProgress, TrialSettings
from deepclean.core.time import NS, Span, format_gps
from deepclean.models.model import Model
from deepclean.telemetry.counters import Counters

_log = logging.getLogger(__name__)

_LEVELS = {
    "refused": logging.ERROR,
    "rejected": logging.WARNING,
    "rolled_back": logging.WARNING,
}

_RECENT = 12 * NS
"""Nanoseconds of data kept for dry runs: some seconds beyond what any filter needs."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What is kept of a version that was ever at work: its number, and its manifest's sha256."""

    version: int
    hash: str


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A version that is to have a role, or one that cannot.

    Args:
        role: that it is to have.
        coupling: whose.
        version: None where there is to be no canary any more, or a pointer is damaged.
        model: None where it is at work already, or is of no use.
        engine_coupling: likewise: what the engine takes.
        fault: why it is of no use; empty where it is.
    """

    role: Role
    coupling: str
    version: Version | None
    model: Model | None = None
    engine_coupling: Coupling | None = None
    fault: str = ""


class OfferSource(Protocol):
    """Where offers come from, and who is told what became of them."""

    def pop(self, instant: int) -> list[Offer]:
        """Return what is offered before the block that begins at `instant` (GPS ns)."""
        ...

    def became(self, events: Iterable[Event], at_work: Iterable[Version]) -> None:
        """Take what was decided, and which versions are at work now."""
        ...

    def again(self, coupling: str, role: Role) -> None:
        """Be told that a version which was taken to be at work is not any more."""
        ...


class RecentBlocks:
    """The last seconds of input, for the dry runs of new versions.

    The work loop pushes frames; the thread that follows the store reads `blocks`.

    Attributes:
        blocks: the last blocks that went in, in order.
    """

    def __init__(self) -> None:
        self.blocks: tuple[Block, ...] = ()

    def push(self, frame: InputFrame) -> None:
        """Add a frame; drop what ends too long before it."""
        since = frame.span.end - _RECENT
        held = (*self.blocks, *frame.blocks)
        self.blocks = tuple(block for block in held if block.span.end > since)


class ModelUpdates:
    """Takes offers into an engine and follows what becomes of them.

    Args:
        engine: of the stream.
        settings: of trials.
        loaded: the models that the engine began with, by coupling.
        offers: where models come from.
        counters: told of what happens.
        recent: told of every frame that goes in.
        controls: takes the orders of operators; None where there are none.
    """

    def __init__(
        self,
        engine: Engine,
        settings: TrialSettings,
        loaded: Mapping[str, Model],
        offers: OfferSource,
        counters: Counters,
        recent: RecentBlocks | None = None,
        controls: ControlUpdates | None = None,
    ) -> None:
        self._engine = engine
        self._rollout = Rollout(engine, settings)
        self._known = {
            Version(n, m.version): ModelIdentity(m.version, m.hash) for n, m in loaded.items()
        }
        self._offers = offers
        self._counters = counters
        self._recent = recent or RecentBlocks()
        self._started = False
        self._controls = controls

    def step(self, finished: Iterable[CleanedFrame], frame: InputFrame) -> None:
        """Decide on the frames that came out, then take what is offered before the next goes in.

        Args:
            finished: the frames that came out since the last call.
            frame: the frame that goes in next.
        """
        wanted = [cleaned for cleaned in finished if cleaned.source.wanted]
        self._tell([e for f in wanted for block in f.blocks for e in self._rollout.step(block)])
        if frame.bypass or not frame.wanted:
            return
        instant, events = frame.span.start, list[Event]()
        if not self._started:
            self._started = True
            events += [Event(instant, "started", v, "production") for v in self._known]
        for offer in self._offers.pop(instant):
            event = self._take(instant, offer)
            if event is not None:
                events.append(event)
        self._tell(events)
        self._recent.push(frame)

    def take_orders(self, frame: InputFrame) -> None:
        """Take the orders of operators, before a frame goes in."""
        if self._controls is not None:
            self._controls.step(frame)

    def note_held(self) -> None:
        """Put on record what frozen gains hold, before a frame is written that depends on it."""
        if self._controls is not None:
            self._controls.finish()

    def controls_over(self, span: Span) -> dict[str, str]:
        """Return in words what operators set over a span, by the name of the line."""
        return {} if self._controls is None else self._controls.history(span)

    def standings(self) -> dict[str, str]:
        """Return in words which versions are at work, by coupling."""
        return {c.name: self._rollout.standing(c.name) for c in self._engine.versions.production}

    def canaries(self) -> dict[str, CanaryProgress]:
        """Return how far the trials of the canaries are, by coupling."""
        names = (coupling.name for coupling in self._engine.versions.production)
        found = {name: self._rollout.canary(name) for name in names}
        return {name: progress for name, progress in found.items() if progress is not None}

    def identities(self, frame: CleanedFrame) -> dict[str, ModelIdentity]:
        """Return the models in production at the end of a frame, by coupling."""
        estimates = frame.blocks[-1].estimates.items()
        return {name: self._known[Version(name, one.version)] for name, one in estimates}

    def _take(self, instant: int, offer: Offer) -> Event | None:
        """Return what became of an offer; None where nothing did."""
        version, role = offer.version, offer.role
        if version is None:
            return self._without(instant, offer)
        if offer.fault:
            return self._refusal(instant, version, role, offer.fault)
        if offer.engine_coupling is None and not self._rollout.runs(version):
            self._offers.again(offer.coupling, role)
            return None
        try:
            event = self._rollout.offer(instant, version, role, offer.engine_coupling)
        except ValueError as error:
            return self._refusal(instant, version, role, str(error))
        if offer.model is not None:
            self._known[version] = ModelIdentity(version.number, offer.model.hash)
        if event is not None and event.what == "offered":
            self._counters.reloads["accepted"] += 1
        return event

    def _without(self, instant: int, offer: Offer) -> Event | None:
        """Take that a pointer names nothing."""
        if not offer.fault:
            return self._rollout.withdraw(instant, offer.coupling, offer.role)
        self._counters.reloads["rejected"] += 1
        where = f"the {offer.role} pointer of {offer.coupling} is not followed"
        _log.error("GPS %s: %s: %s", format_gps(instant), where, offer.fault)
        return None

    def _refusal(self, instant: int, version: Version, role: Role, why: str) -> Event:
        self._counters.reloads["rejected"] += 1
        return Event(instant, "refused", version, role, None, why)

    def _tell(self, events: list[Event]) -> None:
        """Log and count what happened, and hand it on."""
        for event in events:
            self._counters.model_events[event.version.coupling, event.what] += 1
            if event.what != "started":
                _log.log(_LEVELS.get(event.what, logging.INFO), "%s", _said(event))
        if events:
            self._offers.became(events, self._engine.versions.at_work)


def _said(event: Event) -> str:
    """Return an event as a line of the log."""
    said = f"GPS {format_gps(event.instant)}: "
    if event.what == "rolled_back":  # the event's version is the one that is in force again
        name, number = event.version
        said += f"{name} version {event.former} rolled back, version {number} in force again"
        return f"{said}: {event.why}"
    said += f"{event.version} {event.what.replace('_', ' ')}"
    if event.what in ("offered", "refused", "withdrawn"):
        said += f" as {event.role}"
    if event.former is not None:
        said += f", formerly version {event.former}"
    if event.what == "refused":
        said += ", all stays as it is"
    return f"{said}: {event.why}" if event.why else said
