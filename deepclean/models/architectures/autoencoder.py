"""The published network: a strided convolutional autoencoder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from deepclean.errors import ModelError


class Autoencoder(nn.Module):
    """The published DeepClean network: a strided convolutional autoencoder.

    An input convolution (n -> n), one convolution at stride 2 per entry of `hidden`, the same
    mirrored by transposed convolutions, each followed by batch normalisation and tanh; then an
    output convolution to one channel. Ormiston et al. 2020, Phys. Rev. Research 2, 033066
    (arXiv:2005.06534), section III.

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

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the noise, `(batch, time)`, for `(batch, channels, time)`.

        `time` is a multiple of `2 ** len(hidden)`.
        """
        noise: Tensor = self.last(self.up(self.down(self.first(witnesses))))
        return noise[:, 0]


def counts(value: object) -> bool:
    """Return whether `value` is a positive integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def require_odd(option: str, value: object) -> None:
    """Raise ModelError unless `value` is a positive odd integer."""
    if not isinstance(value, int) or not counts(value) or value % 2 == 0:
        raise ModelError(f"architecture.{option}: {value!r} is not a positive odd integer")


def _block(convolution: nn.Conv1d | nn.ConvTranspose1d) -> nn.Sequential:
    """Return a convolution with the batch normalisation and tanh that follow it."""
    return nn.Sequential(convolution, nn.BatchNorm1d(convolution.out_channels), nn.Tanh())
