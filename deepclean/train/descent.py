"""The training of a coupling's network: from nothing, from a parent, or on top of a closed form.

The closed form is solved first, whatever is trained: it is what a network is compared with.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from deepclean.core.reach import Reach
from deepclean.core.time import NS
from deepclean.errors import ModelError
from deepclean.models.closed_form import ClosedForm
from deepclean.models.networks import build, measure
from deepclean.models.tensors import Scalers
from deepclean.train.checkpoint import Resume
from deepclean.train.loop import Progress
from deepclean.train.network import NetworkFit, NetworkTraining, make_hybrid
from deepclean.train.prepare import Preparer
from deepclean.train.solve import solve_closed_form
from deepclean.train.task import TrainingTask
from deepclean.train.validation import BEYOND_CHANCE, HeldOut, longest_parts

Trained = tuple[TrainingTask, nn.Module, Scalers, dict[str, float]]
"""The task with the architecture that was found, the network, its scalers, and its figures."""

_PROBE = 32 * NS
"""Nanoseconds of held-out data that show, before the first epoch, whether the engine has enough."""

_OF_NETWORK = ("hidden", "kernel_size")
"""Options of a hybrid that are its network's; the others are its closed form's."""

_log = logging.getLogger(__name__)


def train_hybrid(
    task: TrainingTask,
    preparer: Preparer,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> Trained:
    """Fit a closed form, and train a network on top of it.

    The network's part is kept if it makes the held-out data more likely than the closed form does,
    beyond chance. Else the result is the closed form.

    Args:
        task: its architecture is `hybrid`, with the options of the closed form and the network.
        preparer: of the same data.
        resume: the checkpoint.
        progress: told after every batch and epoch.

    Raises:
        ConfigError: an option is unknown or out of range, or the checkpoint is another training's.
        InputError: there is too little data.
        ModelError: no closed form was found, or the training diverged.
    """
    options = {key: value for key, value in task.architecture.items() if key != "name"}
    inner = {key: value for key, value in options.items() if key not in _OF_NETWORK}
    closed = solve_closed_form(
        replace(task, architecture={"name": "closed_form", **inner}), preparer
    )
    found, closed_form, scalers, figures = closed
    assert isinstance(closed_form, ClosedForm)
    channels = len(task.site.witnesses)
    architecture, network = make_hybrid(
        closed_form,
        found.architecture,
        channels,
        {key: options[key] for key in _OF_NETWORK if key in options},
        task.predict.edge,
        task.config.training.seed,
    )
    _require_held_out(found, closed_form, scalers)
    training = _training(task, preparer, scalers, closed_form, found.receptive.reach)
    reach = Reach(network.before, network.after)
    fit = training.fit(network, reach, resume, progress)
    figures |= _figures(fit)
    if fit.gain.significance <= BEYOND_CHANCE:
        _log.warning(
            "%s: on top of the closed form a network gains %.1f standard errors on held-out data "
            "where %.0f are needed: the closed form is kept by itself",
            *(task.name, fit.gain.significance, BEYOND_CHANCE),
        )
        figures["epoch"] = 0.0
        del figures["epoch_asd_ratio"]
        return found, closed_form, scalers, figures
    receptive = measure(network, channels, task.predict.kernel)
    made = replace(task, architecture=architecture, receptive=receptive)
    figures["parameters"] += sum(parameter.numel() for parameter in network.parameters())
    return made, network, scalers, figures


def train_network(
    task: TrainingTask,
    preparer: Preparer,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> Trained:
    """Train a network from nothing, or from a parent.

    Args:
        task: its architecture is the network's.
        preparer: of the same data.
        resume: the checkpoint.
        progress: told after every batch and epoch.

    Raises:
        ConfigError: the checkpoint is another training's.
        InputError: there is too little data.
        ModelError: the training diverged, or the network is silent where the closed form is not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.config.training.seed)
        network = build(task.architecture, len(task.site.witnesses))
    if task.parent is not None:
        network.load_state_dict(task.parent.network.state_dict())
        scalers, reach = task.parent.scalers, task.parent.reach
        baseline: nn.Module | None = copy.deepcopy(task.parent.network)
    else:
        scalers, baseline, reach = _closed_form(task, preparer)
    _require_held_out(task, network, scalers)
    training = _training(task, preparer, scalers, baseline, reach)
    fit = training.fit(network, task.receptive.reach, resume, progress)
    return task, network, scalers, _figures(fit)


def _closed_form(task: TrainingTask, preparer: Preparer) -> tuple[Scalers, nn.Module | None, Reach]:
    """Return the scalers, the network and the reach of a closed form, which may not be there."""
    try:
        found, network, scalers, _ = solve_closed_form(
            replace(task, architecture={"name": "closed_form"}), preparer
        )
    except ModelError:
        _, scalers = preparer.prepare(task.training)
        return scalers, None, Reach(0, 0)
    return scalers, network, found.receptive.reach


def _require_held_out(task: TrainingTask, network: nn.Module, scalers: Scalers) -> None:
    """Raise InputError, before the first epoch, if the engine has too few held-out data."""
    probe = HeldOut(task.site, longest_parts(task.held_out, _PROBE), keep=False)
    task.validate(network.to(task.device).eval(), scalers, probe)


def _training(
    task: TrainingTask,
    preparer: Preparer,
    scalers: Scalers,
    baseline: nn.Module | None,
    reach: Reach,
) -> NetworkTraining:
    """Return the prepared data and the settings of a training.

    Raises:
        InputError: there is too little data.
    """
    settings = task.config.training
    training, _ = preparer.prepare(task.training, scalers)
    parts = sorted(longest_parts(task.held_out, settings.validation_seconds))
    held_out, _ = preparer.prepare(parts, scalers)
    return NetworkTraining(
        training=training,
        held_out=held_out,
        baseline=baseline,
        reach=reach,
        bands=task.bands,
        rate=task.engine.model_rate,
        settings=settings,
        window=task.window,
        device=task.device,
    )


def _figures(fit: NetworkFit) -> dict[str, float]:
    """Return the figures of a network for the manifest."""
    return {
        "epoch": float(fit.epoch),
        "epoch_asd_ratio": fit.asd_ratio,
        "network_gain": fit.gain.mean,
        "network_gain_sigma": fit.gain.significance,
    }
