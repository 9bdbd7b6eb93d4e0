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
from deepclean.models.networks import build
from deepclean.models.tensors import Scalers
from deepclean.train.checkpoint import Resume
from deepclean.train.fitted import FittedModel
from deepclean.train.judging.heldout import HeldOut, longest_parts
from deepclean.train.judging.objection import BEYOND_CHANCE
from deepclean.train.loop import Progress
from deepclean.train.network import NetworkFit, NetworkTraining, make_hybrid
from deepclean.train.prepare import Preparer
from deepclean.train.solve import placed, solve_closed_form
from deepclean.train.task import OF_NETWORK, TrainingTask

_PROBE = 32 * NS
"""Nanoseconds of held-out data that show, before the first epoch, whether the engine has enough."""

_log = logging.getLogger(__name__)


def train_hybrid(
    task: TrainingTask,
    preparer: Preparer,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> list[FittedModel]:
    """Fit a closed form, and train a network on top of it.

    The network's part is kept if it makes the held-out data more likely than the closed form does,
    beyond chance. Else the last of the candidates is the closed form.

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
    inner = {key: value for key, value in options.items() if key not in OF_NETWORK}
    *others, closed = solve_closed_form(
        replace(task, architecture={"name": "closed_form", **inner}), preparer
    )
    found, closed_form, scalers = closed.task, closed.network, closed.scalers
    assert isinstance(closed_form, ClosedForm)
    architecture, network = make_hybrid(
        closed_form,
        found.architecture,
        len(task.site.witnesses),
        {key: options[key] for key in OF_NETWORK if key in options},
        task.predict.edge,
        task.config.training.seed,
    )
    _require_held_out(found, closed_form, scalers)
    training = _training(task, preparer, scalers, closed_form, found.receptive.reach)
    reach = Reach(network.before, network.after)
    fit = training.fit(network, reach, resume, progress)
    figures = {**closed.figures, **_figures(fit)}
    if fit.gain.significance <= BEYOND_CHANCE:
        _log.warning(
            "%s: on top of the closed form a network gains %.1f standard errors on held-out data "
            "where %.0f are needed: the closed form is kept by itself",
            *(task.name, fit.gain.significance, BEYOND_CHANCE),
        )
        figures["epoch"] = 0.0
        del figures["epoch_asd_ratio"]
        return [*others, replace(closed, figures=figures)]
    figures["parameters"] += sum(parameter.numel() for parameter in network.parameters())
    network = network.to(task.device).eval()
    made = placed(task, architecture, network)
    return [*others, closed, FittedModel("hybrid", made, network, scalers, figures, closed.carried)]


def train_network(
    task: TrainingTask,
    preparer: Preparer,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> list[FittedModel]:
    """Train a network from nothing, or from a parent; the last candidate is the network.

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
    others: list[FittedModel] = []
    baseline: nn.Module | None = None
    reach = Reach(0, 0)
    if task.parent is not None:
        network.load_state_dict(task.parent.network.state_dict())
        scalers, reach = task.parent.scalers, task.parent.reach or reach
        baseline = copy.deepcopy(task.parent.network)
    else:
        others = _closed_forms(task, preparer)
        if others:
            closed = others[-1]
            scalers, baseline = closed.scalers, closed.network
            reach = closed.task.receptive.reach
        else:
            _, scalers = preparer.prepare(task.training)
    _require_held_out(task, network, scalers)
    training = _training(task, preparer, scalers, baseline, reach)
    fit = training.fit(network, task.receptive.reach, resume, progress)
    network = network.to(task.device).eval()
    name = str(task.architecture["name"])
    return [*others, FittedModel(name, task, network, scalers, _figures(fit))]


def _closed_forms(task: TrainingTask, preparer: Preparer) -> list[FittedModel]:
    """Return the closed forms of the same data; none where nothing is beyond chance."""
    try:
        return solve_closed_form(replace(task, architecture={"name": "closed_form"}), preparer)
    except ModelError:
        return []


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
