"""The thread that follows the model store: it loads what is to come, and writes down what became.

It looks at the pointers now and then. A model that they name is loaded, hashes and golden output
checked, warmed up at the shapes that it will run at, and tried on the last seconds of live data;
only then is it offered to the work loop. Whatever is wrong with it, the stream does not notice.
What the work loop decides (core.rollout.rollout) is written into the store here too: a pointer
moved, a rejection beside the version.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.block import Version
from deepclean.core.engine.state import Role
from deepclean.core.rollout.rollout import Event
from deepclean.errors import (
    DeepCleanError,
    InvalidError,
    ModelError,
    UnavailableError,
    may_pass,
)
from deepclean.factory import make_coupling
from deepclean.models import device
from deepclean.models.loading import load_model, resolve_device
from deepclean.models.model import Model
from deepclean.models.store import changes as store
from deepclean.models.store import rejections, versions
from deepclean.models.store.versions import PointerTarget
from deepclean.rollout.dry_run import dry_run, warm_up
from deepclean.rollout.record import ModelRecord
from deepclean.rollout.updates import Offer, RecentBlocks
from deepclean.system.logs import Transitions

T = TypeVar("T")

_log = logging.getLogger(__name__)

_UNREADABLE = "the model store cannot be followed; trying again"

_TRIES = 40
"""Times that a version is tried which the system does not let us load; with the pauses between,
half an hour and more at one look a second."""

_PAUSE = 60
"""Looks at most between two tries; the pause doubles from one try to the next."""


@dataclass(slots=True)
class _Waiting:
    """A version that the system did not let us load: the tries, and the looks to leave out."""

    target: PointerTarget
    tries: int = 0
    looks: int = 0


class _ChangedError(Exception):
    """A person moved a pointer after the decision."""


class StoreFollower:
    """Follows a store on behalf of one daemon.

    Args:
        config: of the run.
        loaded: what it began with, by coupling.
        record: of what happens to the models.
        recent: the last blocks of live data.
    """

    def __init__(
        self,
        config: Config,
        loaded: Mapping[str, Model],
        record: ModelRecord,
        recent: RecentBlocks,
    ) -> None:
        self._config = config
        self._record = record
        self._recent = recent
        self._device = resolve_device(config.runtime.device)
        self._settings = engine_settings(config)
        self._followed = [n for n, c in config.enabled_couplings.items() if c.model is None]
        self._hashes = {Version(name, model.version): model.hash for name, model in loaded.items()}
        self._at_work = self._before = frozenset(self._hashes)
        self._seen: dict[tuple[str, Role], PointerTarget] = {}
        for name in self._followed:
            now = self._look(name, "production")
            if now.version == loaded[name].version:
                self._seen[name, "production"] = now
            self._seen[name, "canary"] = PointerTarget(None)
        self._offers: SimpleQueue[Offer] = SimpleQueue()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._waiting: dict[tuple[str, Role], _Waiting] = {}
        self._unwritten: list[Event] = []
        self._unrecorded: list[Event] = []
        self._said = Transitions(_log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store follower", daemon=True)

    def __enter__(self) -> StoreFollower:
        if self._followed and self._config.models.follow:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            # What is being loaded is not waited for: nothing is half written by that.
            self._thread.join(timeout=2.0)
        if not self._thread.is_alive():
            self._write_down()

    def pop(self, instant: int) -> list[Offer]:
        """Return what is offered since the last call."""
        return _drained(self._offers)

    def became(self, events: Iterable[Event], at_work: Iterable[Version]) -> None:
        """Take what was decided, and which versions are at work now; the thread writes it down."""
        self._at_work = frozenset(at_work)
        for event in events:
            self._events.put(event)

    def again(self, coupling: str, role: Role) -> None:
        """Offer once more what a pointer names: it went while the offer was on its way."""
        self._seen.pop((coupling, role), None)

    def poll(self) -> None:
        """Do what there is to do, once."""
        self._write_down()
        at_work = self._at_work
        if self._before - at_work:
            device.release_memory(self._device)
        self._before = at_work
        for name in self._followed:
            for role in versions.POINTERS:
                self._follow(name, role)

    def _work(self) -> None:
        while not self._stop.wait(self._config.models.probe):
            try:
                self.poll()
            except Exception as error:  # noqa: BLE001  (whatever it is, the next look may do)
                self._said.failed("poll", f"{_UNREADABLE}: {error}", error, brief=may_pass(error))
            else:
                self._said.works("poll", "the model store is followed again")

    def _directory(self, name: str) -> Path:
        return self._config.models.directory / self._config.interferometer / name

    def _look(self, name: str, role: Role) -> PointerTarget:
        return versions.pointer_target(self._directory(name), role, self._config.models.directory)

    def _follow(self, name: str, role: Role) -> None:
        """Offer what a pointer names, if that is new."""
        now, waiting = self._look(name, role), self._waiting.get((name, role))
        if waiting is not None and waiting.target == now and waiting.looks:
            waiting.looks -= 1
            return
        if self._seen.get((name, role)) == now:
            return
        self._seen[name, role] = now
        if now.version is None and not now.fault:
            if role == "canary":
                self._offers.put(Offer(role, name, None))
            return
        version = None if now.version is None else Version(name, now.version)
        try:
            self._offers.put(self._made(role, name, version, now.fault))
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, the stream goes on)
            kind = "" if isinstance(error, DeepCleanError) else f"{type(error).__name__}: "
            if version is not None and self._waits(version, role, now, error):
                return
            self._offers.put(Offer(role, name, version, fault=f"{kind}{error}"))
        if self._waiting.pop((name, role), None) is not None:
            _log.info("%s can be loaded, or never will be: no longer waiting", version)

    def _waits(self, version: Version, role: Role, target: PointerTarget, error: Exception) -> bool:
        """Return whether a version is to be tried again: the system refused, it is not at fault."""
        name = version.coupling
        if not (may_pass(error) or device.is_short(error)):
            return False
        waiting = self._waiting.get((name, role))
        if waiting is None or waiting.target != target:
            waiting = self._waiting[name, role] = _Waiting(target)
            _log.warning("%s cannot be loaded just now; trying again: %s", version, error)
        waiting.tries += 1
        waiting.looks = min(2**waiting.tries - 1, _PAUSE)
        del self._seen[name, role]
        return waiting.tries < _TRIES

    def _made(self, role: Role, name: str, version: Version | None, fault: str) -> Offer:
        """Return the offer of a version, loaded and tried where it is not at work.

        Raises:
            Exception: whatever is wrong with it.
        """
        if version is None:
            return Offer(role, name, None, fault=fault)
        path = self._directory(name) / str(version.number)
        if version in self._at_work:
            if versions.manifest_hash(path) != self._hashes[version]:
                raise ModelError(
                    "was changed in place, while it is at work: publish a new version", path=path
                )
            return Offer(role, name, version)
        model = load_model(self._config, name, path, self._device)
        engine_coupling = make_coupling(self._config, name, model)
        warm_up(self._settings, engine_coupling)
        dry_run(
            self._settings,
            engine_coupling,
            self._recent.blocks,
            self._config.models.plausible,
            path,
        )
        self._hashes[version] = model.hash
        return Offer(role, name, version, model, engine_coupling)

    def _write_down(self) -> None:
        """Put what was decided on record and into the store; what is refused now is tried again.

        Each has its own queue: a store that cannot be written keeps nothing from the record.
        """
        events = _drained(self._events)
        self._unrecorded += events
        self._unwritten += events
        self._work_off(self._unrecorded, self._record.append, "on record")
        self._work_off(self._unwritten, self._enact, "in the store")

    def _work_off(self, queue: list[Event], act: Callable[[Event], None], where: str) -> None:
        """Do something with each event of a queue, in order, up to the first that is refused."""
        while queue:
            event = queue[0]
            try:
                act(event)
            except _ChangedError:
                pass
            except (UnavailableError, OSError) as error:
                # Whatever its number: as with any output, we may be let in while we try.
                said = f"what became of {event.version} is not {where}: {error}; trying again"
                self._said.failed(where, said, error, brief=True)
                return
            except InvalidError as error:
                _log.error("what became of %s is not %s: %s", event.version, where, error)
            else:
                self._said.works(where, f"what becomes of versions is {where} again")
            queue.pop(0)

    def _enact(self, event: Event) -> None:
        """Make the store say what is in force.

        Where a person has changed a pointer since, that stands, and is followed next.
        """
        name, number = event.version
        if name not in self._followed:
            return
        directory, why = self._directory(name), f"GPS {event.instant // 10**9}: {event.why}"
        if event.what in ("in_force", "promoted"):
            rejections.clear(directory, number)
        if event.what == "promoted":
            store.promote(directory, number, self._standing(name, event.former), why)
            self._mark(name, "production", number)
            self._mark(name, "canary", None)
        if event.what == "rolled_back":
            assert event.former is not None
            rejections.write(directory, event.former, why, event.figures)
            store.put_back(directory, number, self._standing(name, event.former), why)
            self._mark(name, "production", number)
        if event.what not in ("rejected", "refused"):
            return
        rejections.write(directory, number, why, event.figures)
        # What production names is the operator's; a canary that is done with makes room.
        if event.role == "canary" and self._look(name, "canary").version == number:
            store.set_canary(directory, None, lambda path: None, why, only=number)
            self._mark(name, "canary", None)

    def _standing(self, name: str, former: int | None) -> store.Check:
        """Return a check, for under the store's lock, that production is what it was.

        The version itself was checked when it was loaded.
        """

        def check(path: Path) -> None:
            # Or what is to be done is done: a try before failed after it.
            if self._look(name, "production").version not in (former, int(path.name)):
                raise _ChangedError

        return check

    def _mark(self, name: str, role: Role, version: int | None) -> None:
        """Take a pointer that was moved here as followed."""
        now = self._look(name, role)
        if now.version == version and not now.fault:
            self._seen[name, role] = now


def _drained(queue: SimpleQueue[T]) -> list[T]:
    found: list[T] = []
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found
