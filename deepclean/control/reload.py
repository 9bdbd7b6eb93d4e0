"""A configuration that is read again in a running daemon: what can be taken is, the rest is named.

| key | how it is taken |
|---|---|
| couplings.<name>.enabled | as a control of the gain, 0 or 1, of a coupling that runs |
| gate.open_below, close_above, worst_above, jump, sigma | as a control: from a stated second on |
| log.level, log.format | at once |
| output.retention.count, output.retention.age | at once |

What touches the samples goes the way of an operator's order, so it is on record and a replay finds
it. All other keys need a restart. A configuration that is refused changes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from deepclean.config import Config
from deepclean.config.render import flat
from deepclean.control import orders
from deepclean.control.lines import Order
from deepclean.control.updates import ConfiguredChange
from deepclean.core.control import LIMITS, What
from deepclean.errors import DeepCleanError
from deepclean.io.sink import FrameSink
from deepclean.system import logs

_log = logging.getLogger(__name__)

_WHO, _WHY = "configuration", "deepclean reload"

_LOG, _RETENTION = ("log.level", "log.format"), ("output.retention.count", "output.retention.age")

LIVE = (*(f"gate.{name}" for name in LIMITS), "couplings.<name>.enabled", *_RETENTION, *_LOG)
"""The keys that a running daemon takes. All others need a restart."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What became of a configuration that was read again.

    Args:
        number: how many were read before and with it.
        taken: the keys whose new values are taken.
        restart: the keys whose new values need a restart.
        fault: why the configuration was refused; empty where it was not.
    """

    number: int = 0
    taken: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    fault: str = ""


class ConfigReloader:
    """Reads a configuration again, in a thread of its own, when it is asked to.

    Args:
        config: with which the run began, as it was loaded.
        read: reads it again.
        couplings: the names of the couplings that run.
        sink: whose retention may change.
        counts: counts what is read again, by result: taken or refused.

    Attributes:
        result: what became of the last one.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        couplings: Collection[str],
        sink: FrameSink,
        counts: Counter[str],
    ) -> None:
        self.result, self._counts = ReloadResult(), counts
        self._running, self._read = flat(config), read
        self._couplings, self._sink = couplings, sink
        self._changes: SimpleQueue[ConfiguredChange] = SimpleQueue()
        self._asked, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="configuration", daemon=True)

    def __enter__(self) -> ConfigReloader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._asked.set()
        self._thread.join(timeout=2.0)

    def ask(self) -> None:
        """Ask for the configuration to be read again."""
        self._asked.set()

    def changed(self) -> list[ConfiguredChange]:
        """Return the controls that follow, since the last call."""
        found: list[ConfiguredChange] = []
        with suppress(Empty):
            while True:
                found.append(self._changes.get_nowait())
        return found

    def reload(self) -> None:
        """Read the configuration and take what can be taken."""
        number = self.result.number + 1
        try:
            config = self._read()
        except DeepCleanError as error:
            _log.error("the configuration is refused, all stays as it is:\n%s", error)
            self.result = ReloadResult(number, fault=str(error))
            self._counts["refused"] += 1
            return
        wanted, taken, restart = flat(config), [], []
        for key in sorted(self._running.keys() | wanted.keys()):
            former, value = self._running.get(key), wanted.get(key)
            if former == value:
                continue
            if self._take(key, former, value, config):
                taken.append(key)
                self._running[key] = value
            else:
                restart.append(key)
        self.result = ReloadResult(number, tuple(taken), tuple(restart))
        self._counts["taken"] += 1
        _log.info("configuration read again: %s", said(self.result))

    def _take(self, key: str, former: Any, value: Any, config: Config) -> bool:
        """Take a key's new value and return whether that is possible."""
        section, _, name = key.rpartition(".")
        if section == "gate" and name in LIMITS:
            order = _order(name, None, value)
            self._changes.put(ConfiguredChange(order, float(former)))
            return True
        coupling = section.removeprefix("couplings.")
        if name == "enabled" and coupling in self._couplings:
            self._changes.put(ConfiguredChange(_order("enabled", coupling, float(value))))
            return True
        if key in _LOG:
            logs.configure(config.log.level, config.log.format)
        elif key in _RETENTION:
            retention = config.output.retention
            self._sink.keep(retention.count, retention.age)
        else:
            return False
        return True

    def _work(self) -> None:
        while self._asked.wait() and not self._ended:
            self._asked.clear()
            try:
                self.reload()
            except Exception:  # noqa: BLE001  (whatever it is, the stream goes on)
                _log.exception("the configuration could not be read again")


def said(result: ReloadResult) -> str:
    """Return what became of a configuration, in words."""
    if result.fault:
        return f"refused, all stays as it is: {result.fault}"
    taken = f"taken: {', '.join(result.taken)}" if result.taken else ""
    restart = f"needs a restart: {', '.join(result.restart)}" if result.restart else ""
    return "; ".join(part for part in (taken, restart) if part) or "nothing has changed"


def _order(setting: What, coupling: str | None, value: float) -> Order:
    """Return the order that a new value is."""
    made = orders.make(setting, coupling, value, None, _WHY)
    return Order(made.id, made.when, _WHO, _WHY, setting, coupling, value)
