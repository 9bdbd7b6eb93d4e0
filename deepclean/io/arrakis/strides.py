"""Cleaned samples cut into the blocks that a stream is published in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Samples, Series
from deepclean.core.time import Span, index_at

Masked = np.ma.MaskedArray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class PublishedChannel:
    """The rate in Hz of a published channel, and its data type as numpy names it (`float64`)."""

    rate: int
    kind: str

    @classmethod
    def of(cls, series: Series) -> Self:
        """Return the channel that these samples are of."""
        return cls(series.rate, series.samples.dtype.name)

    def fits(self, series: Series | None) -> bool:
        """Return whether there are samples, and they are of this channel."""
        return series is not None and self == self.of(series)


@dataclass(frozen=True, slots=True, eq=False)
class PublishedBlock:
    """One block of every channel.

    Args:
        start: GPS nanoseconds, a multiple of the stride.
        data: by channel the samples; a masked array where some are not there.
    """

    start: int
    data: Mapping[str, Samples | Masked]


class StrideCutter:
    """Cuts what comes in order of time into blocks of one stride, at multiples of it from GPS 0.

    A block that is there in part has the rest masked. It is given out when what comes reaches its
    end. Before the first samples nothing is given out: the channels are not known.

    >>> cutter = StrideCutter(stride=500_000_000)
    >>> span = Span(500_000_000, 1_750_000_000)
    >>> for block in cutter.push(span, {"A": Series(span, 4, np.arange(5))}):
    ...     print(block.start, block.data["A"])
    500000000 [0 1]
    1000000000 [2 3]
    >>> for block in cutter.push_gap(Span(1_750_000_000, 2_500_000_000)):
    ...     print(block.start, block.data["A"])
    1500000000 [4 --]
    2000000000 [-- --]

    Args:
        stride: nanoseconds of a block.
        channels: the channels; None: as the first samples have them. What comes of a channel at
            another rate or of another type is masked.
    """

    def __init__(self, stride: int, channels: Mapping[str, PublishedChannel] | None = None) -> None:
        self.channels = dict(channels or {})
        self._stride = stride
        self._cell = 0
        self._parts: list[tuple[Span, Mapping[str, Series]]] = []

    def push(self, span: Span, channels: Mapping[str, Series]) -> list[PublishedBlock]:
        """Take the samples over a span; return the blocks that this completes.

        Raises:
            ValueError: a stride, or the span, is not a whole number of samples of a channel.
        """
        if not self.channels:
            self.channels = {name: PublishedChannel.of(one) for name, one in channels.items()}
        known = self.channels.items()
        there = {n: channels[n] for n, channel in known if channel.fits(channels.get(n))}
        return self._push(span, there)

    def push_gap(self, span: Span) -> list[PublishedBlock]:
        """Take a span without samples; return the blocks that this completes."""
        return self._push(span, {}) if self.channels else []

    def flush(self) -> list[PublishedBlock]:
        """Return the block that is there in part, if any."""
        parts, self._parts = self._parts, []
        return [self._block(self._cell, parts)] if parts else []

    def _push(self, span: Span, channels: Mapping[str, Series]) -> list[PublishedBlock]:
        made: list[PublishedBlock] = []
        first = span.start // self._stride * self._stride
        if self._parts and self._cell != first:
            made += self.flush()
        for cell in range(first, span.end, self._stride):
            part = span.overlap(Span(cell, cell + self._stride))
            assert part is not None
            self._cell = cell
            self._parts.append((part, channels))
            if part.end == cell + self._stride:
                made += self.flush()
        return made

    def _block(self, cell: int, parts: list[tuple[Span, Mapping[str, Series]]]) -> PublishedBlock:
        whole = Span(cell, cell + self._stride)
        there = parts[0][1]
        if parts[0][0] == whole and there.keys() == self.channels.keys():
            return PublishedBlock(cell, {name: there[name].cut(whole).samples for name in there})
        data: dict[str, Samples | Masked] = {}
        for name, channel in self.channels.items():
            samples: NDArray[Any] = np.zeros(whole.samples(channel.rate), channel.kind)
            masked = np.ma.MaskedArray(samples, mask=np.ones(len(samples), bool))
            offset = index_at(cell, channel.rate)
            for span, given in parts:
                if name in given:
                    low, high = span.indices(channel.rate)
                    masked[low - offset : high - offset] = given[name].cut(span).samples
            data[name] = masked
        return PublishedBlock(cell, data)
