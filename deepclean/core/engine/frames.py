"""Frames in, cleaned frames out: the engine's blocks, collected into the frames that they fill.

A frame of the input may have been cut into blocks (core.align), and the engine returns them later
than they went in. The assembler returns each frame whole, in order, one for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import CleanedBlock, Estimate, Gap, StrainProducts, WitnessFault
from deepclean.core.engine.engine import Engine
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.time import Span


class Assembler:
    """Cleans a stream frame by frame.

    Args:
        engine: the engine, which nobody else may use.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._frames: deque[InputFrame] = deque()
        self._blocks: deque[CleanedBlock] = deque()
        self._finished: list[CleanedFrame] = []

    def push(self, frame: InputFrame) -> list[CleanedFrame]:
        """Take the next frame and return the frames that it completes, in order.

        A frame to be passed through comes out at once, after all frames that are still inside. The
        engine does not see it, so the frames after it may begin with history.

        Raises:
            ValueError: the engine refuses the frame's first block; the frame is not taken.
            Exception: the computation failed; `abandon` goes on from there.
        """
        if frame.bypass:
            return [*self.release(), self._passed(frame, reasons.LATE)]
        first, *others = frame.blocks
        cleaned = self.engine.push(first)
        self._frames.append(frame)
        self._collect(cleaned)
        for block in others:
            self._collect(self.engine.push(block))
        return self._pop_finished()

    def release(self) -> list[CleanedFrame]:
        """Return every frame that is still inside, without its look-ahead (Engine.release)."""
        self._collect(self.engine.release())
        return self._pop_finished()

    def abandon(self, frame: InputFrame | None = None) -> list[CleanedFrame]:
        """Restart the engine and return every frame that is still inside as it came, raw.

        Args:
            frame: the frame whose push failed, which is returned too; None where there is none.
        """
        inside = [*self._frames]
        if frame is not None and frame not in inside:
            inside.append(frame)
        self._frames.clear()
        self._blocks.clear()
        self.engine.restart()
        self._finished += [self._passed(one, reasons.ENGINE_ERROR) for one in inside]
        return self._pop_finished()

    def _passed(self, frame: InputFrame, reason: str) -> CleanedFrame:
        """Return a frame as it came, with a gain of 0 and a reason for it."""
        blocks = []
        for block in frame.blocks:
            raw = block.strain
            if isinstance(raw, Gap):
                blocks.append(CleanedBlock(block, None, {}))
                continue
            nothing = np.zeros(len(raw.samples))
            estimates = {
                coupling.name: Estimate(
                    nothing,
                    nothing,
                    coupling.predictor.version,
                    (reason,),
                    knots=None if coupling.adapt is None else (),
                )
                for coupling in self.engine.versions.production
            }
            # Nobody has checked the witnesses, so none of them is said to be good.
            faults = tuple(WitnessFault(name, reason, block.span) for name in self.engine.witnesses)
            samples = raw.samples.astype(np.float64)
            products = StrainProducts(samples, samples, samples)
            blocks.append(CleanedBlock(block, products, estimates, faults))
        return CleanedFrame(frame, blocks)

    def _collect(self, cleaned: Iterable[CleanedBlock]) -> None:
        """Add blocks that came out of the engine, and finish the frames that they complete."""
        self._blocks.extend(cleaned)
        while self._frames and self._blocks:
            count = len(self._frames[0].blocks)
            if len(self._blocks) < count:
                break
            blocks = [self._blocks.popleft() for _ in range(count)]
            self._finished.append(CleanedFrame(self._frames.popleft(), blocks))

    def _pop_finished(self) -> list[CleanedFrame]:
        """Return the finished frames, and keep none of them."""
        finished, self._finished = self._finished, []
        return finished


class FrameJoiner:
    """Joins consecutive cleaned frames into longer ones.

    >>> frames = [InputFrame(Span.of_seconds(second, 1), []) for second in (6, 7, 8)]
    >>> joiner = FrameJoiner(duration=4_000_000_000)
    >>> for frame in frames:
    ...     print(*(joined.span for joined in joiner.push(CleanedFrame(frame, []))))
    <BLANKLINE>
    [6, 8)
    <BLANKLINE>

    Args:
        duration: the length of a joined frame in nanoseconds. It lies between two multiples of
            that, counted from GPS 0, and ends early before a stretch without strain: then several
            may lie between these, and they come out together. None: frames stay as they are.
    """

    def __init__(self, duration: int | None) -> None:
        self._duration = duration
        self._held: list[CleanedFrame] = []

    def push(self, frame: CleanedFrame) -> list[CleanedFrame]:
        """Take the next frame and return the joined frames that are complete."""
        if self._duration is None:
            return [frame]
        finished = []
        window = frame.span.start // self._duration
        if self._held and self._held[0].span.start // self._duration != window:
            finished += self.flush()
        self._held.append(_without_witnesses(frame))
        if frame.span.end % self._duration == 0:
            finished += self.flush()
        return finished

    def flush(self) -> list[CleanedFrame]:
        """Return the frames that are held, those joined that follow one another."""
        held, self._held = self._held, []
        starts = [n for n, one in enumerate(held) if n and held[n - 1].span.end != one.span.start]
        return [self._join(held[a:b]) for a, b in pairwise([0, *starts, len(held)]) if a < b]

    def _join(self, held: Sequence[CleanedFrame]) -> CleanedFrame:
        span = Span(held[0].span.start, held[-1].span.end)
        source = InputFrame(span, [block for frame in held for block in frame.source.blocks])
        blocks = [block for frame in held for block in frame.blocks]
        return CleanedFrame(source, blocks, sum(frame.frames for frame in held))


def _without_witnesses(frame: CleanedFrame) -> CleanedFrame:
    """Return a frame without the samples of its witnesses, which its output does not need."""
    sources = [replace(block, witnesses={}) for block in frame.source.blocks]
    both = zip(frame.blocks, sources, strict=True)
    cleaned = [replace(block, source=source) for block, source in both]
    return replace(frame, source=replace(frame.source, blocks=sources), blocks=cleaned)
