"""The convolutions of a network as matrix products in numpy, for a CPU.

The convolutions of the published network are short and have few channels, so most of what torch
spends on them is not arithmetic: for 10 or 21 channels these take a third of its time, for 122 four
fifths. A layer lies in memory channels last. Then the samples under a filter's taps are one piece
of memory, and a strided view of such pieces is the matrix that a layer multiplies its weights with.
Each layer writes where the next one reads, so nothing is copied.

The product of each sequence of a batch has a shape of its own, which does not depend on the batch:
equal inputs give equal bits, whatever is beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

_NARROW, _NARROWEST = 32, 8
"""Channels of a convolution below which a window gives two samples, and below which four."""

_TOGETHER = 8
"""The windows to which the bias is added at once, because numpy adds short rows slowly."""

_SMALL = 1_000_000
"""The multiplications of a product up to which OpenBLAS multiplies factors as they lie; it copies
those of a larger one first, which takes longer than the arithmetic of few columns."""

_FEW = 32
"""Rows of a product below which its call takes longer than such copies."""

Samples = NDArray[np.floating[Any]]
"""`(batch, time, channels)`, or weights."""


class Shape(NamedTuple):
    """The windows of a layer. Window `w` begins at input sample `w advance - left`.

    Args:
        inputs: input channels.
        channels: output channels.
        window: input samples under a window.
        advance: input samples from one window to the next.
        outputs: output samples that a window gives.
        left: input samples of the first window before the first sample.
    """

    inputs: int
    channels: int
    window: int
    advance: int
    outputs: int
    left: int


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A convolution, or a transposed one, as a product of windows of its input with a matrix.

    Zeros stand before the first sample and after the last. Window `w` gives the output samples from
    `w outputs` on.

    Args:
        matrix: shape `(window x input channels, outputs x output channels)`.
        bias: that of `_TOGETHER` windows, shape `(_TOGETHER x outputs x output channels,)`.
        shape: the windows.
    """

    matrix: Samples
    bias: Samples
    shape: Shape

    @classmethod
    def of(cls, convolution: nn.Conv1d | nn.ConvTranspose1d, weight: Tensor, bias: Tensor) -> Self:
        """Return the layer of a convolution with other weights than its own.

        Args:
            convolution: of odd length `k` and padding `k // 2`; of any stride, or a transposed one
                of stride 2 whose output padding is 1.
            weight: of the convolution's shape.
            bias: shape `(output channels,)`.
        """
        weights = weight.detach().numpy()
        if isinstance(convolution, nn.ConvTranspose1d):
            return cls._transposed(weights, bias.detach().numpy())
        return cls._forward(weights, bias.detach().numpy(), int(convolution.stride[0]))

    @classmethod
    def _forward(cls, weights: Samples, bias: Samples, stride: int) -> Self:
        """Return the layer of weights `(outputs, inputs, taps)`."""
        # y[s m] = sum_j w[j] x[s m + j - k // 2]. A window that gives two samples, m and m + 1,
        # has s more inputs, and each of its two columns of weights is zero at s of them. That is
        # little, and a matrix of few columns is multiplied slowly.
        channels, inputs, taps = weights.shape
        outputs = 1 if channels >= _NARROW else 2 if channels >= _NARROWEST else 4
        window = taps + (outputs - 1) * stride
        matrix = np.zeros((window, inputs, outputs, channels), weights.dtype)
        for output in range(outputs):
            first = output * stride
            matrix[first : first + taps, :, output] = weights.transpose(2, 1, 0)
        return cls._flat(matrix, bias, outputs * stride, taps // 2)

    @classmethod
    def _transposed(cls, weights: Samples, bias: Samples) -> Self:
        """Return the layer of weights `(inputs, outputs, taps)` at stride 2."""
        # Input t adds w[j] x[t] to output 2 t + j - p, with p = k // 2. So outputs 2 u and 2 u + 1
        # rest on the inputs t = u + d with
        #     d = (p - j) / 2 for even p - j,    d = (p + 1 - j) / 2 for odd p - j,
        # which are ceil((p - j) / 2), from -(p // 2) for j = k - 1 = 2 p to (p + 1) // 2 for j = 0.
        inputs, channels, taps = weights.shape
        padding = taps // 2
        left = padding // 2
        window = left + (padding + 1) // 2 + 1
        matrix = np.zeros((window, inputs, 2, channels), weights.dtype)
        for tap in range(taps):
            later = (padding - tap) % 2
            matrix[left + (padding + later - tap) // 2, :, later] = weights[:, :, tap]
        return cls._flat(matrix, bias, 1, left)

    @classmethod
    def _flat(cls, matrix: Samples, bias: Samples, advance: int, left: int) -> Self:
        """Return the layer of weights `(window, inputs, outputs, output channels)`."""
        window, inputs, outputs, channels = matrix.shape
        flat = matrix.reshape(window * inputs, outputs * channels)
        shape = Shape(inputs, channels, window, advance, outputs, left)
        return cls(flat, np.tile(bias, _TOGETHER * outputs), shape)


def run(layers: Sequence[Layer], witnesses: Samples) -> Samples:
    """Return the output of layers with tanh between them.

    Args:
        layers: the layers, in order. The input's time is a whole number of their strides.
        witnesses: shape `(batch, channels, time)`.

    Returns:
        Shape `(batch, time, channels)`.
    """
    dtype = layers[0].matrix.dtype
    *_, time = witnesses.shape
    plan = _plan(tuple(layer.shape for layer in layers), time, dtype.itemsize)
    given = np.empty((len(witnesses), *plan.output.shape), dtype)
    memory = np.empty(plan.length, dtype)
    for sequence, output in zip(witnesses, given, strict=True):
        plan.input.of(memory)[:] = sequence.T
        for layer, step in zip(layers, plan.steps, strict=True):
            memory[step.before] = 0.0
            memory[step.after] = 0.0
            np.matmul(step.windows.of(memory), layer.matrix, out=step.products.of(memory))
            flat = step.flat.of(memory)
            flat += layer.bias
            if layer is not layers[-1]:
                # numpy's takes an eighth of the time of torch's.
                np.tanh(flat, out=flat)
        output[:] = plan.output.of(memory)
    return given


class _View(NamedTuple):
    """An array within the memory of a run, as numpy is told of it: offset and strides in bytes."""

    shape: tuple[int, ...]
    offset: int
    strides: tuple[int, ...]

    def of(self, memory: Samples) -> Samples:
        """Return the array."""
        # Made directly, because numpy's as_strided takes longer than a short layer's arithmetic.
        return np.ndarray(self.shape, memory.dtype, memory, self.offset, self.strides)


class _Step(NamedTuple):
    """What a layer reads and writes.

    Args:
        before: the zeros before the input.
        after: the zeros after it.
        windows: shape `(parts, phases, rows, window x input channels)`.
        products: shape `(parts, phases, rows, outputs x output channels)`.
        flat: the products in order, shape `(n, _TOGETHER x outputs x output channels)`.
    """

    before: slice
    after: slice
    windows: _View
    products: _View
    flat: _View


class _Plan(NamedTuple):
    """The arithmetic of a run.

    Args:
        length: the memory, in numbers.
        input: the input, shape `(time, channels)`.
        steps: what each layer does.
        output: the output, shape `(time, channels)`.
    """

    length: int
    input: _View
    steps: tuple[_Step, ...]
    output: _View


class _Room(NamedTuple):
    """The memory between two layers.

    Args:
        channels: the channels.
        left: samples of zeros before the first sample.
        time: the samples.
        length: samples in all, with those of zeros.
    """

    channels: int
    left: int
    time: int
    length: int

    def view(self, begin: int, item: int) -> _View:
        """Return the samples, `(time, channels)`, of memory that begins at a number."""
        offset = begin + self.left * self.channels
        return _View((self.time, self.channels), offset * item, (self.channels * item, item))


@lru_cache(maxsize=128)
def _plan(shapes: tuple[Shape, ...], time: int, item: int) -> _Plan:
    """Return the arithmetic of layers.

    Args:
        shapes: those of the layers.
        time: samples of the input.
        item: bytes of a number.
    """
    rooms, many, written = [], [], time
    for shape in shapes:
        many.append(_products(shape, time))
        windows = prod(many[-1])
        read = (windows - 1) * shape.advance + shape.window
        rooms.append(_Room(shape.inputs, shape.left, time, max(shape.left + written, read)))
        time, written = time * shape.outputs // shape.advance, windows * shape.outputs
    rooms.append(_Room(shapes[-1].channels, 0, time, written))
    # Each layer reads from one half of the memory and writes to the other.
    half = max(room.length * room.channels for room in rooms)
    begins = [half * (number % 2) for number in range(len(rooms))]
    views = [room.view(begin, item) for room, begin in zip(rooms, begins, strict=True)]
    steps = []
    for number, (shape, (parts, phases, rows)) in enumerate(zip(shapes, many, strict=True)):
        (channels, left, count, length), begin = rooms[number], begins[number]
        columns = shape.outputs * shape.channels
        into = views[number + 1].offset
        steps.append(
            _Step(
                slice(begin, begin + left * channels),
                slice(begin + (left + count) * channels, begin + length * channels),
                _rows(
                    (parts, phases, rows, shape.window * channels),
                    begin * item,
                    (shape.advance * channels * item, item),
                ),
                _rows((parts, phases, rows, columns), into, (columns * item, item)),
                _View(
                    (parts * phases * rows // _TOGETHER, _TOGETHER * columns),
                    into,
                    (_TOGETHER * columns * item, item),
                ),
            )
        )
    return _Plan(2 * half, views[0], tuple(steps), views[-1])


def _rows(shape: tuple[int, int, int, int], offset: int, strides: tuple[int, int]) -> _View:
    """Return a view of rows, with the strides of a row and of its numbers, in bytes.

    Its shape is `(parts, phases, rows, n)`: row `r` of a part and a phase is the row
    `(part x rows + r) phases + phase` of all.
    """
    _, phases, rows, _ = shape
    row, number = strides
    return _View(shape, offset, (rows * phases * row, row, phases * row, number))


def _products(shape: Shape, time: int) -> tuple[int, int, int]:
    """Return the parts, the phases and the rows of the products of a layer.

    The libraries of linear algebra take no rows that overlap. So window `w` is a row of the product
    of phase `w mod phases`, with those that lie a window's length from it, or more.

    Args:
        shape: the layer's.
        time: samples of its input.
    """
    # Phases by fours and even rows, so that the windows are a multiple of _TOGETHER.
    windows = -(-time // shape.advance)
    phases = 4 * -(-shape.window // (4 * shape.advance))
    most = _SMALL // (2 * shape.window * shape.inputs * shape.outputs * shape.channels) * 2
    parts = -(-windows // (phases * most)) if most >= _FEW else 1
    return parts, phases, 2 * -(-windows // (2 * phases * parts))
