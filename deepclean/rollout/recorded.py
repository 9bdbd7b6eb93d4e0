"""A replay with the models that a run had: what came from outside then comes from its record.

A model that was offered is loaded from the store and offered again before the same block. What
was decided on it is decided anew, on the same frames, and written into the replay's own record.
What never came in, as it could not be loaded, does not come in here either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from deepclean.config import Config
from deepclean.config.settings import trial_settings
from deepclean.control import lines
from deepclean.control.updates import ControlUpdates, KnownControls, NoOrders
from deepclean.core.block import Version
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.state import Role
from deepclean.core.rollout.rollout import Event
from deepclean.core.time import Span, format_gps
from deepclean.errors import DeepCleanError, InputError
from deepclean.factory import make_coupling
from deepclean.io.retention import held
from deepclean.models.loading import load_model, resolve_device
from deepclean.models.model import Model
from deepclean.rollout.record import ModelRecord, path_in, read
from deepclean.rollout.updates import ModelUpdates, Offer
from deepclean.telemetry.counters import Counters

_IN_FORCE = ("started", "in_force", "promoted", "rolled_back")
_OUTSIDE = ("offered", "withdrawn")


class RecordedUpdates:
    """Offers what a record says was offered.

    Args:
        config: of the replay.
        events: of the run's record, in order.
        record: of the replay.
    """

    def __init__(self, config: Config, events: Iterable[Event], record: ModelRecord) -> None:
        self._config = config
        self._record = record
        self._device = resolve_device(config.runtime.device)
        self._waiting = list(_from_outside(events))
        self._at_work: frozenset[Version] = frozenset()

    def pop(self, instant: int) -> list[Offer]:
        """Return what was offered up to this instant and was not taken yet."""
        due = [event for event in self._waiting if event.instant <= instant]
        self._waiting = self._waiting[len(due) :]
        return [self._offer(event) for event in due]

    def became(self, events: Iterable[Event], at_work: Iterable[Version]) -> None:
        """Put on record what was decided."""
        self._at_work = frozenset(at_work)
        for event in events:
            self._record.append(event)

    def again(self, coupling: str, role: Role) -> None:
        """Nothing comes twice: the record has it where it did."""

    def _offer(self, event: Event) -> Offer:
        version, role = event.version, event.role
        if event.what == "withdrawn":
            return Offer(role, version.coupling, None)
        if event.what == "refused":
            return Offer(role, version.coupling, version, fault=event.why)
        if version in self._at_work:
            return Offer(role, version.coupling, version)
        try:
            model = _load(self._config, version, self._device)
            engine_coupling = make_coupling(self._config, version.coupling, model)
        except DeepCleanError as error:
            return Offer(role, version.coupling, version, fault=str(error))
        return Offer(role, version.coupling, version, model, engine_coupling)


def _from_outside(events: Iterable[Event]) -> Iterator[Event]:
    """Yield what was not decided on the data.

    A refusal was, where it is of the version that was offered for production last and did not get
    there; any other one came with the offer itself.
    """
    incoming: dict[str, Version] = {}
    for event in events:
        name, for_production = event.version.coupling, event.role == "production"
        decided = for_production and incoming.get(name) == event.version
        if event.what in _OUTSIDE or (event.what == "refused" and not decided):
            yield event
        if event.what == "offered" and for_production:
            incoming[name] = event.version
        elif decided:
            del incoming[name]


class RunModels:
    """The models of a run over a stretch that is replayed.

    Args:
        config: of the replay.
        path: of the run's record.
        directory: of the replay's frames, where its own record is written; of those there are none
            yet, as decisions rest on what was before.
        span: that is replayed.

    Attributes:
        loaded: what was in production at its start, by coupling.

    Raises:
        InputError: the record cannot be read or does not say what was in production, the run began
            anew within the span, or the directory holds frames.
        ModelError: a version cannot be loaded.
    """

    def __init__(self, config: Config, path: Path, directory: Path, span: Span) -> None:
        self._config, events = config, read(path)
        if directory.is_dir() and held(directory, config.output.description):
            raise InputError(
                "holds frames already: a replay with the models of a run begins anew",
                path=directory,
            )
        place, found = resolve_device(config.runtime.device), dict[str, Version]()
        for event in events:
            if event.what in _IN_FORCE and event.instant <= span.start:
                found[event.version.coupling] = event.version
        missing = [name for name in config.enabled_couplings if name not in found]
        if missing:
            named = ", ".join(missing)
            raise InputError(
                f"does not say what was in production of {named} at {format_gps(span.start)}",
                path=path,
            )
        again = [e.instant for e in events if e.what == "started" and e.instant in _within(span)]
        if again:
            raise InputError(
                f"the run began anew at {format_gps(again[0])}, with nothing on trial or on "
                "probation: replay what is before and what is from there on by themselves",
                path=path,
            )
        self.loaded = {n: _load(config, found[n], place) for n in config.enabled_couplings}
        self._events = [event for event in events if event.instant >= span.start]
        self._record = ModelRecord(path_in(directory, config.output.description))
        starts = [e.instant for e in events if e.what == "started" and e.instant <= span.start]
        run = format_gps(max(starts)) if starts else None
        self._controls = KnownControls(lines.read(path).before(span.end).of_run(run))

    def updates(self, engine: Engine) -> ModelUpdates:
        """Return the updates of the models of an engine, with what operators set in the run."""
        offers = RecordedUpdates(self._config, self._events, self._record)
        rules = trial_settings(self._config)
        counters, couplings = Counters(models=self.loaded), self._config.enabled_couplings
        controls = ControlUpdates(
            engine, couplings, NoOrders(), self._record, counters, self._controls
        )
        return ModelUpdates(engine, rules, self.loaded, offers, counters, controls=controls)


def _within(span: Span) -> range:
    """Return the instants of a span but for its start."""
    return range(span.start + 1, span.end)


def _load(config: Config, version: Version, place: str) -> Model:
    named = config.couplings[version.coupling].model
    directory: Path = config.models.directory / config.interferometer / version.coupling
    path = directory / str(version.number) if named is None else named
    return load_model(config, version.coupling, path, place)
