"""What came in on a pad and has not been cleaned yet, and how a span of it becomes pieces.

SGN counts time in offsets: samples since GPS 0 at the pipeline's highest rate, a power of two. An
offset is no whole number of nanoseconds, but the start of a cell is: 1/16 s, the period of the
accounting channels. So the engine is given whole cells. A gap takes every cell that it touches, as
it does where a frame file flags samples. Which cells are gaps follows from the data alone, never
from the buffers that they came in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sgnts.base import Offset, SeriesBuffer, TSFrame

from deepclean.core import reasons
from deepclean.core.align import Piece
from deepclean.core.block import Gap, Samples, Series
from deepclean.core.channels import STATE_RATE
from deepclean.core.time import NS, Span
from deepclean.errors import InputError

CELL = NS // STATE_RATE
"""Nanoseconds of a cell."""


def cell_length() -> int:
    """Return the offsets in a cell."""
    return int(Offset.MAX_RATE // STATE_RATE)


def cell_before(offset: int) -> int:
    """Return the offset at which the cell begins that holds an offset."""
    return offset // cell_length() * cell_length()


def cell_from(offset: int) -> int:
    """Return the offset at which the first cell begins at or after an offset."""
    return -cell_before(-offset)


def instant(offset: int) -> int:
    """Return the GPS nanoseconds at which a cell begins."""
    return offset // cell_length() * CELL


def offset_at(instant: int) -> int:
    """Return the offset of the start of the cell that holds an instant (GPS nanoseconds)."""
    return instant // CELL * cell_length()


class PadQueue:
    """The buffers of a pad from which no block has been made.

    Args:
        channel: the pad's name, for messages.
        holds: whether a sample holds until the next one, as in a state vector. It is repeated at
            16 Hz where its rate is lower; the samples of other channels as slow are a gap.

    Attributes:
        rate: samples per second; None before the first frame.
        start: the offset at which the pad's stream began; None before the first frame.
        end: the offset up to which it has come, gaps included.
        ended: whether the end of the stream has come.
    """

    def __init__(self, channel: str, *, holds: bool = False) -> None:
        self._channel, self._holds = channel, holds
        self.rate: int | None = None
        self.start: int | None = None
        self.end = 0
        self.ended = False
        self._buffers: deque[SeriesBuffer] = deque()

    def push(self, frame: TSFrame) -> None:
        """Take the next frame.

        Raises:
            InputError: the buffers are not one-dimensional, or begin between samples.
        """
        if self.start is None:
            self.start = self.end = frame.offset
        for buffer in frame:
            if buffer.sample_shape != () or buffer.offset * buffer.sample_rate % Offset.MAX_RATE:
                raise InputError(
                    f"buffers of shape {buffer.shape} at offset {buffer.offset}; a channel is one-"
                    f"dimensional, and at {buffer.sample_rate} Hz begins at a multiple of "
                    f"{Offset.MAX_RATE // buffer.sample_rate}",
                    channels=[self._channel],
                )
            self.rate = max(buffer.sample_rate, STATE_RATE)
            self.end = max(self.end, buffer.end_offset)
            if buffer.is_gap or buffer.noffset == 0:
                continue
            if buffer.sample_rate == self.rate:
                self._buffers.append(buffer)
            elif self._holds:
                self._buffers.append(_repeated(buffer))
        self.ended |= frame.EOS

    def drop_before(self, offset: int) -> None:
        """Drop the buffers that end at or before an offset."""
        while self._buffers and self._buffers[0].end_offset <= offset:
            self._buffers.popleft()

    def samples(self, start: int, stop: int) -> tuple[Samples, NDArray[np.bool_]]:
        """Return the samples over whole cells, and where there are any, each of shape `(n,)`.

        Where buffers overlap, the first one's samples count.
        """
        assert self.rate is not None
        step = Offset.MAX_RATE // self.rate
        count = (stop - start) // step
        held = [b for b in self._buffers if b.offset < stop and b.end_offset > start]
        if held and held[0].offset <= start and held[0].end_offset >= stop:
            first = (start - held[0].offset) // step
            return held[0].data[first : first + count], np.ones(count, dtype=bool)
        samples = np.zeros(count, dtype=held[0].data.dtype if held else np.float64)
        there = np.zeros(count, dtype=bool)
        for buffer in held:
            low, high = max(buffer.offset, start), min(buffer.end_offset, stop)
            part = slice((low - start) // step, (high - start) // step)
            first = (low - buffer.offset) // step
            given = buffer.data[first : first + (high - low) // step]
            samples[part] = np.where(there[part], samples[part], given)
            there[part] = True
        return samples, there

    def pieces(self, start: int, stop: int) -> list[Piece]:
        """Return the pieces that fill whole cells from one offset to another."""
        if self.rate is None:
            return [Gap(Span(instant(start), instant(stop)), reasons.MISSING)]
        samples, there = self.samples(start, stop)
        each = self.rate // STATE_RATE
        whole, begin = np.all(there.reshape(-1, each), axis=1), instant(start)
        found: list[Piece] = []
        for low, high in runs(whole):
            span = Span(begin + low * CELL, begin + high * CELL)
            part = samples[low * each : high * each]
            found.append(
                Series(span, self.rate, part) if whole[low] else Gap(span, reasons.MISSING)
            )
        return found

    def torn(self, start: int, stop: int) -> Iterator[SeriesBuffer]:
        """Yield the samples over whole cells that lie in cells which are not whole."""
        assert self.rate is not None
        samples, there = self.samples(start, stop)
        step, each = Offset.MAX_RATE // self.rate, self.rate // STATE_RATE
        whole = np.repeat(there.reshape(-1, each).all(axis=1), each)
        alone = there & ~whole
        for low, high in runs(alone):
            if alone[low]:
                yield SeriesBuffer(
                    offset=start + low * step,
                    sample_rate=self.rate,
                    data=samples[low:high].astype(np.float64),
                )


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open ranges of indices over which flags stay as they are, in order."""
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    return list(pairwise(edges))


def _repeated(buffer: SeriesBuffer) -> SeriesBuffer:
    """Return a buffer at 16 Hz in which each sample of a slower one is held."""
    data = np.repeat(buffer.data, STATE_RATE // buffer.sample_rate)
    return SeriesBuffer(offset=buffer.offset, sample_rate=STATE_RATE, data=data)
