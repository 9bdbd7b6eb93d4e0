"""Losses by name.

A loss maps predictions and targets, both standardised and of shape `(batch, time)`, to one number.
The spectral losses use the coupling's bands alone. They do not constrain a network's output at
other frequencies, which the engine's bandpass removes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepclean.core.filters.bandpass import Band
from deepclean.errors import ConfigError, hint


class InBandPower(nn.Module):
    """Welch's estimate of the power spectral density at the bins inside some bands.

    The few bins are computed as a product with Hann-windowed exponentials, which is cheaper than
    whole transforms and differentiable. The constant scale is left out.

    Args:
        bands: `(low, high)` in Hz; a bin on an edge counts.
        rate: samples per second.
        fft_length: seconds per segment.
        overlap: share of a segment that the next one repeats, in [0, 1).

    Raises:
        ConfigError: no bin lies in the bands, or a length is out of range.
    """

    basis: Tensor

    def __init__(self, bands: Sequence[Band], rate: int, fft_length: float, overlap: float) -> None:
        super().__init__()
        self.length = round(fft_length * rate)
        if self.length < 2 or not 0 <= overlap < 1:
            raise ConfigError(
                f"training.loss_options: a length of {fft_length} s with overlap {overlap}; "
                "lengths are positive, overlaps from 0 to below 1"
            )
        self.hop = max(1, round(self.length * (1 - overlap)))
        bins = torch.arange(self.length // 2 + 1, dtype=torch.float64)
        frequencies = bins * rate / self.length
        inside = torch.zeros_like(frequencies, dtype=torch.bool)
        for low, high in bands:
            inside |= (frequencies >= low) & (frequencies <= high)
        if not inside.any():
            raise ConfigError(
                f"training.loss_options.fft_length: no bin of a {fft_length} s transform lies in "
                f"the bands {bands}; make it longer"
            )
        time = torch.arange(self.length, dtype=torch.float64)
        angle = 2 * torch.pi / self.length * torch.outer(time, bins[inside])
        window = torch.hann_window(self.length, dtype=torch.float64)[:, None]
        basis = torch.cat([window * angle.cos(), window * angle.sin()], dim=1)
        self.register_buffer("basis", basis.to(torch.float32))

    def forward(self, samples: Tensor) -> Tensor:
        """Return the power, `(batch, bins)`, of `(batch, time)`."""
        return self.segments(samples).mean(dim=-2)

    def segments(self, samples: Tensor) -> Tensor:
        """Return the power of each segment, `(batch, segments, bins)`, of `(batch, time)`."""
        parts = samples.unfold(-1, self.length, self.hop) @ self.basis
        cosine, sine = parts.chunk(2, dim=-1)
        return cosine.square() + sine.square()


class Log1p(nn.Module):
    """The mean over in-band bins of `log(1 + P / S)`: P the residual's power, S a reference.

    The reference is the spectrum that the closed form leaves, held fixed. Near it the loss is
    quadratic in the residual, as a likelihood is; far above it the loss is logarithmic, so the few
    bins of a strong line do not drown the others, and a glitch counts for little. A network that
    gives nothing meets a steep slope: to reduce a line lowers the loss at once, where in the ratios
    by the raw strain the harm in the bins beside the line cancels the gain, and a network falls
    silent.

    Args:
        bands: `(low, high)` in Hz.
        rate: samples per second.
        fft_length: seconds per segment.
        overlap: share of a segment that the next one repeats, in [0, 1).

    Attributes:
        reference: S, `(bins,)`, in the units of `power`; 1 until it is set.
    """

    reference: Tensor

    def __init__(
        self, bands: Sequence[Band], rate: int, *, fft_length: float = 2.0, overlap: float = 0.5
    ) -> None:
        super().__init__()
        self.power = InBandPower(bands, rate, fft_length, overlap)
        self.register_buffer("reference", torch.ones(self.power.basis.shape[1] // 2))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar. What leaves the reference gives about log 2."""
        loss: Tensor = torch.log1p(self.power(target - prediction) / self.reference).mean()
        return loss


class AsdRatio(nn.Module):
    """The published loss: the mean over in-band bins of residual ASD over target ASD.

    Ormiston et al. 2020, Phys. Rev. Research 2, 033066, section III (there with the PSD).

    Args:
        bands: `(low, high)` in Hz.
        rate: samples per second.
        fft_length: seconds per segment.
        overlap: share of a segment that the next one repeats, in [0, 1).
    """

    def __init__(
        self, bands: Sequence[Band], rate: int, *, fft_length: float = 2.0, overlap: float = 0.5
    ) -> None:
        super().__init__()
        self.power = InBandPower(bands, rate, fft_length, overlap)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar. A prediction of zeros gives 1."""
        ratio: Tensor = self.power(target - prediction) / self.power(target)
        return ratio.sqrt().mean()


class LogAsdRatio(AsdRatio):
    """The mean over in-band bins of the logarithm of residual ASD over target ASD.

    In the plain ratio a bin is weighted by the raw strain, so the rest of a strong line hardly
    counts, however far it is above the floor. The logarithm weights each bin by its present
    residual. It is, up to constants, Whittle's negative log-likelihood (Whittle 1953, Ark. Mat. 2,
    423) of a Gaussian residual of unknown spectrum, maximised over that spectrum.

    Args:
        bands: `(low, high)` in Hz.
        rate: samples per second.
        fft_length: seconds per segment.
        overlap: share of a segment that the next one repeats, in [0, 1).
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar. A prediction of zeros gives 0."""
        ratio: Tensor = self.power(target - prediction) / self.power(target)
        return ratio.log().mean() / 2


class MeanSquare(nn.Module):
    """The mean squared error against the bandpassed target, over all frequencies.

    Args:
        bands: not used, because the target is confined to them.
        rate: not used.
    """

    def __init__(self, bands: Sequence[Band], rate: int) -> None:
        super().__init__()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar. A prediction of zeros gives about 1."""
        return (target - prediction).square().mean()


LOSSES: dict[str, Callable[..., nn.Module]] = {
    "log1p": Log1p,
    "asd_ratio": AsdRatio,
    "log_asd_ratio": LogAsdRatio,
    "mse": MeanSquare,
}
"""The losses by name. Each takes the bands and the rate, then its options by keyword."""


def build_loss(
    name: str, options: Mapping[str, Any], bands: Sequence[Band], rate: int
) -> nn.Module:
    """Return the loss of that name.

    Args:
        name: one of `LOSSES`.
        options: the options of that loss.
        bands: `(low, high)` in Hz.
        rate: samples per second.

    Raises:
        ConfigError: an unknown name or option (the message names the nearest valid one), or a
            value out of range.
    """
    if name not in LOSSES:
        raise ConfigError(f"training.loss: unknown {name!r}{hint(name, LOSSES)}")
    valid = list(inspect.signature(LOSSES[name]).parameters)[2:]
    for option, value in options.items():
        if option not in valid:
            raise ConfigError(f"training.loss_options: unknown {option!r}{hint(option, valid)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"training.loss_options.{option}: {value!r} is not a number")
    return LOSSES[name](bands, rate, **options)
