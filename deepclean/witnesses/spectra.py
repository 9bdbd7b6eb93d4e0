"""Spectra of the strain and of candidate channels over a stretch, transformed piece by piece.

Each channel is transformed at its own rate (`core.gate.quality.transform`), without resampling.
Pieces lie on a grid from GPS 0, and every channel is transformed alone. Which channels are read
together, and how the files are cut, therefore changes no bit of the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from deepclean.core.block import Float64, Gap, Series
from deepclean.core.filters.bandpass import Band
from deepclean.core.spectra import Bins, Complex, transform
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, hint
from deepclean.io.source import ChannelHistory, without_state
from deepclean.witnesses.reading import joined, readable, unready, unusable, whole

PIECE = 32
"""Length of a piece, in transforms. A piece is read at a time, and no transform crosses its end."""

BATCH = 2**23
"""Number of samples that are read at a time."""


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A possible witness: a channel, or its product with a faster channel.

    Args:
        channel: full name.
        rate: of the channel, samples per second.
        carrier: full name of the faster channel; None for the channel alone.
    """

    channel: str
    rate: int
    carrier: str | None = None

    @property
    def name(self) -> str:
        """Name of the candidate."""
        return self.channel if self.carrier is None else f"{self.channel} x {self.carrier}"

    @property
    def label(self) -> str:
        """Name of the candidate in a list that states the carrier elsewhere."""
        return self.channel if self.carrier is None else f"{self.channel} x carrier"


@dataclass(frozen=True, slots=True, eq=False)
class CandidateSpectra:
    """A candidate's transforms over a piece.

    Args:
        good: whether there is one for each transform of the strain, shape `(transforms,)`.
        values: at the bands' bins, shape `(good.sum(), bins)`; 0 above the Nyquist frequency.
        low: the lowest sample; infinite if there is none.
        high: the highest sample.
    """

    good: NDArray[np.bool_]
    values: Complex
    low: float
    high: float


