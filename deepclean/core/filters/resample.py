"""Change a stream's rate by any rational ratio with a finite linear-phase polyphase filter.

The filter is a Kaiser-windowed sinc at the common rate `F = lcm(source, target)`, cut off at half
the slower rate `r`. It spans `zeros` samples of the slower rate a side, but never more than
`max_delay`, so an output sample depends on exactly `half_length` seconds of input either side.
Method: Kaiser window design and polyphase rate change, Oppenheim and Schafer, Discrete-Time
Signal Processing, sections 4.6 and 7.5.

With `F = source * up = target * down`, input `k` stands at `k * up` and output `n` at `n * down`,
in samples of the common rate:

    y[n] = sum_k x[k] h[n down - k up],    h[l] = sinc(l / max(up, down)) w(l / half)

Only every `up`-th tap of `h` meets an input. Which ones is the output's phase, `n down mod up`. The
taps of each phase are normalised to sum 1, so a constant is kept, to rounding, whatever the ratio.

Input and output are addressed by absolute sample index (core.time). The arithmetic is a matrix
product over windows of fixed shape, so an output sample has the same bits however the stream was
cut.
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
from deepclean.core.filters.kaiser import MOST_ATTENUATION, kaiser_beta

# A matrix has a row for each input that it advances by and for each input of the filter's sides.
# Where it advances by half the filter's length, a third of it is zeros. With many more it is mostly
# zeros; with far fewer the sides are read again for a handful of outputs.
_CYCLE_INPUTS = 16
"""The number of input samples, at least, that one matrix advances by."""


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

    >>> resampler = Resampler(16384, 4096, zeros=16, max_delay=1, attenuation=80.0)
    >>> resampler.up, resampler.down, resampler.half_length
    (1, 4, Fraction(1, 256))
    >>> start, stop = resampler.needs(first=1000, count=2)
    >>> start, stop
    (3937, 4068)
    >>> ramp = np.arange(start, stop)[None] / 4.0
    >>> resampler.apply(ramp, first=1000, count=2).round(9).tolist()
    [[1000.0, 1001.0]]

    The slowest witness has a shorter filter, because `max_delay` bounds it:

    >>> slow = Resampler(16, 4096, zeros=16, max_delay=Fraction(1, 4), attenuation=80.0)
    >>> slow.half_length, slow.needs(first=0, count=4096)
    (Fraction(1, 4), (-3, 20))

    Args:
        source_rate: input samples per second.
        target_rate: output samples per second.
        zeros: half-length of the filter in samples of the slower rate.
        max_delay: upper bound of the half-length in seconds.
        attenuation: stop-band attenuation in dB.

    Raises:
        ValueError: there is an `objection`.
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
        if said := objection(source_rate, target_rate, max_delay, attenuation):
            raise ValueError(said)
        slower = min(source_rate, target_rate)
        # Zero m of sinc(l / max(up, down)) is at lag m max(up, down) of the common rate, which is
        # the time m / r: the slower rate r is F / max(up, down). So `zeros` of them a side last
        # zeros / r. By Kaiser's formula (core.filters.kaiser) 16 zeros and 80 dB make a
        # transition 0.16 r wide about r / 2, and z zeros one 16 / z times as wide.
        zeros = min(zeros, int(Fraction(max_delay) * slower))
        divisor = gcd(source_rate, target_rate)
        self.source_rate, self.target_rate = source_rate, target_rate
        self.up, self.down = target_rate // divisor, source_rate // divisor
        # Equal rates: every output is an input. One tap, at lag 0.
        self.identity = source_rate == target_rate
        self.half_length = Fraction(0) if self.identity else Fraction(zeros, slower)
        """The seconds of input that an output sample rests on, either side."""
        self._half = 1 if self.identity else zeros * max(self.up, self.down)
        self._prototype = _prototype(self._half, max(self.up, self.down), attenuation)
        # A stream read hop by hop meets few phases and one count.
        self._layout = lru_cache(maxsize=8)(self._lay_out)

    def needs(self, first: int, count: int) -> tuple[int, int]:
        """Return the half-open range of input indices that a range of outputs depends on.

        Args:
            first: absolute index of the first output sample.
            count: number of output samples.
        """
        # h vanishes from lag half on, where the sinc has a zero, so output n rests on the inputs k
        # with |n down - k up| <= half - 1, that is on
        #     ceil((n down - half + 1) / up) <= k <= floor((n down + half - 1) / up).
        last = first + count - 1
        start = -((self._half - 1 - first * self.down) // self.up)
        stop = (last * self.down + self._half - 1) // self.up + 1
        return start, stop

    def apply(self, inputs: Float64, first: int, count: int) -> Float64:
        """Return the output samples `[first, first + count)`.

        Args:
            inputs: shape `(channels, n)`, over exactly the range that `needs(first, count)` states.
            first: absolute index of the first output sample.
            count: number of output samples.

        Returns:
            Shape `(channels, count)`, float64, in the inputs' unit.

        Raises:
            ValueError: `inputs` has another shape.
        """
        start, stop = self.needs(first, count)
        if inputs.ndim != 2 or inputs.shape[1] != stop - start:
            raise ValueError(f"inputs of shape {inputs.shape}, expected (channels, {stop - start})")
        if self.identity:
            return np.array(inputs, dtype=np.float64)
        layout = self._layout(first * self.down % self.up, count)
        channels = inputs.shape[0]
        # The last cycle may give more outputs than `count`. These, computed with zeros, are cut
        # off.
        padded = np.zeros((channels, layout.inputs))
        padded[:, : stop - start] = inputs
        outputs = np.empty((channels, layout.cycles, layout.cycle_outputs))
        step = padded.strides[1]
        for piece in layout.pieces:
            # Cycle c reads the inputs from c * cycle_inputs + offset on, as overlapping views.
            windows = np.ndarray(
                (channels, layout.cycles, piece.matrix.shape[0]),
                padded.dtype,
                padded,
                piece.offset * step,
                (padded.strides[0], layout.cycle_inputs * step, step),
            )
            stop_output = piece.output + piece.matrix.shape[1]
            # One product per channel, of a shape that never varies: the bits of a channel do not
            # depend on which others are resampled beside it.
            np.matmul(windows, piece.matrix, out=outputs[:, :, piece.output : stop_output])
        return outputs.reshape(channels, -1)[:, :count]

    def _lay_out(self, phase: int, count: int) -> _Layout:
        """Return the matrices of a call.

        Args:
            phase: the first output's position after the input before it, at the common rate.
            count: the number of outputs.
        """
        # After up outputs the position has moved by up down, which is down inputs: the phases
        # repeat, and so does the matrix. A cycle is as many of these periods as consume half the
        # filter's inputs or _CYCLE_INPUTS, one at least, and no more than cover the count.
        inputs = max(_CYCLE_INPUTS, self._half // self.up)
        repeats = max(1, min(inputs // self.down, -(-count // self.up)))
        cycle_outputs, cycle_inputs = self.up * repeats, self.down * repeats
        cycles = -(-count // cycle_outputs)
        # Where up and down are large (20000 Hz to 4096 Hz: 625 inputs give 128 outputs) the matrix
        # of one period is a narrow band in a large square. It is cut into pieces along the band.
        # One advances by about the filter's length, 2 half / up inputs, so that half of it is zeros
        # and the calls are few. It has an output at least: at 16384 Hz to 100 Hz 4096 inputs give
        # 25.
        split = min(max(1, cycle_inputs * self.up // (2 * self._half)), cycle_outputs)
        edges = [cycle_outputs * part // split for part in range(split + 1)]
        # The first input that the first output rests on, counted from the input before that output:
        # the same bound as in `needs`. The padded inputs begin there.
        base = -((self._half - 1 - phase) // self.up)
        pieces = []
        for begin, end in pairwise(edges):
            # Output i stands at phase + i down. The inputs of a piece reach from the first that its
            # first output rests on to the last that its last output does.
            positions = phase + np.arange(begin, end) * self.down
            low = -((self._half - 1 - int(positions[0])) // self.up)
            high = (int(positions[-1]) + self._half - 1) // self.up + 1
            lags = positions[None, :] - np.arange(low, high)[:, None] * self.up
            matrix = self._taps(lags)
            pieces.append(_Piece(low - base, begin, matrix / matrix.sum(axis=0)))
        reach = max(piece.offset + piece.matrix.shape[0] for piece in pieces)
        return _Layout(
            cycles, cycle_inputs, cycle_outputs, (cycles - 1) * cycle_inputs + reach, tuple(pieces)
        )

    def _taps(self, lags: NDArray[np.int64]) -> Float64:
        """Return the taps at some lags of the common rate, of any shape; 0 outside the filter."""
        inside = np.abs(lags) < self._half
        return np.where(inside, self._prototype[np.where(inside, lags + self._half, 0)], 0.0)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a cycle's matrix along its band.

    Args:
        offset: the first input of the piece, counted from the first of the cycle.
        output: the first output of the piece, counted from the first of the cycle.
        matrix: the taps, shape `(inputs, outputs)`; each column sums to 1.
    """

    offset: int
    output: int
    matrix: Float64


