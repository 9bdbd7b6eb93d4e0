"""Frames in, cleaned frames out: the engine with its blocks collected into the frames they fill.

A frame of the input may have been cut into blocks (core.align) and the engine returns them later
than they went in; the assembler hands each frame out again whole, in order, one for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import CleanedBlock, Estimate, Gap, StrainProducts, WitnessFault
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.time import Span


class Assembler:
    """Cleans frame by frame.

    Args:
        engine: not used by anybody else.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._frames: deque[InputFrame] = deque()
        self._blocks: deque[CleanedBlock] = deque()
        self._finished: list[CleanedFrame] = []

    def push(self, frame: InputFrame) -> list[CleanedFrame]:
        """Take the next frame; return the frames that it completes, in order.

        A frame to be passed through comes out at once, after all that is still inside. The engine
        never sees it, so what follows may begin with the history before it goes on.

        Raises:
            ValueError: as Engine.push, of the frame's first block; the frame is not taken.
            Exception: whatever the computation raises; `abandon` goes on from there.
        """
        if frame.bypass:
            return [*self.release(), self._passed(frame, reasons.LATE)]
        first, *others = frame.blocks
        cleaned = self.engine.push(first)
        self._frames.append(frame)
        self._collect(cleaned)
        for block in others:
            self._collect(self.engine.push(block))
        return self._taken()

    def release(self) -> list[CleanedFrame]:
        """Return every frame still inside, as Engine.release does."""
        self._collect(self.engine.release())
        return self._taken()

    def abandon(self, frame: InputFrame | None = None) -> list[CleanedFrame]:
        """Begin anew; return every frame still inside as it came, and the one whose push failed."""
        inside = [*self._frames]
        if frame is not None and frame not in inside:
            inside.append(frame)
        self._frames.clear()
        self._blocks.clear()
        self.engine.restart()
        self._finished += [self._passed(one, reasons.ENGINE_ERROR) for one in inside]
        return self._taken()

    def _passed(self, frame: InputFrame, reason: str) -> CleanedFrame:
        """Return a frame as it came, past the engine."""
        blocks = []
        for block in frame.blocks:
            raw = block.strain
            if isinstance(raw, Gap):
                blocks.append(CleanedBlock(block, None, {}))
                continue
            nothing = np.zeros(len(raw.samples))
            estimates = {
                coupling.name: Estimate(nothing, nothing, coupling.predictor.version, (reason,))
                for coupling in self.engine.versions.production
            }
            # Nobody has looked at the witnesses: none of them is said to be good.
            faults = tuple(WitnessFault(name, reason, block.span) for name in self.engine.witnesses)
            samples = raw.samples.astype(np.float64)
            products = StrainProducts(samples, samples, samples)
            blocks.append(CleanedBlock(block, products, estimates, faults))
        return CleanedFrame(frame, blocks)

    def _collect(self, cleaned: Iterable[CleanedBlock]) -> None:
        self._blocks.extend(cleaned)
        while self._frames and self._blocks:
            count = len(self._frames[0].blocks)
            if len(self._blocks) < count:
                break
            blocks = [self._blocks.popleft() for _ in range(count)]
            self._finished.append(CleanedFrame(self._frames.popleft(), blocks))

    def _taken(self) -> list[CleanedFrame]:
        finished, self._finished = self._finished, []
        return finished


class FrameJoiner:
    """Joins consecutive cleaned frames into longer ones.

    Args:
        duration: nanoseconds; a joined frame lies between two of its multiples, counted from
            GPS 0, and ends early before a stretch without strain. None: frames stay as they are.
    """

    def __init__(self, duration: int | None) -> None:
        self._duration = duration
        self._held: list[CleanedFrame] = []

    def push(self, frame: CleanedFrame) -> list[CleanedFrame]:
        """Take the next frame; return the frames that are complete."""
        if self._duration is None:
            return [frame]
        finished = []
        if self._held and self._held[-1].span.end != frame.span.start:
            finished += self.flush()
        self._held.append(frame)
        if frame.span.end % self._duration == 0:
            finished += self.flush()
        return finished

    def flush(self) -> list[CleanedFrame]:
        """Return what is held as one frame, if anything is."""
        held, self._held = self._held, []
        if not held:
            return []
        span = Span(held[0].span.start, held[-1].span.end)
        source = InputFrame(span, [block for frame in held for block in frame.source.blocks])
        blocks = [block for frame in held for block in frame.blocks]
        return [CleanedFrame(source, blocks, sum(frame.frames for frame in held))]
