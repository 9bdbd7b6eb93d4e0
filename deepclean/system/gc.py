"""Import large libraries without garbage collection.

torch and scipy make 200,000 objects that stay. Collections during their import take a third of its
time, and later each full collection would go through these objects for 0.1 s.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage during the block; what is there at its end is never collected."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
