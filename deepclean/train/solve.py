"""A closed-form model of a coupling: fitted to the site's data, and made into a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepclean.config.settings import predict_settings
from deepclean.core.block import Float64
from deepclean.core.geometry import PredictSettings, geometry
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, ModelError
from deepclean.models.closed_form import POWER, ClosedForm
from deepclean.models.networks import Receptive, build, measure
from deepclean.models.tensors import Scalers
from deepclean.train.closed_form.chosen import fit_settings
from deepclean.train.closed_form.fit import fit_closed_form
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.closed_form.streams import Feature
from deepclean.train.fitted import FittedModel
from deepclean.train.prepare import Preparer
from deepclean.train.task import TrainingTask


class NoFeatureError(ModelError):
    """No feature of the witnesses predicts the strain beyond chance."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteSamples:
    """The coupling's data at the model rate, as the fit reads them (closed_form.data.Data)."""

    preparer: Preparer
    rate: int
    channels: int
    spans: Sequence[Span]

    @classmethod
    def of(
        cls, preparer: Preparer, rate: int, witnesses: Sequence[str], spans: Sequence[Span]
    ) -> SiteSamples:
        """Return the data of some spans, less the margins that the filters need at their ends."""
        margin = preparer.margin
        inner = [Span(s.start + margin, s.end - margin) for s in spans if s.duration > 2 * margin]
        return cls(preparer, rate, len(witnesses), inner)

    def read(self, span: Span) -> tuple[NDArray[np.floating[Any]], Float64]:
        """Return witnesses, `(channels, n)`, and strain, `(n,)`."""
        return self.preparer.read(span)


def solve_closed_form(task: TrainingTask, preparer: Preparer) -> list[FittedModel]:
    """Fit a closed-form model.

    Args:
        task: its architecture names the options; its spans are trained on.
        preparer: of the same data.

    Returns:
        The best of the witnesses by themselves, where they say something, for comparison; then the
        model. Its figures are of data that the choice of features has not seen.

    Raises:
        ConfigError: an option is unknown or out of range.
        InputError: there is too little data.
        NoFeatureError: no feature of the witnesses predicts the strain beyond chance.
    """
    coupling = task.config.couplings[task.name]
    data = SiteSamples.of(preparer, task.engine.model_rate, task.site.witnesses, task.training)
    settings = fit_settings(task.architecture, task.site.witnesses)
    settings = replace(settings, edge=task.predict.edge)
    fit = fit_closed_form(
        *(data, task.bands, coupling.bandpass.transition, task.bandpass.response, settings),
        to_give=partial(_to_give, task, preparer),
    )
    if fit.architecture is None:
        raise NoFeatureError(
            f"{task.name}: no feature of the witnesses predicts the strain beyond chance, so there "
            "is nothing to subtract: check the witnesses (`deepclean witnesses -c CONFIG "
            f"--coupling {task.name} --start START --end END`), or give more data"
        )
    channels, made = len(task.site.witnesses), []
    scalers = preparer.without_unusable(scalers_of(fit))
    if fit.linear is not None:
        architecture, tensors = fit.linear
        linear = built(architecture, tensors, channels)
        made.append(FittedModel("linear", placed(task, architecture, linear), linear, scalers))
    network = network_of(fit, channels)
    whole = FittedModel(
        "closed form",
        placed(task, fit.architecture, network),
        network,
        scalers,
        figures_of(fit),
        carried_by(fit, task.site.witnesses),
    )
    return [*made, whole]


def _to_give(task: TrainingTask, preparer: Preparer, fitted: int) -> int:
    """Return how many seconds in one stretch leave so many to fit, after split and margins."""
    fraction = task.config.training.validation_fraction
    trained = fitted + ceil(2 * preparer.margin / NS)
    return next(given for given in count(trained) if given - round(fraction * given) >= trained)


