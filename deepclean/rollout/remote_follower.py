"""The thread that fetches new versions from a store elsewhere into a daemon's own store.

The daemon follows its own store (rollout.store_follower). This thread is the person who publishes
there; the work loop waits for neither.
"""

from __future__ import annotations

import logging
import threading
from typing import Self

from deepclean.config import Config
from deepclean.errors import DeepCleanError, may_pass
from deepclean.models import loading
from deepclean.system.logs import Transitions

_log = logging.getLogger(__name__)


class RemoteFollower:
    """Follows the store that models.remote names, while it is entered; idle without one.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._said = Transitions(_log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="remote follower", daemon=True)

    def __enter__(self) -> Self:
        if self._config.models.remote is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)  # where the network hangs it ends with the process

    def poll(self) -> None:
        """Fetch what is new, once; a coupling's fault does not keep the others from their turn."""
        for name in self._config.enabled_couplings:
            elsewhere = loading.remote_store(self._config, name)
            if elsewhere is None:
                continue
            try:
                done = loading.pull(self._config, name, elsewhere)
            except Exception as error:  # noqa: BLE001  (whatever it is, the next look may do)
                said = f"{name}: {elsewhere.address} cannot be followed; trying again: {error}"
                foreseen = may_pass(error) or isinstance(error, DeepCleanError)
                self._said.failed(name, said, error, brief=foreseen)
                continue
            self._said.works(name, f"{name}: {elsewhere.address} is followed again")
            for number in done.versions:
                _log.info("%s: version %d fetched from %s", name, number, elsewhere.address)

    def _work(self) -> None:
        while not self._stop.wait(self._config.models.refresh):
            self.poll()