class SearchStretch:
    """A stretch of data and the bands that are searched.

    Args:
        strain: source of the strain and its state vector.
        witnesses: source of the candidates.
        channel: full name of the strain.
        state: full name of the state vector; None if all time is ready for analysis.
        span: whole seconds.
        bands: `(low, high)` in Hz.
        length: seconds of a transform, an even number; transforms overlap by half.

    Attributes:
        channel: full name of the strain.
        rate: of the strain, samples per second.
        frequencies: frequencies of the bands' bins in Hz.
        skipped: seconds of the span that were left out so far, by reason.

    Raises:
        InputError: there is no such strain or state vector, or a band is not below its Nyquist
            frequency.
    """

    def __init__(
        self,
        strain: ChannelHistory,
        witnesses: ChannelHistory,
        channel: str,
        state: str | None,
        span: Span,
        bands: Sequence[Band],
        length: int = 2,
    ) -> None:
        held = strain.channels([channel] if state is None else [channel, state])
        if channel not in held:
            raise InputError(f"no channel {channel}{hint(channel, strain.channels())}")
        self.rate = held[channel]
        for low, high in bands:
            if not 0 < low <= high < self.rate / 2:
                raise InputError(
                    f"a band of {low:g}-{high:g} Hz: {channel} at {self.rate} Hz holds frequencies "
                    f"between 0 and {self.rate / 2:g} Hz",
                    channels=[channel],
                )
        self._strain, self._witnesses = strain, witnesses
        if state is not None and state not in held:
            raise InputError(without_state(state), channels=[state])
        self.channel, self._state = channel, state
        self.span, self.bands, self.length = span, tuple(bands), length
        self._bins = Bins(bands, 0.0, self.rate / 2, length * NS)
        self.frequencies = np.asarray(self._bins.inside * self._bins.width, dtype=np.float64)
        self.skipped: Counter[str] = Counter()

    @property
    def slowest(self) -> float:
        """The highest rate at which a candidate holds nothing of the bands, samples per second."""
        return 2 * float(self.frequencies[0])

    def pieces(self, carrier: str | None = None) -> Iterator[StretchPiece]:
        """Yield the pieces that hold a transform of the strain, in order.

        Args:
            carrier: full name of the channel that slower candidates are multiplied with.
        """
        self.skipped.clear()
        length = PIECE * self.length * NS
        for start in range(self.span.start // length * length, self.span.end, length):
            part = Span(start, start + length).overlap(self.span)
            assert part is not None
            parts = readable(self._strain, [self.channel], part)[self.channel]
            starts = self._starts(part, parts)
            if starts:
                strain = self.transforms(joined(parts), starts).values
                fast = [] if carrier is None else self.read([carrier], part)[carrier]
                yield StretchPiece(self, part, starts, strain, fast)

    def _starts(self, part: Span, parts: Sequence[Series | Gap]) -> list[int]:
        """Return the starts of the transforms of the strain, and count the skipped seconds."""
        wrong = dict(unusable(parts))
        if self._state is not None:
            for second in unready(readable(self._strain, [self._state], part)[self._state]):
                wrong.setdefault(second, "not_ready")
        self.skipped.update(wrong.values())
        length = self.length * NS
        return [
            start
            for start in range(part.start, part.end - length + 1, length // 2)
            if not any(second in wrong for second in range(start, start + length, NS))
        ]

    def read(self, channels: Sequence[str], part: Span) -> dict[str, list[Series]]:
        """Return, by candidate channel, the samples of a span, consecutive ones joined."""
        found = readable(self._witnesses, channels, part)
        return {name: joined(parts) for name, parts in found.items()}

    def transforms(
        self,
        parts: Sequence[Series],
        starts: Sequence[int],
        carrier: Sequence[Series] | None = None,
    ) -> CandidateSpectra:
        """Return the transforms of one channel, or of its product with the carrier.

        Args:
            parts: samples of the channel.
            starts: starts of the transforms, GPS nanoseconds.
            carrier: samples of the carrier.
        """
        good = np.zeros(len(starts), dtype=bool)
        values, low, high = [], np.inf, -np.inf
        for index, start in enumerate(starts):
            span = Span(start, start + self.length * NS)
            samples = whole(parts, span)
            product = samples if carrier is None else whole(carrier, span)
            if samples is None or product is None:
                continue
            centred = samples - samples.mean()
            if carrier is not None:
                # Fourier interpolation errs near the segment's ends, where the window is near 0.
                centred = signal.resample(centred, len(product)) * (product - product.mean())
            values.append(self._at_bins(centred))
            good[index] = True
            low, high = min(low, samples.min()), max(high, samples.max())
        shape = (-1, len(self.frequencies))
        return CandidateSpectra(
            good, np.array(values, dtype=np.complex128).reshape(shape), low, high
        )

    def _at_bins(self, samples: Float64) -> Complex:
        """Return the transform of one segment at the bands' bins."""
        inside, stop = self._bins.inside, (self._bins.inside[-1] + 0.5) * self._bins.width
        values = np.zeros(len(inside), dtype=np.complex128)
        below = inside < len(samples) / 2
        values[below] = transform(samples, len(samples) // self.length, stop)[inside[below]]
        return values


@dataclass(frozen=True, slots=True, eq=False)
class StretchPiece:
    """A part of a stretch that is read at a time.

    Args:
        stretch: the whole stretch.
        span: of the part.
        starts: starts of the strain's transforms, GPS nanoseconds.
        strain: these transforms at the bands' bins, shape `(transforms, bins)`.
        carrier: samples of the carrier.
    """

    stretch: SearchStretch
    span: Span
    starts: Sequence[int]
    strain: Complex
    carrier: Sequence[Series]

    def spectra(
        self, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[Candidate, CandidateSpectra]]:
        """Yield the candidates' transforms. About `BATCH` samples are read at a time."""
        for batch in batches(candidates, self.span.duration // NS):
            held = self.stretch.read(sorted({one.channel for one in batch}), self.span)
            for one in batch:
                parts = [part for part in held[one.channel] if part.rate == one.rate]
                carrier = None if one.carrier is None else self.carrier
                yield one, self.stretch.transforms(parts, self.starts, carrier)


def batches(candidates: Sequence[Candidate], seconds: int) -> Iterator[list[Candidate]]:
    """Yield groups of candidates that hold about `BATCH` samples in so many seconds."""
    batch: list[Candidate] = []
    size = 0
    for one in candidates:
        if batch and size + one.rate * seconds > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.rate * seconds
    if batch:
        yield batch
