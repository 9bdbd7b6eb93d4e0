"""The fit of a network to prepared data, beside a baseline.

The baseline, a closed form or a fine-tuned network's parent, leaves a spectrum. The loss is
relative to it, and the network is judged by how much more likely than the baseline it makes the
held-out data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deepclean.config import TrainConfig
from deepclean.core.filters.bandpass import Band
from deepclean.core.reach import Reach
from deepclean.models.architectures.hybrid import Hybrid
from deepclean.models.closed_form import ClosedForm
from deepclean.models.networks import PERIODS
from deepclean.train.checkpoint import Best, Resume
from deepclean.train.closed_form.judge import Gain
from deepclean.train.loop import Progress, descend
from deepclean.train.loss import InBandPower, Log1p, build_loss
from deepclean.train.paired import PairedValidation, SegmentPowers
from deepclean.train.prepare import TrainingStretch
from deepclean.train.windows import Windows

FROM_NOTHING, FROM_ZERO = 1e-2, 3e-3
"""Highest learning rates: of a network from nothing, and of one whose output begins at zero, in
units of what the closed form leaves."""

_SEGMENT, _OVERLAP = 2.0, 0.5
"""Seconds of a segment that is judged, and the share of it that the next one repeats."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFit:
    """What a network's training gives.

    Args:
        epoch: of the weights that the network was left with; 0 are those that it began with.
        asd_ratio: mean over in-band bins of residual over target ASD, on the held-out data.
        gain: in log-likelihood of the held-out data over the baseline.
    """

    epoch: int
    asd_ratio: float
    gain: Gain


@dataclass(frozen=True, slots=True, eq=False)
class NetworkTraining:
    """The data and the settings of a network's training.

    Args:
        training: stretches to fit.
        held_out: stretches to judge by.
        baseline: in evaluation mode, for the same scalers; None for no output.
        reach: the baseline's.
        bands: `(low, high)` in Hz.
        rate: samples per second.
        settings: the configured ones.
        window: samples of an example.
        device: where networks run.
    """

    training: Sequence[TrainingStretch]
    held_out: Sequence[TrainingStretch]
    baseline: nn.Module | None
    reach: Reach
    bands: Sequence[Band]
    rate: int
    settings: TrainConfig
    window: int
    device: str

    def fit(
        self,
        network: nn.Module,
        reach: Reach,
        resume: Resume,
        progress: Callable[[Progress], None] | None = None,
    ) -> NetworkFit:
        """Train a network and leave it with its best weights, in evaluation mode.

        Args:
            network: with its first weights.
            reach: how far it looks.
            resume: the checkpoint.
            progress: told after every batch and epoch.

        Raises:
            ConfigError: an option of the loss, or the checkpoint is another training's.
            InputError: there is too little data.
            ModelError: the training diverged, or a network from nothing is silent.
        """
        settings, device, rate = self.settings, self.device, self.rate
        network.to(device)
        if self.baseline is not None:
            self.baseline.to(device).eval()
        both = Reach(*map(max, self.reach, reach))
        power = InBandPower(self.bands, rate, _SEGMENT, _OVERLAP)
        fitted = SegmentPowers(self.training, power, both, rate, device)
        judged = SegmentPowers(self.held_out, power, both, rate, device)
        paired = PairedValidation(judged, fitted, self.baseline)
        usual_rate = FROM_NOTHING
        if isinstance(network, Hybrid):
            usual_rate = FROM_ZERO
            left = float(np.sqrt(paired.reference.sum() / paired.target.sum()))
            network.scale.fill_(left * _scale(self.training))
        loss = build_loss(settings.loss, settings.loss_options, self.bands, rate)
        if isinstance(loss, Log1p):
            own = SegmentPowers(self.training, loss.power, both, rate, device)
            loss.reference = own.usual(self.baseline)
        best = descend(
            network,
            loss.to(device),
            Windows(self.training, self.window, settings.seed, device, _context(network)),
            paired,
            settings.learning_rate or usual_rate,
            settings,
            resume,
            progress,
        )
        return self._outcome(network, best, paired)

    def _outcome(self, network: nn.Module, best: Best, paired: PairedValidation) -> NetworkFit:
        network.load_state_dict(best.weights)
        return NetworkFit(best.epoch, best.asd_ratio, paired.gain(network.eval()))


def make_hybrid(
    closed_form: ClosedForm,
    described: Mapping[str, Any],
    channels: int,
    options: Mapping[str, Any],
    lookahead: int,
    seed: int,
) -> tuple[dict[str, Any], Hybrid]:
    """Return an untrained hybrid on a closed form, and its architecture.

    Args:
        closed_form: the fitted one.
        described: its architecture, `networks.build`'s argument.
        channels: number of witnesses.
        options: of the network: `hidden`, `kernel_size`.
        lookahead: model-rate samples that it may look ahead, where the closed form looks no
            further; the network's inputs are late by what is too much.
        seed: of the network's first weights.

    Raises:
        ModelError: an option is out of range.
    """
    inner = {key: value for key, value in described.items() if key != "name"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Hybrid(channels, closed_form=inner, **options)
    made.closed_form.load_state_dict(closed_form.state_dict())
    allowed = max(lookahead, closed_form.after)
    made.delay = max(0, -(-(made.after - allowed) // closed_form.decimation))
    architecture = {"name": "hybrid", "closed_form": inner, **options, "delay": made.delay}
    return architecture, made


def _context(network: nn.Module) -> Reach:
    """Return the context that the examples of a network have, multiples of every period.

    The published network is trained on whole windows, whose ends are a hundredth. A closed form
    looks back by seconds.
    """
    if not isinstance(network, Hybrid):
        return Reach(0, 0)
    step = PERIODS[-1]
    return Reach(-(-network.before // step) * step, -(-network.after // step) * step)


def _scale(stretches: Sequence[TrainingStretch]) -> float:
    """Return the standard deviation of the target, which glitches do not move."""
    # Half of a Gaussian lies within 0.6745 standard deviations.
    return float(np.median([np.median(np.abs(s.target)) for s in stretches])) / 0.6745
