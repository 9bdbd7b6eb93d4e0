"""A closed-form model of a coupling: fitted to the site's data, and made into a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepclean.core.block import Float64
from deepclean.core.time import Span
from deepclean.errors import ConfigError, ModelError, hint
from deepclean.models.networks import build, measure
from deepclean.models.tensors import Scalers
from deepclean.train.closed_form import classes
from deepclean.train.closed_form.fit import FitSettings, fit_closed_form
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.closed_form.selection import Choice
from deepclean.train.prepare import Preparer
from deepclean.train.task import TrainingTask

_CHANNELS = ("linear", "carriers", "slow")
"""Options that name witnesses."""


@dataclass(frozen=True, slots=True, eq=False)
class _SiteSamples:
    """The coupling's data at the model rate, as the fit reads them (closed_form.data.Data)."""

    preparer: Preparer
    rate: int
    channels: int
    spans: Sequence[Span]

    def read(self, span: Span) -> tuple[NDArray[np.floating[Any]], Float64]:
        """Return witnesses, `(channels, n)`, and strain, `(n,)`."""
        return self.preparer.read(span)


def solve_closed_form(
    task: TrainingTask, preparer: Preparer
) -> tuple[TrainingTask, nn.Module, Scalers, dict[str, float]]:
    """Fit a closed-form model.

    Args:
        task: its architecture names the options; its spans are trained on.
        preparer: of the same data.

    Returns:
        The task with the architecture that was found, the network, its scalers, and what the
        manifest says of the fit: figures on data that the choice of features has not seen.

    Raises:
        ConfigError: an option is unknown or out of range.
        InputError: there is too little data.
        ModelError: no feature of the witnesses predicts the strain beyond chance.
    """
    coupling, margin = task.config.couplings[task.name], preparer.margin
    inner = [
        Span(s.start + margin, s.end - margin) for s in task.training if s.duration > 2 * margin
    ]
    data = _SiteSamples(preparer, task.engine.model_rate, len(task.site.witnesses), inner)
    settings = fit_settings(task.architecture, task.site.witnesses)
    fit = fit_closed_form(
        data, task.bands, coupling.bandpass.transition, task.bandpass.response, settings
    )
    if fit.architecture is None:
        raise ModelError(
            f"{task.name}: no feature of the witnesses predicts the strain beyond chance, so there "
            "is nothing to subtract: check the witnesses with `deepclean witnesses`, or give more "
            "data"
        )
    network = network_of(fit, data.channels)
    found = replace(
        task,
        architecture=dict(fit.architecture),
        receptive=measure(network, data.channels, task.predict.kernel),
    )
    return found, network, preparer.without_unusable(scalers_of(fit)), figures_of(fit)


def network_of(fit: ClosedFormFit, channels: int) -> nn.Module:
    """Return the network of a fit that found features, in evaluation mode."""
    if fit.architecture is None:
        raise ValueError("a fit without features is no network")
    network = build(fit.architecture, channels)
    tensors = {n: torch.tensor(v, dtype=torch.float32) for n, v in fit.tensors.items()}
    network.load_state_dict(tensors)
    return network.eval()


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


def fit_settings(architecture: Mapping[str, Any], witnesses: Sequence[str]) -> FitSettings:
    """Return how a closed-form model is fitted, by `training.architecture_options`.

    Options: `linear`, `carriers` and `slow`, each a list of witnesses; `classes`, a list of
    optional kinds of features; `ridge`, a number. What is not named is found.

    Raises:
        ConfigError: an option, witness or kind is unknown.
    """
    options = {key: value for key, value in architecture.items() if key != "name"}
    valid = (*_CHANNELS, "classes", "ridge")
    chosen: dict[str, Any] = {}
    for key, value in options.items():
        place = f"training.architecture_options.{key}"
        if key not in valid:
            raise ConfigError(f"{place}: no such option{hint(key, valid)}")
        if key == "ridge":
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"{place}: {value!r} is not a positive number")
            continue
        names = witnesses if key in _CHANNELS else tuple(classes.OPTIONAL)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{place}: {value!r} is not a list")
        for name in value:
            if name not in names:
                raise ConfigError(f"{place}: no {name}{hint(str(name), names)}")
        chosen[key] = [names.index(n) for n in value] if key in _CHANNELS else tuple(value)
    ridge = options.get("ridge")
    return FitSettings(Choice(**chosen), None if ridge is None else float(ridge))
