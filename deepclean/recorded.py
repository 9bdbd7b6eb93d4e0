"""A replay with the models that a run had: what came from outside then comes from its record.

A model that was offered is loaded from the store and offered again before the same block. What
was decided on it is decided anew, on the same frames, and written into the replay's own record.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deepclean.build import load_model, make_coupling, resolve_device
from deepclean.config import Config
from deepclean.core.block import Version
from deepclean.core.lifecycle import Event
from deepclean.core.state import Role
from deepclean.edge.models import Model
from deepclean.edge.record import Record
from deepclean.errors import DeepCleanError, InputError
from deepclean.life import Offer

_IN_FORCE = ("started", "in_force", "promoted", "rolled_back")
_OUTSIDE = ("offered", "withdrawn")


class Recorded:
    """Offers what a record says was offered.

    Args:
        config: of the replay.
        events: of the run's record, in order.
        record: of the replay.
    """

    def __init__(self, config: Config, events: Iterable[Event], record: Record) -> None:
        self._config = config
        self._record = record
        self._device = resolve_device(config.runtime.device)
        self._waiting = [event for event in events if event.what in _OUTSIDE]
        self._at_work: frozenset[Version] = frozenset()

    def take(self, instant: int) -> list[Offer]:
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
        if version in self._at_work:
            return Offer(role, version.coupling, version)
        try:
            model = _load(self._config, version, self._device)
            runner = make_coupling(self._config, version.coupling, model)
        except DeepCleanError as error:
            return Offer(role, version.coupling, version, fault=str(error))
        return Offer(role, version.coupling, version, model, runner)


def begin(config: Config, events: Iterable[Event], instant: int) -> dict[str, Model]:
    """Load the versions that were in production at an instant (GPS ns), by coupling.

    Raises:
        InputError: the record does not say.
        ModelError: one cannot be loaded.
    """
    place, found = resolve_device(config.runtime.device), dict[str, Version]()
    for event in events:
        if event.what in _IN_FORCE and event.instant <= instant:
            found[event.version.coupling] = event.version
    missing = [name for name in config.enabled_couplings if name not in found]
    if missing:
        raise InputError(f"the record does not say what was in production of {', '.join(missing)}")
    return {name: _load(config, found[name], place) for name in config.enabled_couplings}


def since(events: Iterable[Event], instant: int) -> list[Event]:
    """Return the events from an instant on."""
    return [event for event in events if event.instant >= instant]


def _load(config: Config, version: Version, place: str) -> Model:
    named = config.couplings[version.coupling].model
    directory: Path = config.models.directory / config.interferometer / version.coupling
    path = directory / str(version.number) if named is None else named
    return load_model(config, version.coupling, path, place)
