"""What the C library does with memory that is free: it keeps what the next frame needs again.

A burst of frames, an outage, a catching up: each leaves holes in the heap, and the library keeps
their pages. Every new worst case adds some, so that over weeks the process would seem to leak. So
what is far more than a frame needs goes back to the operating system.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deepclean.system.clock import Clock

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of `mallopt`, from the GNU C library's malloc.h."""

INTERVAL = 60.0
"""Seconds from one look at the memory to the next."""

SLACK = 32_000_000
"""Bytes by which resident memory may exceed what it was when free memory was last given back.

A frame of 21 witnesses makes and drops some 10 MB. Given back, its 2000 pages would be taken again
by the next frame, which costs that one 1 to 5 ms.
"""


class Trimmer:
    """Gives free memory back where there is much of it; looks once a minute, by a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trim = _trim()
        self._done = clock.monotonic()
        self._least = 0
        """Resident bytes after the last trim, or the least since."""

    def step(self) -> None:
        """Give free memory back, where the last look is long enough ago and memory has grown."""
        now = self._clock.monotonic()
        if now - self._done < INTERVAL:
            return
        self._done = now
        held = _resident()
        if held > self._least + SLACK:
            self._trim()
            self._least = _resident()
        else:
            self._least = min(self._least, held)


def retain() -> None:
    """Let the C library keep the memory that is freed.

    Every hop makes and drops arrays of some MB. By default the library takes each from the system
    and gives it back, and the system clears its pages every time: 1300 of them for a second of 21
    witnesses. That takes 1 ms of 15, and 5 ms in a daemon that rests between its frames.
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


def _resident() -> int:
    """Return the resident bytes of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")
