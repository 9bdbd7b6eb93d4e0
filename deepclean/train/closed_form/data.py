"""Where the fit takes its data from, and in what portions.

Data is read in *portions*: as many seconds as a portion holds segments, and the context that the
longest lag needs. Portions of one span follow one another segment by segment, so that what is
summed over portions is what would be summed over the span, and memory holds one portion at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span
from deepclean.train.closed_form.layout import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    SEGMENT_SECONDS,
    BandLayout,
)
from deepclean.train.closed_form.streams import Streams, make_streams

Float32 = NDArray[np.float32]

_STILL = 1e-12
"""Standard deviation over mean below which a channel carries rounding, no signal."""

PORTION = 128
"""Segments, one a second, in a portion at most."""

CONTEXT = BEFORE_SECONDS + AFTER_SECONDS + SEGMENT_SECONDS - 1
"""Seconds of a stretch of data beyond its segments, which the longest lag needs."""

LEAST = 32
"""Segments below which nothing can be told."""


class Data(Protocol):
    """Witnesses and strain at the model rate."""

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    @property
    def channels(self) -> int:
        """Number of witnesses."""
        ...

    @property
    def spans(self) -> Sequence[Span]:
        """Gap-free stretches of whole GPS seconds that are fit for training, in order."""
        ...

    def read(self, span: Span) -> tuple[NDArray[np.floating], Float64]:
        """Return witnesses, `(channels, n)`, and strain, `(n,)`, of a part of a span."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Arrays:
    """Data that is in memory.

    Args:
        rate: samples per second.
        witnesses: `(channels, n)`, whole seconds.
        strain: `(n,)`.
        start: GPS second of the first sample.
        spans: the usable stretches; None for all.
    """

    rate: int
    witnesses: NDArray[np.floating]
    strain: Float64
    start: int = 0
    usable: Sequence[Span] | None = None

    @property
    def channels(self) -> int:
        """Number of witnesses."""
        return len(self.witnesses)

    @property
    def spans(self) -> Sequence[Span]:
        """The usable stretches."""
        if self.usable is not None:
            return self.usable
        seconds = len(self.strain) // self.rate
        return [Span(self.start * NS, (self.start + seconds) * NS)]

    def read(self, span: Span) -> tuple[NDArray[np.floating], Float64]:
        """Return witnesses and strain of a part of a span."""
        first, stop = (int(index) - self.start * self.rate for index in span.indices(self.rate))
        return self.witnesses[:, first:stop], self.strain[first:stop]


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """What standardises the data.

    Args:
        mean: of each witness.
        std: of each witness, 1 where it stands still.
        strain: scale of the strain in the bands.
    """

    mean: Float64
    std: Float64
    strain: float


def portions(spans: Sequence[Span]) -> list[Span]:
    """Return the portions of some spans, context included."""
    parts = []
    for span in spans:
        seconds = span.duration // NS - CONTEXT
        for first in range(0, seconds, PORTION):
            start = span.start + first * NS
            count = min(PORTION, seconds - first)
            parts.append(Span(start, start + (count + CONTEXT) * NS))
    return parts


def segments_in(portion: Span) -> int:
    """Return how many segments a portion holds."""
    return portion.duration // NS - CONTEXT


def sample(parts: Sequence[Span], segments: int) -> list[Span]:
    """Return portions, spread evenly over all, that hold about as many segments together."""
    total = sum(map(segments_in, parts))
    if total <= segments:
        return list(parts)
    count = max(1, round(len(parts) * segments / total))
    return [parts[index * len(parts) // count] for index in range(count)]


def read_streams(data: Data, portion: Span, layout: BandLayout, scales: Scales) -> Streams:
    """Return the streams of a portion."""
    witnesses, strain = data.read(portion)
    return make_streams(_standardised(witnesses, scales), strain / scales.strain, layout)


def read_sample(
    data: Data, parts: Sequence[Span], layout: BandLayout
) -> tuple[list[Streams], Scales]:
    """Return the streams of some portions, standardised by the scales of all, and these.

    Everything is read once: the streams are linear in the witnesses, so they are made by the first
    portion's scales and brought to the whole's when these are known.
    """
    made: list[Streams] = []
    first: Scales | None = None
    count, powers = 0, []
    total, square = np.zeros(data.channels), np.zeros(data.channels)
    for portion in parts:
        witnesses, strain = data.read(portion)
        if first is None:
            first = _scales_of(witnesses, strain, layout)
        standardised = _standardised(witnesses, first)
        total += standardised.sum(axis=1, dtype=np.float64)
        square += np.einsum("cn,cn->c", standardised, standardised, dtype=np.float64)
        count += len(strain)
        made.append(make_streams(standardised, strain / first.strain, layout))
        powers.append(np.mean(np.abs(_used(made[-1], layout)) ** 2))
    if first is None:
        raise ValueError("there is no portion")
    mean = total / count
    spread = np.sqrt(np.maximum(square / count - mean**2, 0.0))
    spread = np.where(spread > 0, spread, 1.0)
    power = float(np.sqrt(np.median(powers))) or 1.0
    centre = first.mean + mean * first.std
    whole = Scales(centre, spread * first.std, power * first.strain)
    return [
        Streams(
            wide=_moved(streams.wide, mean, spread),
            slow=_moved(streams.slow, mean, spread),
            strain=streams.strain / power,
            starts=streams.starts,
        )
        for streams in made
    ], whole


def _scales_of(witnesses: NDArray[np.floating], strain: Float64, layout: BandLayout) -> Scales:
    """Return the scales of one portion."""
    mean = witnesses.mean(axis=1, dtype=np.float64)
    std = np.array([np.std(row - centre) for row, centre in zip(witnesses, mean, strict=True)])
    # A channel that stands still, to rounding, must not become noise.
    std = np.where(std > _STILL * np.abs(mean), std, 1.0)
    none = make_streams(np.zeros((0, len(strain)), dtype=np.float32), strain, layout)
    power = np.sqrt(np.mean(np.abs(_used(none, layout)) ** 2))
    return Scales(mean, np.where(std > 0, std, 1.0), float(power) or 1.0)


def _standardised(witnesses: NDArray[np.floating], scales: Scales) -> Float32:
    """Return standardised witnesses.

    The mean goes first, in double precision: float32 does not hold the motion of a large offset.
    """
    made = np.empty(witnesses.shape, dtype=np.float32)
    for row, values, mean, std in zip(made, witnesses, scales.mean, scales.std, strict=True):
        row[:] = (values - np.float64(mean)) / std
    return made


def _moved(rows: Float32, mean: Float64, spread: Float64) -> Float32:
    return np.asarray((rows - mean[:, None]) / spread[:, None], dtype=np.float32)


def _used(streams: Streams, layout: BandLayout) -> NDArray[np.complex128]:
    """Return the part of the strain that segments begin in."""
    return streams.strain[streams.starts[0] : streams.starts[-1] + layout.analytic_rate]