@dataclass(frozen=True, slots=True)
class _Layout:
    """The arithmetic of a whole call.

    Args:
        cycles: the number of equal cycles.
        cycle_inputs: the inputs by which a cycle advances.
        cycle_outputs: the outputs of a cycle.
        inputs: the inputs, padded with zeros, that all cycles read.
        pieces: the pieces of a cycle's matrix.
    """

    cycles: int
    cycle_inputs: int
    cycle_outputs: int
    inputs: int
    pieces: tuple[_Piece, ...]


def objection(
    source_rate: int, target_rate: int, max_delay: Fraction | float, attenuation: float
) -> str | None:
    """Return why there can be no such filter; None where there can.

    >>> objection(2, 4096, max_delay=Fraction(1, 4), attenuation=80.0)
    '2 Hz: a filter of 0.25 s holds no sample'

    Args:
        source_rate: input samples per second.
        target_rate: output samples per second.
        max_delay: upper bound of the half-length in seconds.
        attenuation: stop-band attenuation in dB.
    """
    if source_rate <= 0 or target_rate <= 0:
        return f"rates must be positive: {source_rate} Hz to {target_rate} Hz"
    slower = min(source_rate, target_rate)
    if Fraction(max_delay) * slower < 1:
        return f"{slower} Hz: a filter of {float(max_delay)} s holds no sample"
    if attenuation > MOST_ATTENUATION:
        return f"{attenuation:g} dB are more than the arithmetic has, {MOST_ATTENUATION:g} dB"
    return None


def _prototype(half: int, per_zero: int, attenuation: float) -> Float64:
    """Return the windowed sinc at lags `-half ... half` of the common rate, not normalised.

    >>> (_prototype(4, 2, attenuation=0.0).round(3) + 0.0).tolist()
    [0.0, -0.212, 0.0, 0.637, 1.0, 0.637, 0.0, -0.212, 0.0]

    Args:
        half: half-length in samples of the common rate.
        per_zero: samples of the common rate from one zero of the sinc to the next.
        attenuation: stop-band attenuation in dB.
    """
    # Kaiser's window is w(u) = I0(beta sqrt(1 - u^2)) / I0(beta) for |u| <= 1, with u = l / half.
    lags = np.arange(-half, half + 1)
    beta = kaiser_beta(attenuation)
    window = i0(beta * np.sqrt(np.clip(1.0 - (lags / half) ** 2, 0.0, None))) / i0(beta)
    return np.asarray(np.sinc(lags / per_zero) * window, dtype=np.float64)
