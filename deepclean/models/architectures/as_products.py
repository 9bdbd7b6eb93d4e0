"""The convolutions of a network as matrix products in numpy, for a CPU.

The convolutions of the published network are short and have few channels, so most of what torch
spends on them is not arithmetic: these take a fifth of its time (docs/performance.md). A layer lies
in memory channels last. Then the samples under a filter's taps are one piece of memory, and a
strided view of such pieces is the matrix that a layer multiplies its weights with. Each layer
writes where the next one reads, so nothing is copied.

The product of each sequence of a batch has a shape of its own, which does not depend on the batch:
equal inputs give equal bits, whatever is beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
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


class _Laid(NamedTuple):
    """How the windows of an input are the rows of matrix products.

    The libraries of linear algebra take no rows that overlap, so every `phases`-th window is a row
    of one product: row `r` of the product `(part, phase)` is the window
    `(part x rows + r) phases + phase`.

    Args:
        parts: the products of each phase.
        phases: so many windows advance by a window's length or more.
        rows: the rows of each product.
    """

    parts: int
    phases: int
    rows: int

    @property
    def windows(self) -> int:
        """The number of windows, a multiple of `_TOGETHER`: those of the input, and more."""
        return self.parts * self.phases * self.rows


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A convolution, or a transposed one, as a product of windows of its input with a matrix.

    Window `w` begins at input sample `w advance - left`, where zeros stand before the first and
    after the last. It gives the output samples from `w outputs` on.

    Args:
        matrix: shape `(window x input channels, outputs x output channels)`.
        bias: `_TOGETHER` times that of a window's output, shape
            `(_TOGETHER x outputs x output channels,)`.
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
        return cls(flat, np.tile(bias, _TOGETHER * outputs), window, advance, outputs, left)

    @property
    def channels(self) -> int:
        """The output channels."""
        return len(self.bias) // (_TOGETHER * self.outputs)

    def room(self, batch: int, time: int, written: int) -> Samples:
        """Return memory for an input and the zeros around it, `(batch, length, channels)`.

        Args:
            batch: the number of sequences.
            time: samples of the input, which begins at sample `left`.
            written: samples that will be written there, those of the input first.
        """
        reach = (self._laid(time).windows - 1) * self.advance + self.window
        length = max(self.left + written, reach)
        made = np.empty((batch, length, len(self.matrix) // self.window), self.matrix.dtype)
        made[:, : self.left] = 0.0
        return made

    def written(self, time: int) -> int:
        """Return how many samples `apply` writes for an input of so many."""
        return self._laid(time).windows * self.outputs

    def given(self, time: int) -> int:
        """Return how many samples the output of an input of so many has: a whole number."""
        return time * self.outputs // self.advance

    def apply(self, inputs: Samples, time: int, outputs: Samples) -> Samples:
        """Write the output, and samples that mean nothing behind it.

        Args:
            inputs: the input, with zeros around it, in what `room` returned.
            time: samples of the input, a whole number of strides.
            outputs: memory for what is `written`, `(batch, written, channels)`, each sequence of it
                in one piece.

        Returns:
            A view of the outputs, whose rows are long.
        """
        laid, batch = self._laid(time), len(inputs)
        whole, step, item = inputs.strides
        step *= self.advance
        # Made directly, because numpy's as_strided takes longer than a short layer's arithmetic.
        windows = np.ndarray(
            (batch, *laid, len(self.matrix)),
            inputs.dtype,
            inputs,
            strides=(whole, laid.phases * laid.rows * step, step, laid.phases * step, item),
        )
        parts, phases, rows = laid
        products = outputs.reshape(batch, parts, rows, phases, -1).swapaxes(2, 3)
        np.matmul(windows, self.matrix, out=products)
        flat = outputs.reshape(batch, -1, len(self.bias))
        flat += self.bias
        return flat

    def _laid(self, time: int) -> _Laid:
        """Return how the windows of an input of so many samples are laid out."""
        return _lay_out(-(-time // self.advance), self.window, self.advance, self.matrix.size)


@lru_cache(maxsize=1024)
def _lay_out(windows: int, window: int, advance: int, weights: int) -> _Laid:
    """Return the layout of so many windows, at least.

    Args:
        windows: the number of windows.
        window: input samples under a window.
        advance: input samples from one window to the next.
        weights: the multiplications that a window takes.
    """
    # An even number of phases, and of rows, so that the windows are a multiple of _TOGETHER.
    phases = 4 * -(-window // (4 * advance))
    most = _SMALL // weights
    parts = -(-windows // (phases * most)) if most >= _FEW else 1
    return _Laid(parts, phases, 2 * -(-windows // (2 * phases * parts)))


def run(layers: Sequence[Layer], witnesses: Samples) -> Samples:
    """Return the output of layers with tanh between them.

    Args:
        layers: the layers, in order.
        witnesses: shape `(batch, channels, time)`.

    Returns:
        Shape `(batch, time, channels)`.
    """
    batch, _, time = witnesses.shape
    *_, last = layers
    inputs = layers[0].room(batch, time, time)
    low = layers[0].left
    inputs[:, low : low + time] = witnesses.transpose(0, 2, 1)
    inputs[:, low + time :] = 0.0
    for layer, following in pairwise(layers):
        given, written = layer.given(time), layer.written(time)
        outputs, low = following.room(batch, given, written), following.left
        flat = layer.apply(inputs, time, outputs[:, low : low + written])
        # numpy's takes an eighth of the time of torch's.
        np.tanh(flat, out=flat)
        outputs[:, low + given :] = 0.0
        inputs, time = outputs, given
    made = np.empty((batch, last.written(time), last.channels), last.matrix.dtype)
    last.apply(inputs, time, made)
    return made[:, : last.given(time)]
