"""When the strain is ready for analysis, by the source's own state vector."""

from __future__ import annotations

import numpy as np

from deepclean.core.block import Block, Gap
from deepclean.core.nonfinite import runs
from deepclean.core.time import NS

READY = 0b11
"""Bits of the source's state vector that must be set: calibrated strain is ok (bit 0), observation
intent (bit 1)."""


def not_ready(block: Block) -> list[tuple[int, int]]:
    """Return the stretches of a block in which the strain is not ready for analysis.

    A site without a state vector is always ready. A site whose state vector is missing is not.

    >>> from deepclean.core.block import Series
    >>> from deepclean.core.time import Span
    >>> span = Span.of_seconds(0, 1)
    >>> state = Series(span, 4, np.array([0b11, 0b111, 0b10, 0b11]))
    >>> not_ready(Block(span, Gap(span, "missing"), state=state))
    [(500000000, 750000000)]

    Returns:
        The stretches `(start, end)` in GPS nanoseconds, in order.
    """
    if block.state is None:
        return []
    if isinstance(block.state, Gap):
        return [(block.span.start, block.span.end)]
    samples, rate, start = np.asarray(block.state.samples), block.state.rate, block.span.start
    if samples.dtype.kind == "f":  # what is no number has no bits
        samples = np.where(np.isfinite(samples), samples, 0).astype(np.int64)
    if int(np.bitwise_and.reduce(samples)) & READY == READY:
        return []  # the usual case
    lacking = (samples & READY) != READY
    # A sample holds from its instant to the next one's; both are rounded outwards.
    return [(start + low * NS // rate, start - -high * NS // rate) for low, high in runs(lacking)]
