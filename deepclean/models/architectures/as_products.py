"""The convolutions of a network as matrix products in numpy, for a CPU.

The convolutions of the published network are short and have few channels, so most of what torch
spends on them is not arithmetic: these take a quarter of its time (docs/performance.md). A layer
lies in memory channels last. Then the samples under a filter's taps are one piece of memory, and a
strided view of overlapping pieces is the matrix that a layer multiplies its weights with.

The product of each sequence of a batch has a shape of its own, which does not depend on the batch:
equal inputs give equal bits, whatever is beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

_NARROW = 32
"""Channels of a convolution from which on it gives one sample at a time."""

_AT_ONCE = 1 << 20
"""The bytes of windows that are copied and multiplied at once, which a processor's cache holds."""

Samples = NDArray[np.floating[Any]]
"""`(batch, time, channels)`, or weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A convolution, or a transposed one, as a product of windows of its input with a matrix.

    Window `w` begins at input sample `w advance - left`, where zeros stand before the first and
    after the last. It gives the output samples from `w outputs` on.

    Args:
        matrix: shape `(window x input channels, outputs x output channels)`.
        bias: shape `(outputs x output channels,)`.
        window: input samples under a window.
        advance: input samples from one window to the next.
        outputs: output samples that a window gives.
        left: input samples of the first window before the first sample.
    """

    matrix: Samples
    bias: Samples
    window: int
    advance: int
    outputs: int
    left: int

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
        outputs = 1 if channels >= _NARROW else 2
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
        return cls(flat, np.tile(bias, outputs), window, advance, outputs, left)

    def apply(self, values: Samples) -> Samples:
        """Return the output, `(batch, time, channels)`, for such an input.

        The input's time is a whole number of strides.
        """
        batch, time, channels = values.shape
        rows = -(-time // self.advance)
        padded = np.zeros(
            (batch, (rows - 1) * self.advance + self.window, channels), self.matrix.dtype
        )
        padded[:, self.left : self.left + time] = values[:, : padded.shape[1] - self.left]
        whole, step, _ = padded.strides
        # Made directly, because numpy's as_strided takes longer than a short layer's arithmetic.
        windows = np.ndarray(
            (batch, rows, self.window * channels),
            padded.dtype,
            padded,
            strides=(whole, self.advance * step, padded.itemsize),
        )
        products = np.empty((batch, rows, self.matrix.shape[1]), self.matrix.dtype)
        at_once = max(_AT_ONCE // (windows.shape[2] * padded.itemsize), 1)
        for first in range(0, rows, at_once):
            some = slice(first, first + at_once)
            # A copy: the libraries of linear algebra take no rows that overlap.
            copied = np.ascontiguousarray(windows[:, some])
            np.matmul(copied, self.matrix, out=products[:, some])
        products += self.bias
        given = products.reshape(batch, rows * self.outputs, -1)
        return np.asarray(given[:, : time * self.outputs // self.advance])


@dataclass(frozen=True, slots=True, eq=False)
class LastLayer:
    """A convolution to one channel, as a product of its input with all taps.

    A matrix of one column is multiplied slowly, and its windows are many copies of the input.

    Args:
        matrix: shape `(channels, taps)`; the taps are `2 p + 1`.
        bias: of the output.
    """

    matrix: Samples
    bias: float

    @classmethod
    def of(cls, convolution: nn.Conv1d) -> Self:
        """Return the layer of a convolution of stride 1, of odd length `k` and padding `k // 2`."""
        assert convolution.bias is not None
        return cls(convolution.weight.detach().numpy()[0], convolution.bias.item())

    def apply(self, values: Samples) -> Samples:
        """Return the output, `(batch, time)`, for an input `(batch, time, channels)`."""
        # y[t] = b + sum_j w[j] x[t + j - p]: sample s adds its product with tap j to y[s - j + p].
        batch, time, _ = values.shape
        taps = self.matrix.shape[1]
        products = np.matmul(values, self.matrix)
        noise = np.full((batch, time + taps - 1), self.bias, self.matrix.dtype)  # y from -p on
        for tap in range(taps):
            first = taps - 1 - tap
            noise[:, first : first + time] += products[:, :, tap]
        return noise[:, taps // 2 : taps // 2 + time]


def run(layers: Sequence[Layer], last: LastLayer, witnesses: Samples) -> Samples:
    """Return the output of layers with tanh after each, and of a last one.

    Args:
        layers: the layers, in order.
        last: the layer behind them.
        witnesses: shape `(batch, channels, time)`.

    Returns:
        Shape `(batch, time)`.
    """
    values = witnesses.transpose(0, 2, 1)
    for layer in layers:
        values = layer.apply(values)
        # numpy's takes an eighth of the time of torch's.
        np.tanh(values, out=values)
    return last.apply(values)
