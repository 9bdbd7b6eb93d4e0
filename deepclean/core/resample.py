"""Change a stream's rate by any rational ratio with a finite linear-phase polyphase filter.

The filter is a Kaiser-windowed sinc at the common rate `F = lcm(source, target)`, cut off at half
the slower rate `r`. It spans `zeros` samples of the slower rate a side, but never more than
`max_delay`, so an output sample depends on exactly `half_length` seconds of input either side.
Method: Kaiser window design and polyphase rate change, Oppenheim and Schafer, Discrete-Time
Signal Processing, sections 4.6 and 7.5. Every phase is normalised to sum 1, so a constant is
kept, to rounding, whatever the ratio.

Input and output are addressed by absolute sample index (core.time): output `n` stands at input
position `n * down / up`. The arithmetic is a matrix product over windows of fixed shape, so an
output sample has the same bits however the stream was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import gcd

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0

from deepclean.core.block import Float64

_CYCLE_INPUTS = 64
"""Input samples that one matrix consumes, about: longer wastes products, shorter wastes copies."""


@dataclass(frozen=True, slots=True)
class ResampleSettings:
    """Configured by `engine.resample`; the delay in seconds."""

    zeros: int
    max_delay: Fraction
    attenuation: float
    slowest_rate: int

    @property
    def lookahead(self) -> Fraction:
        """The longest half-length, in seconds, of any witness at or above the slowest rate."""
        return min(self.max_delay, Fraction(self.zeros, self.slowest_rate))


class Resampler:
    """One filter from one rate to another, built once and applied many times.

    Args:
        source_rate: input samples per second.
        target_rate: output samples per second.
        zeros: half-length in samples of the slower rate.
        max_delay: bound of the half-length in seconds.
        attenuation: stop-band attenuation in dB.

    Raises:
        ValueError: a rate is not positive, or `max_delay` is shorter than one sample of the
            slower rate.
    """

    def __init__(
        self,
        source_rate: int,
        target_rate: int,
        *,
        zeros: int,
        max_delay: Fraction | float,
        attenuation: float,
    ) -> None:
        if source_rate <= 0 or target_rate <= 0:
            raise ValueError(f"rates must be positive: {source_rate} Hz to {target_rate} Hz")
        slower = min(source_rate, target_rate)
        zeros = min(zeros, int(Fraction(max_delay) * slower))
        if zeros < 1:
            raise ValueError(f"{slower} Hz: a filter of {float(max_delay)} s holds no sample")
        divisor = gcd(source_rate, target_rate)
        self.source_rate, self.target_rate = source_rate, target_rate
        self.up, self.down = target_rate // divisor, source_rate // divisor
        self.identity = source_rate == target_rate
        self.half_length = Fraction(0) if self.identity else Fraction(zeros, slower)
        """Seconds of input that an output sample needs, either side."""
        self._half = 1 if self.identity else zeros * max(self.up, self.down)
        self._prototype = _prototype(self._half, max(self.up, self.down), attenuation)
        self._plan = lru_cache(maxsize=8)(self._make_plan)

    def needs(self, first: int, count: int) -> tuple[int, int]:
        """Return the half-open range of input indices that outputs `first ...` depend on.

        Args:
            first: absolute index of the first output sample.
            count: number of output samples.
        """
        last = first + count - 1
        start = -((self._half - 1 - first * self.down) // self.up)
        stop = (last * self.down + self._half - 1) // self.up + 1
        return start, stop

    def apply(self, inputs: Float64, first: int, count: int) -> Float64:
        """Return output samples `first` to `first + count`.

        Args:
            inputs: shape `(channels, n)`, exactly the range that `needs(first, count)` states.
            first: absolute index of the first output sample.
            count: number of output samples.

        Returns:
            Shape `(channels, count)`, float64.

        Raises:
            ValueError: `inputs` does not span that range.
        """
        start, stop = self.needs(first, count)
        if inputs.ndim != 2 or inputs.shape[1] != stop - start:
            raise ValueError(f"inputs of shape {inputs.shape}, expected (channels, {stop - start})")
        if self.identity:
            return np.array(inputs, dtype=np.float64)
        plan = self._plan(first * self.down % self.up, count)
        channels = inputs.shape[0]
        padded = np.zeros((channels, plan.inputs))
        padded[:, : stop - start] = inputs
        outputs = np.empty((channels, plan.cycles, plan.cycle_outputs))
        step = padded.strides[1]
        for piece in plan.pieces:
            windows = np.lib.stride_tricks.as_strided(
                padded[:, piece.offset :],
                (channels, plan.cycles, piece.matrix.shape[0]),
                (padded.strides[0], plan.cycle_inputs * step, step),
                writeable=False,
            )
            stop_output = piece.output + piece.matrix.shape[1]
            # One product per channel, of a shape that never varies: the bits of a channel do not
            # depend on which others are resampled beside it.
            np.matmul(windows, piece.matrix, out=outputs[:, :, piece.output : stop_output])
        return outputs.reshape(channels, -1)[:, :count]

    def _make_plan(self, phase: int, count: int) -> _Plan:
        """Lay `count` outputs out as equal cycles, each a few banded matrices.

        `phase` is the first output's position between input samples, in units of `1 / up`.
        """
        repeats = max(1, min(_CYCLE_INPUTS // self.down, -(-count // self.up)))
        cycle_outputs, cycle_inputs = self.up * repeats, self.down * repeats
        cycles = -(-count // cycle_outputs)
        split = max(1, cycle_inputs // (2 * _CYCLE_INPUTS))
        edges = [cycle_outputs * part // split for part in range(split + 1)]
        # Position of output i of a cycle, in common-rate units from the input that begins it.
        base = -((self._half - 1 - phase) // self.up)
        pieces = []
        for begin, end in pairwise(edges):
            positions = phase + np.arange(begin, end) * self.down
            low = -((self._half - 1 - int(positions[0])) // self.up)
            high = (int(positions[-1]) + self._half - 1) // self.up + 1
            lags = positions[None, :] - np.arange(low, high)[:, None] * self.up
            matrix = self._taps(lags)
            pieces.append(_Piece(low - base, begin, matrix / matrix.sum(axis=0)))
        reach = max(piece.offset + piece.matrix.shape[0] for piece in pieces)
        return _Plan(
            cycles, cycle_inputs, cycle_outputs, (cycles - 1) * cycle_inputs + reach, tuple(pieces)
        )

    def _taps(self, lags: NDArray[np.int64]) -> Float64:
        inside = np.abs(lags) < self._half
        return np.where(inside, self._prototype[np.where(inside, lags + self._half, 0)], 0.0)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A banded part of a cycle: inputs from `offset`, outputs from `output`."""

    offset: int
    output: int
    matrix: Float64


@dataclass(frozen=True, slots=True)
class _Plan:
    """A whole call: `cycles` equal cycles over `inputs` (padded) input samples."""

    cycles: int
    cycle_inputs: int
    cycle_outputs: int
    inputs: int
    pieces: tuple[_Piece, ...]


def _prototype(half: int, per_zero: int, attenuation: float) -> Float64:
    """Return the windowed sinc at lags `-half ... half` of the common rate (not normalised)."""
    lags = np.arange(-half, half + 1)
    beta = kaiser_beta(attenuation)
    window = i0(beta * np.sqrt(np.clip(1.0 - (lags / half) ** 2, 0.0, None))) / i0(beta)
    return np.asarray(np.sinc(lags / per_zero) * window, dtype=np.float64)


def kaiser_beta(attenuation: float) -> float:
    """Return the window's `beta` for a stop-band attenuation in dB (Kaiser 1974).

    scipy.signal has it too, and takes half a second to import.
    """
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0
