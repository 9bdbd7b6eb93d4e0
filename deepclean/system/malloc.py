"""Give the memory that the C library holds free back to the operating system.

A burst of frames, an outage, a catching up: each leaves holes in the heap, and the library keeps
their pages. Every new worst case adds some, so that over weeks the process would seem to leak.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

from deepclean.system.clock import Clock

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of `mallopt`, from the GNU C library's malloc.h."""

INTERVAL = 60.0
"""Seconds from one trim to the next; each takes some milliseconds."""


class Trimmer:
    """Gives free memory back once a minute, by a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trim = _trim()
        self._done = clock.monotonic()

    def step(self) -> None:
        """Give free memory back, where the last time is long enough ago."""
        now = self._clock.monotonic()
        if now - self._done >= INTERVAL:
            self._done = now
            self._trim()


def retain() -> None:
    """Let the C library keep the memory that is freed.

    A parallel replay makes and drops arrays of many MB with every hop. By default the library takes
    each from the system and gives it back, and the system clears its pages every time.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


def _trim() -> Callable[[], object]:
    """Return the GNU C library's call; with another library, a call that does nothing."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: trim(0)
