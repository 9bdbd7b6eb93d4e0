"""The clock, injected wherever something waits, so that tests need not."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from deepclean.core.time import NS

_GPS_EPOCH = 315964800 - 18
"""Unix time of GPS 0, less the leap seconds since. Later leap seconds make it seconds wrong."""


def gps_now() -> int:
    """Return the wall clock's time in GPS nanoseconds, good to some seconds."""
    return time.time_ns() - _GPS_EPOCH * NS


class Clock(Protocol):
    """Monotonic time and waiting."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier where the clock was woken."""
        ...


class SystemClock:
    """The real clock. `wake` may be called from any thread and from a signal handler.

    A handler runs between two instructions of the main thread, within a wait too. An Event's lock
    would be held then, and its `set` would wait for ever. A SimpleQueue's `put` is documented to be
    re-entrant.
    """

    def __init__(self) -> None:
        self._woken: SimpleQueue[None] = SimpleQueue()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or at once when woken."""
        with suppress(Empty):
            self._woken.get(timeout=max(seconds, 0.0))
            while True:  # however often it was woken, one wait ends
                self._woken.get_nowait()

    def wake(self) -> None:
        """End the wait in progress, or the next one."""
        if self._woken.empty():
            self._woken.put(None)
