"""The published network: a strided convolutional autoencoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deepclean.errors import ModelError
from deepclean.models.architectures.as_products import Layer, Samples, run


class Autoencoder(nn.Module):
    """The published DeepClean network: a strided convolutional autoencoder.

    An input convolution (n -> n), one convolution at stride 2 per entry of `hidden`, the same
    mirrored by transposed convolutions, each followed by batch normalisation and tanh; then an
    output convolution to one channel. Ormiston et al. 2020, Phys. Rev. Research 2, 033066
    (arXiv:2005.06534), section III.

    In evaluation mode and without gradients each normalisation, which is a factor and an offset
    then, is folded into the convolution before it. A CPU then runs the convolutions as matrix
    products (architectures.as_products). That changes the output by its rounding only.

    Args:
        channels: number of witnesses.
        hidden: channels after each strided convolution.
        kernel_size: taps of every convolution, odd.

    Raises:
        ModelError: an option out of range.
    """

    def __init__(
        self, channels: int, *, hidden: Sequence[int] = (8, 16, 32, 64), kernel_size: int = 7
    ) -> None:
        super().__init__()
        require_odd("kernel_size", kernel_size)
        if not isinstance(hidden, list | tuple) or not hidden or not all(map(counts, hidden)):
            raise ModelError(f"architecture.hidden: {hidden!r} is not a list of positive integers")
        down = [channels, *hidden]
        up = [*reversed(hidden), channels]
        self.first = _block(nn.Conv1d(channels, channels, kernel_size, 1, kernel_size // 2))
        self.down = nn.Sequential(
            *(
                _block(nn.Conv1d(before, after, kernel_size, 2, kernel_size // 2))
                for before, after in itertools.pairwise(down)
            )
        )
        self.up = nn.Sequential(
            *(
                _block(nn.ConvTranspose1d(before, after, kernel_size, 2, kernel_size // 2, 1))
                for before, after in itertools.pairwise(up)
            )
        )
        self.last = nn.Conv1d(channels, 1, kernel_size, 1, kernel_size // 2)
        self._products: list[Layer] | None = None
        self.register_load_state_dict_post_hook(_forget_products)  # type: ignore[no-untyped-call]

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`.

        `time` is a multiple of `2 ** len(hidden)`.

        Raises:
            RuntimeError: another number of channels.
        """
        if witnesses.is_cpu and not (self.training or torch.is_grad_enabled()):
            return torch.from_numpy(self.on_arrays(witnesses.numpy()))
        noise: Tensor = self.last(self.up(self.down(self.first(witnesses))))
        return noise[:, 0]

    def on_arrays(self, witnesses: Samples) -> Samples:
        """Return what `forward` does in evaluation mode on a CPU, without torch, which takes time.

        Raises:
            RuntimeError: another number of channels.
        """
        if witnesses.shape[1] != self.last.in_channels:
            raise RuntimeError(f"{witnesses.shape[1]} channels, expected {self.last.in_channels}")
        self._products = self._products or self._as_products()
        return run(self._products, witnesses)[..., 0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as nn.Module does; the weights may have changed."""
        self.forget_products()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.forget_products()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forget_products(self) -> None:
        """Make the matrices anew, because the weights have changed."""
        self._products = None

    def _as_products(self) -> list[Layer]:
        """Return the layers, each normalisation folded into the convolution before it."""
        inner = (block for part in (self.down, self.up) for block in part)
        assert self.last.bias is not None
        last = Layer.of(self.last, self.last.weight, self.last.bias)
        return [*(_folded(block) for block in (self.first, *inner)), last]


def counts(value: object) -> bool:
    """Return whether `value` is a positive integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def require_odd(option: str, value: object) -> None:
    """Raise ModelError unless `value` is a positive odd integer."""
    if not isinstance(value, int) or not counts(value) or value % 2 == 0:
        raise ModelError(f"architecture.{option}: {value!r} is not a positive odd integer")


def _forget_products(module: nn.Module, incompatible: object) -> None:
    """Follow a change of the weights."""
    assert isinstance(module, Autoencoder)
    module.forget_products()


def _folded(block: Any) -> Layer:
    """Return the layer that does what a block of convolution and normalisation does before tanh."""
    convolution, norm = block[0], block[1]
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=isinstance(convolution, nn.ConvTranspose1d),
    )
    return Layer.of(convolution, weight, bias)


def _block(convolution: nn.Conv1d | nn.ConvTranspose1d) -> nn.Sequential:
    """Return a convolution with the batch normalisation and tanh that follow it."""
    return nn.Sequential(convolution, nn.BatchNorm1d(convolution.out_channels), nn.Tanh())
