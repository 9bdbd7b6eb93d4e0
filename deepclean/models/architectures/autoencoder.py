"""The published network: a strided convolutional autoencoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from deepclean.errors import ModelError


class Autoencoder(nn.Module):
    """The published DeepClean network: a strided convolutional autoencoder.

    An input convolution (n -> n), one convolution at stride 2 per entry of `hidden`, the same
    mirrored by transposed convolutions, each followed by batch normalisation and tanh; then an
    output convolution to one channel. Ormiston et al. 2020, Phys. Rev. Research 2, 033066
    (arXiv:2005.06534), section III.

    In evaluation mode and without gradients each normalisation, which is a factor and an offset
    then, is folded into the convolution before it. That changes the output by its rounding only.

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
        self._folded: list[tuple[Callable[..., Tensor], tuple[Any, ...]]] = []
        self.register_load_state_dict_post_hook(_forget_folded)  # type: ignore[no-untyped-call]

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`.

        `time` is a multiple of `2 ** len(hidden)`.
        """
        noise: Tensor
        if self.training or torch.is_grad_enabled():
            noise = self.last(self.up(self.down(self.first(witnesses))))
            return noise[:, 0]
        self._folded = self._folded or [_folded(block) for block in self._blocks()]
        values = witnesses
        for convolve, weights in self._folded:
            values = convolve(values, *weights).tanh_()
        noise = self.last(values)
        return noise[:, 0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as nn.Module does; the weights may have changed."""
        self.forget_folded()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.forget_folded()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forget_folded(self) -> None:
        """Fold the normalisations anew, because the weights have changed."""
        self._folded = []

    def _blocks(self) -> list[nn.Sequential]:
        """Return the blocks of a convolution, its normalisation and tanh, in order."""
        inner = (block for part in (self.down, self.up) for block in part)
        return [block for block in (self.first, *inner) if isinstance(block, nn.Sequential)]


def counts(value: object) -> bool:
    """Return whether `value` is a positive integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def require_odd(option: str, value: object) -> None:
    """Raise ModelError unless `value` is a positive odd integer."""
    if not isinstance(value, int) or not counts(value) or value % 2 == 0:
        raise ModelError(f"architecture.{option}: {value!r} is not a positive odd integer")


def _forget_folded(module: nn.Module, incompatible: object) -> None:
    """Follow a change of the weights."""
    assert isinstance(module, Autoencoder)
    module.forget_folded()


def _folded(block: nn.Sequential) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
    """Return a convolution of torch and its arguments that do what a block does before its tanh."""
    conv: Any = block[0]
    norm: Any = block[1]
    transposed = isinstance(conv, nn.ConvTranspose1d)
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=transposed,
    )
    places = (conv.stride, conv.padding)
    if transposed:
        return torch.conv_transpose1d, (weight, bias, *places, conv.output_padding)
    return torch.conv1d, (weight, bias, *places)


def _block(convolution: nn.Conv1d | nn.ConvTranspose1d) -> nn.Sequential:
    """Return a convolution with the batch normalisation and tanh that follow it."""
    return nn.Sequential(convolution, nn.BatchNorm1d(convolution.out_channels), nn.Tanh())
