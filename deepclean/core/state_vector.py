"""When the strain is ready for analysis, by the source's own state vector."""

from __future__ import annotations

import numpy as np

from deepclean.core.block import Block, Gap
from deepclean.core.nonfinite import runs
from deepclean.core.time import NS

READY = 0b11
"""Bits of the source's state vector: calibrated strain is ok, observation intent."""


def not_ready(block: Block) -> list[tuple[int, int]]:
    """Return the stretches (GPS nanoseconds) of a block in which the strain is not ready.

    A site without a state vector is always ready; one whose state vector is missing is not.
    """
    if block.state is None:
        return []
    if isinstance(block.state, Gap):
        return [(block.span.start, block.span.end)]
    step = NS // block.state.rate
    lacking = (block.state.samples.astype(np.int64) & READY) != READY
    start = block.span.start
    return [(start + low * step, start + high * step) for low, high in runs(lacking)]
