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
        span: the frame's span of time.
        blocks: the blocks that fill the frame, in order.
        wanted: False where the frame only refills the history and gives no output.
        arrived: the monotonic clock, in seconds, when the frame's strain was first seen; None for
            history.
        bypass: True where the frame is not to be cleaned but passed through at once.
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
        blocks: the cleaned blocks, in order.
        frames: the number of input frames that this frame was joined from.
    """

    source: InputFrame
    blocks: Sequence[CleanedBlock]
    frames: int = 1

    @property
    def span(self) -> Span:
        """The frame's span of time."""
        return self.source.span
