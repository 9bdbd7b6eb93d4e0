"""The thread that reads the log of orders for a daemon, and writes down what became of them.

The work loop waits for neither: a store on a file system that hangs delays an order, not a frame.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from deepclean.config import Config
from deepclean.control import orders
from deepclean.control.lines import Order
from deepclean.errors import DeepCleanError, may_pass
from deepclean.system import jsonl
from deepclean.system.logs import Transitions

_log = logging.getLogger(__name__)


class ControlFollower:
    """Follows the log of orders on behalf of one daemon.

    Args:
        config: of the run.
        answered: the ids of the orders that were taken or refused before.
    """

    def __init__(self, config: Config, answered: Iterable[str]) -> None:
        self.path = orders.path_of(config)
        self._store, self._probe = config.models.directory, config.models.probe
        self._seen = set(answered)
        self._identity: tuple[int, ...] | None = None
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._answers: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._unwritten: list[Mapping[str, Any]] = []
        self._said = Transitions(_log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="control follower", daemon=True)

    def __enter__(self) -> ControlFollower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)
        if not self._thread.is_alive():
            with suppress(DeepCleanError):
                self._write_answers()

    def pop(self) -> list[Order]:
        """Return the orders that came since the last call."""
        found: list[Order] = []
        with suppress(Empty):
            while True:
                found.append(self._orders.get_nowait())
        return found

    def answer(self, facts: Mapping[str, Any]) -> None:
        """Take a line for the log; the thread writes it."""
        self._answers.put(facts)

    def poll(self) -> None:
        """Write what is to be written and read what is new, once.

        Raises:
            DeepCleanError: the log cannot be written, read or trusted.
            OSError: the system refused.
        """
        self._write_answers()
        identity = self._look()
        if identity == self._identity:
            return
        found = orders.read(self.path, self._store)
        for order in found.orders.values():
            if order.id not in self._seen and order.id not in found.answered:
                self._orders.put(order)
            self._seen.add(order.id)
        self._identity = identity

    def _look(self) -> tuple[int, ...]:
        """Return what tells one state of the log from another."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return ()
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _write_answers(self) -> None:
        with suppress(Empty):
            while True:
                self._unwritten.append(self._answers.get_nowait())
        while self._unwritten:
            jsonl.append(self.path, self._unwritten[0])
            self._unwritten.pop(0)

    def _work(self) -> None:
        while True:
            try:
                self.poll()
            except Exception as error:  # noqa: BLE001  (whatever it is, the next look may do)
                said = f"the orders of operators cannot be followed; trying again: {error}"
                foreseen = may_pass(error) or isinstance(error, DeepCleanError)
                self._said.failed("poll", said, error, brief=foreseen)
            else:
                self._said.works("poll", "the orders of operators are followed again")
            if self._stop.wait(self._probe):
                return