def network_of(fit: ClosedFormFit, channels: int) -> ClosedForm:
    """Return the network of a fit that found features, with its equations, in evaluation mode."""
    if fit.architecture is None:
        raise ValueError("a fit without features is no network")
    network = built(fit.architecture, fit.tensors, channels)
    network.equations = fit.equations
    return network


def built(
    architecture: Mapping[str, Any], tensors: Mapping[str, Float64], channels: int
) -> ClosedForm:
    """Return a network of this architecture with these tensors."""
    network = build(architecture, channels)
    assert isinstance(network, ClosedForm)
    network.load_state_dict({n: torch.tensor(v, dtype=torch.float32) for n, v in tensors.items()})
    return network.eval()


def placed(task: TrainingTask, architecture: Mapping[str, Any], network: nn.Module) -> TrainingTask:
    """Return the task with a network of this architecture, and how it is run over the stream."""
    receptive = measure(network, len(task.site.witnesses), task.predict.kernel)
    return replace(
        task,
        architecture=dict(architecture),
        receptive=receptive,
        predict=_predict_settings(task, receptive),
    )


def _predict_settings(task: TrainingTask, receptive: Receptive) -> PredictSettings:
    """Return how a closed form is run over the stream: in one pass.

    Raises:
        ConfigError: the configuration does not allow that.
    """
    coupling, place = task.config.couplings[task.name], f"couplings.{task.name}.predict"
    after = receptive.reach.after
    settings = predict_settings(coupling, task.engine.model_rate, after)
    if settings.edge < after:
        needed = after / task.engine.model_rate
        raise ConfigError(
            f"{place}.edge: {coupling.predict.edge / NS:g} s is less than what a closed form for "
            f"this band looks ahead; give at least {needed:.6g}, or {place}.mode auto"
        )
    try:
        shape = geometry(settings, task.engine.hop_model, receptive.reach, receptive.period)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error
    if shape.mode != "pass":
        raise ConfigError(
            f"{place}.mode: a closed form runs in one pass, not in {shape.mode}; use auto"
        )
    return settings


def scalers_of(fit: ClosedFormFit) -> Scalers:
    """Return what standardises the input of a fit's network and scales its output."""
    return Scalers(fit.scales.mean, fit.scales.std, 0.0, fit.scales.strain)


def figures_of(fit: ClosedFormFit) -> dict[str, float]:
    """Return the held-out figures of a fit, for the manifest."""
    linear, whole = fit.figures["linear"], fit.figures["closed_form"]
    return {
        "held_out_ratio": whole.ratio,
        "held_out_ratio_error": whole.ratio_error,
        "held_out_gain_sigma": whole.gain.significance,
        "linear_ratio": linear.ratio,
        "parameters": float(whole.parameters),
        "fitted_seconds": float(fit.segments),
    }


def carried_by(fit: ClosedFormFit, witnesses: Sequence[str]) -> dict[str, float]:
    """Return the share of the estimate's power in the bands that each feature carries.

    The parts of the estimate interfere, so the shares need not add up to 1.

    Args:
        fit: of features.
        witnesses: names of the channels.
    """
    power = fit.contributions[:, fit.inside].sum(axis=1)
    removed = float(np.sum(fit.strain[fit.inside] - fit.residual[fit.inside]))
    if not removed > 0:
        return {}
    words = [in_words(feature, witnesses) for feature in fit.features]
    shares: dict[str, float] = {}
    for name, share in zip(words, power / removed, strict=True):
        shares[name] = shares.get(name, 0.0) + float(share)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def in_words(feature: Feature, witnesses: Sequence[str]) -> str:
    """Return a feature as people write it, channels without their interferometer.

    >>> in_words(((0, "wide", 0), (1, "slow", 0)), ["H1:LINE", "H1:PITCH"])
    'LINE x PITCH'
    """
    factors = [
        f"estimate {number} to the {degree}"
        if name == POWER
        else witnesses[number].partition(":")[2] or witnesses[number]
        for number, name, degree in feature
    ]
    return " x ".join(factors)
