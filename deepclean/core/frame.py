"""One frame of input, and the frame of output that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepclean.core.block import Block, CleanedBlock
from deepclean.core.time import Span


@dataclass(frozen=True, slots=True, eq=False)
class InputFrame:
    """One frame of the source.

    Args:
        span: of the frame.
        blocks: that fill it, in order.
        wanted: False where it only refills history.
        arrived: monotonic seconds at which its strain was first seen; None for history.
        bypass: True where it is not to be cleaned but passed through at once.
    """

    span: Span
    blocks: Sequence[Block]
    wanted: bool = True
    arrived: float | None = None
    bypass: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CleanedFrame:
    """One frame of output, over the span of the input frame that it came from.

    Args:
        source: the input frame.
        blocks: cleaned, in order.
        frames: how many input frames it was joined from.
    """

    source: InputFrame
    blocks: Sequence[CleanedBlock]
    frames: int = 1

    @property
    def span(self) -> Span:
        """The stretch it covers."""
        return self.source.span
