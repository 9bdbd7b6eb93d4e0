"""The networks as methods of the bench: the published one from nothing, and the hybrid."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.models.sites import Recording, Site
from deepclean.config.training import TrainConfig
from deepclean.core.filters.bandpass import Bandpass
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from deepclean.models.closed_form import ClosedForm
from deepclean.models.networks import build, measure
from deepclean.train.checkpoint import Resume
from deepclean.train.closed_form.judge import Gain
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.judging.objection import BEYOND_CHANCE
from deepclean.train.network import NetworkTraining, make_hybrid
from deepclean.train.prepare import TrainingStretch

EDGE = 0.03125
"""Seconds of look-ahead that a coupling's network has where none is configured."""


def descend(
    recording: Recording,
    site: Site,
    bandpass: Bandpass,
    fit: ClosedFormFit,
    closed: ClosedForm | None,
    settings: TrainConfig,
    *,
    hybrid: bool,
) -> tuple[nn.Module | None, Gain]:
    """Train a network and return it with its gain in likelihood over the closed form.

    Args:
        recording: the training data, the last fifth of which is held out.
        site: has the band.
        bandpass: of the target.
        fit: the closed form's fit, whose scales standardise.
        closed: its network; None where nothing was found.
        settings: of the training.
        hybrid: train on top of the closed form; where that gains nothing beyond chance, the closed
            form is returned.
    """
    rate, channels = recording.rate, len(recording.witnesses)
    if hybrid and closed is None:
        return None, Gain(0.0, 0.0)
    reach = Reach(0, 0) if closed is None else Reach(closed.before, closed.after)
    training, held_out = _stretches(recording, bandpass, fit)
    trial = NetworkTraining(
        training=[training],
        held_out=[held_out],
        baseline=closed,
        reach=reach,
        bands=[site.band],
        rate=rate,
        settings=settings,
        window=Span(0, settings.window).samples(rate),
        device="cpu",
    )
    if hybrid:
        assert closed is not None
        assert fit.architecture is not None
        options, edge = dict(settings.architecture_options), int(EDGE * rate)
        _, made = make_hybrid(closed, fit.architecture, channels, options, edge, settings.seed)
        network: nn.Module = made
        seen = Reach(made.before, made.after)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            architecture = {"name": "autoencoder", **settings.architecture_options}
            network = build(architecture, channels)
        seen = measure(network, channels, rate).reach
    with tempfile.TemporaryDirectory() as place:
        done = trial.fit(network, seen, Resume(Path(place), "", wanted=False))
    if hybrid and done.gain.significance <= BEYOND_CHANCE:
        return closed, done.gain
    return network, done.gain


def _stretches(
    recording: Recording, bandpass: Bandpass, fit: ClosedFormFit
) -> tuple[TrainingStretch, TrainingStretch]:
    """Return the standardised data: four fifths to train on, and the rest."""
    pad, scales = bandpass.settle_in, fit.scales
    witnesses = (recording.witnesses - scales.mean[:, None]) / scales.std[:, None]
    target = np.zeros(len(recording.strain), dtype=np.float32)
    target[pad:-pad] = bandpass.apply(recording.strain) / scales.strain
    cut = len(target) // recording.rate * 4 // 5 * recording.rate

    def cut_out(start: int, stop: int) -> TrainingStretch:
        span = Span(0, (stop - start) * NS // recording.rate)
        rows = np.ascontiguousarray(witnesses[:, start:stop], dtype=np.float32)
        return TrainingStretch(span, rows, target[start:stop])

    return cut_out(pad, cut), cut_out(cut, len(target) - pad)
