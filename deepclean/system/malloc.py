"""Give back to the operating system what the C library holds free.

A burst of frames, an outage, a catching up: each leaves holes between what lives on, and the
library keeps the pages of the holes. Every new worst case adds some, so that over weeks the process
would look as if it leaked.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

from deepclean.system.clock import Clock

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of the GNU C library's malloc.h."""

INTERVAL = 60.0
"""Seconds from one giving back to the next; each takes some milliseconds."""


class Trimmer:
    """Gives memory back now and then.

    Args:
        clock: for the interval.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trim = _trim()
        self._done = clock.monotonic()

    def step(self) -> None:
        """Give back what is free, where the last time is long enough ago."""
        now = self._clock.monotonic()
        if now - self._done >= INTERVAL:
            self._done = now
            self._trim()


def keep() -> None:
    """Let the C library keep what is freed, for whoever needs as much again at once.

    A bulk replay makes and drops arrays of many MB with every hop. By default the library takes
    each from the system and gives it back, and the system clears its pages every time.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def _trim() -> Callable[[], object]:
    """Return the GNU C library's call; another library has none and needs none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(0)
