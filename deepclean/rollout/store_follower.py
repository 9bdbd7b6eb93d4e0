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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.block import Version
from deepclean.core.engine.state import Role
from deepclean.core.rollout.rollout import Event
from deepclean.errors import DeepCleanError, ModelError
from deepclean.factory import make_coupling
from deepclean.models import device, rejections, store, versions
from deepclean.models.loading import load_model, resolve_device
from deepclean.models.model import Model
from deepclean.models.versions import PointerTarget
from deepclean.rollout.dry_run import dry_run, warm_up
from deepclean.rollout.record import ModelRecord
from deepclean.rollout.updates import Offer, RecentBlocks

T = TypeVar("T")

_log = logging.getLogger(__name__)


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
        self._unwritten: list[Event] = []
        self._said: Event | None = None
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
            except Exception:  # noqa: BLE001  (whatever it is, the next look may do)
                _log.exception("the model store cannot be followed; trying again")

    def _directory(self, name: str) -> Path:
        return self._config.models.directory / self._config.interferometer / name

    def _look(self, name: str, role: Role) -> PointerTarget:
        return versions.pointer_target(self._directory(name), role, self._config.models.directory)

    def _follow(self, name: str, role: Role) -> None:
        """Offer what a pointer names, if that is new."""
        now = self._look(name, role)
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
            self._offers.put(Offer(role, name, version, fault=f"{kind}{error}"))

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
        """Write into the store and the record what was decided; what fails is tried again."""
        self._unwritten += _drained(self._events)
        while self._unwritten:
            event = self._unwritten[0]
            try:
                self._enact(event)
            except (DeepCleanError, OSError) as error:
                if event is not self._said:
                    _log.error("what became of %s is not in the store: %s", event.version, error)
                self._said = event
                return
            self._record.append(event)
            self._unwritten.pop(0)

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
        if event.what == "promoted" and self._stands(name, "production", event.former):
            store.promote(directory, number, _checked, why)
            self._mark(name, "production", number)
            self._mark(name, "canary", None)
        if event.what == "rolled_back":
            assert event.former is not None
            rejections.write(directory, event.former, why, event.figures)
            if self._stands(name, "production", event.former):
                store.put_back(directory, number, _checked, why)
                self._mark(name, "production", number)
        if event.what not in ("rejected", "refused"):
            return
        rejections.write(directory, number, why, event.figures)
        # What production names is the operator's; a canary that is done with makes room.
        if event.role == "canary" and self._stands(name, "canary", number):
            store.set_canary(directory, None, _checked, why)
            self._mark(name, "canary", None)

    def _stands(self, name: str, role: Role, version: int | None) -> bool:
        """Return whether a pointer names what it did when the decision was made."""
        return self._look(name, role).version == version

    def _mark(self, name: str, role: Role, version: int | None) -> None:
        """Take a pointer that was moved here as followed."""
        now = self._look(name, role)
        if now.version == version and not now.fault:
            self._seen[name, role] = now


def _checked(path: Path) -> None:
    """Pass a version that is at work: it was checked when it was loaded."""


def _drained(queue: SimpleQueue[T]) -> list[T]:
    found: list[T] = []
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found
