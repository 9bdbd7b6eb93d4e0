"""A network beside a baseline on the same held-out data, segment by segment.

Both leave a residual of the target in each segment, which share its noise. The figure of merit is
the log-likelihood of the residual, Gaussian with the spectrum that the baseline leaves of the
training data (train.closed_form.judge). The difference of two networks in a segment scatters far
less than either, so a gain of a thousandth is seen in minutes, where the ratio of two spectra has
an error of a percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from torch import Tensor, nn

from deepclean.core.block import Float64
from deepclean.core.reach import Reach
from deepclean.errors import InputError
from deepclean.models.networks import PERIODS
from deepclean.models.tensors import infer
from deepclean.train.closed_form.judge import Gain, HeldOutScore, asd_ratio, compare, judge
from deepclean.train.closed_form.robust import RESIDUAL, robust_weights
from deepclean.train.loss import InBandPower
from deepclean.train.prepare import TrainingStretch

_GRID = PERIODS[-1]
"""Samples that the ends of what a network is given are multiples of."""

_TOGETHER = 32
"""Seconds that a network is given at once."""


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """What a network does on held-out data.

    Args:
        score: what is to be small: the baseline's log-likelihood less the network's; infinite where
            the network's output is not finite.
        asd_ratio: mean over in-band bins of residual over target ASD.
        peak_output: amplitude of the output over that of the target in the bin that is farthest
            above the reference.
    """

    score: float
    asd_ratio: float
    peak_output: float


class SegmentPowers:
    """The power of what networks leave of some stretches, by segment and in-band bin.

    Args:
        stretches: prepared data.
        power: Welch's estimate, whose segments these are.
        reach: how far any of the networks looks: the ends of a stretch do not count.
        rate: samples per second.
        device: where networks run.

    Raises:
        InputError: no stretch holds a segment and the reach.
    """

    def __init__(
        self,
        stretches: Sequence[TrainingStretch],
        power: InBandPower,
        reach: Reach,
        rate: int,
        device: str,
    ) -> None:
        self._rate, self._device, self._power = rate, device, power.to(device)
        self._before, self._after = (-(-samples // _GRID) * _GRID for samples in reach)
        needed = self._before + self._after + power.length + _GRID
        self._stretches = [s for s in stretches if len(s.target) >= needed]
        if not self._stretches:
            raise InputError(
                f"no stretch of data is longer than the {needed / rate:.1f} s that a network's "
                "reach and one spectrum need"
            )

    def measure(self, network: nn.Module | None) -> tuple[Float64, Float64]:
        """Return the powers of the residual and of the output, each `(segments, bins)`.

        Args:
            network: in evaluation mode, on the device; None for no output.
        """
        parts = [part for stretch in self._stretches for part in self._parts(stretch, network)]
        left, output = np.concatenate(parts, axis=1)
        return left, output

    def usual(self, network: nn.Module | None) -> Tensor:
        """Return the mean power that a network leaves in each bin, `(bins,)`, float32."""
        return torch.from_numpy(usual(self.measure(network)[0]).astype(np.float32))

    def _parts(self, stretch: TrainingStretch, network: nn.Module | None) -> Iterator[Float64]:
        """Yield residual and output of a stretch in parts, `(2, segments, bins)`."""
        count = len(stretch.target) // _GRID * _GRID
        last = count - self._after
        # Parts overlap as segments do, so that each segment is in one of them.
        shared = self._power.length - self._power.hop
        step = _TOGETHER * self._rate // self._power.hop * self._power.hop
        for start in range(self._before, last - self._power.length + 1, step):
            stop = min(start + step + shared, last)
            low = (start - self._before) // _GRID * _GRID
            high = min(-(-(stop + self._after) // _GRID) * _GRID, count)
            target = torch.from_numpy(stretch.target[start:stop]).to(self._device)
            output = torch.zeros_like(target)
            if network is not None:
                witnesses = torch.from_numpy(stretch.witnesses[None, :, low:high])
                output = infer(network, witnesses.to(self._device))[0, start - low : stop - low]
            segments = self._power.segments(torch.stack([target - output, output]))
            yield segments.cpu().numpy().astype(np.float64)


class PairedValidation:
    """Judges networks against a baseline.

    Args:
        held_out: what a network is judged by.
        training: what the reference spectrum is of.
        baseline: in evaluation mode, on the device; None for no output at all.

    Attributes:
        reference: power spectrum that the baseline leaves of the training data, `(bins,)`.
        target: that of the training data's target.
    """

    def __init__(
        self, held_out: SegmentPowers, training: SegmentPowers, baseline: nn.Module | None
    ) -> None:
        self._held_out = held_out
        self.reference = usual(training.measure(baseline)[0])
        self.target = usual(training.measure(None)[0])
        left, _ = held_out.measure(baseline)
        self._weights = robust_weights(np.mean(left / self.reference, axis=1), RESIDUAL)
        self._baseline = self._score(left)
        self._nothing = self._score(held_out.measure(None)[0])

    @property
    def excess(self) -> float:
        """The target's power over the reference in the bin where that is largest."""
        return float(np.max(self.target / self.reference))

    def figures(self, network: nn.Module) -> EpochFigures:
        """Return what a network in evaluation mode does on the held-out data."""
        left, output = self._held_out.measure(network)
        if not np.isfinite(left).all():
            return EpochFigures(float("inf"), float("inf"), float("inf"))
        score = self._score(left)
        ratio, _ = asd_ratio(score, self._nothing, np.ones(len(self.reference), dtype=bool))
        peak = int(np.argmax(self.target / self.reference))
        share = float(np.sqrt(usual(output)[peak] / self.target[peak]))
        return EpochFigures(-compare(score, self._baseline).mean, ratio, share)

    def gain(self, network: nn.Module) -> Gain:
        """Return how much more likely than the baseline a network makes the held-out data."""
        return compare(self._score(self._held_out.measure(network)[0]), self._baseline)

    def _score(self, left: Float64) -> HeldOutScore:
        # A segment's value of 1 a bin: the coupling's bandpass is flat in its bands.
        return judge(np.sqrt(left.T), self.reference, np.ones(left.shape[1]), self._weights)


def usual(powers: Float64) -> Float64:
    """Return the mean power of each bin, `(bins,)`, that glitches do not move.

    The power of Gaussian noise in a bin is exponentially distributed: its median is ln 2 of its
    mean.

    Args:
        powers: `(segments, bins)`.
    """
    return np.asarray(np.median(powers, axis=0) / log(2), dtype=np.float64)
