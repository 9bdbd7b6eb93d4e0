"""Import what is large without looking for garbage on the way.

torch and scipy make 200,000 objects that stay. Looking through them again and again as they grow is
a third of the time that importing them takes; later, each look through everything takes 0.1 s.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside; what is there at the end is never looked through again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
