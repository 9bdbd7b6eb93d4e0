"""The end of a daemon that was told to stop: what is inside first gets its look-ahead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from deepclean.core.accounting import Ledger
from deepclean.system.clock import Clock

_log = logging.getLogger(__name__)

PATIENCE = 3.5
"""Seconds for which the look-ahead is waited for: the next frame of a second and its witnesses'
deadline fit, and the process still ends within 5 s."""


@dataclass(slots=True)
class Drain:
    """Says when a daemon that was told to stop has nothing more to wait for.

    The frames inside are written once their look-ahead is there, as if the stream went on. The
    frames that bring it are not written: the next start cleans them, with all that follows.

    Args:
        told: returns whether the daemon was told to stop.
        ledger: counts the frames inside.
        clock: for the patience.
    """

    told: Callable[[], bool]
    ledger: Ledger
    clock: Clock
    _since: float | None = None

    def is_over(self) -> bool:
        """Return whether to stop now: nothing is inside, or the patience is at its end."""
        if not self.told():
            return False
        now = self.clock.monotonic()
        if self._since is None:
            self._since = now
            if self.ledger.inside > 0:
                _log.info("told to stop: %d frames wait for what follows", self.ledger.inside)
        return self.ledger.inside <= 0 or now - self._since >= PATIENCE
