"""The fits of a training task: those for comparison, and last the model that is wanted."""

from __future__ import annotations

from collections.abc import Callable

import torch

from deepclean.models.networks import Wiener
from deepclean.models.networks import build as build_network
from deepclean.models.tensors import Scalers
from deepclean.train.checkpoint import Resume
from deepclean.train.fitted import FittedModel
from deepclean.train.judging.heldout import HeldOut, longest_parts
from deepclean.train.loop import Progress, descend
from deepclean.train.prepare import Preparer, TrainingStretch
from deepclean.train.solve import solve_closed_form
from deepclean.train.task import TrainingTask
from deepclean.train.wiener import fit_wiener
from deepclean.train.windows import Windows


def fit_models(
    task: TrainingTask, resume: Resume, progress: Callable[[Progress], None] | None
) -> list[FittedModel]:
    """Fit what a task asks for.

    Args:
        task: checked.
        resume: of a descent.
        progress: told after every batch and epoch of a descent.

    Returns:
        The candidates; the last is the one that is to be published.

    Raises:
        ConfigError: an option of the architecture is unknown or out of range.
        InputError: there is too little data.
        ModelError: there is nothing to subtract, or the training diverged.
        OutputError: a checkpoint could not be written.
    """
    preparer = Preparer(task.site, task.engine, task.bandpass)
    if task.architecture["name"] == "closed_form":
        return solve_closed_form(task, preparer)
    given = None if task.parent is None else task.parent.scalers
    stretches, scalers = preparer.prepare(task.training, given)
    if task.architecture["name"] == "wiener":
        return [_solve(task, stretches, scalers)]
    return [_descend(task, stretches, scalers, resume, progress)]


def _solve(task: TrainingTask, stretches: list[TrainingStretch], scalers: Scalers) -> FittedModel:
    """Fit the linear baseline."""
    like = build_network(task.architecture, 1)
    assert isinstance(like, Wiener)
    taps = like.fir.kernel_size[0]
    network = fit_wiener(stretches, task.bandpass, task.engine.model_rate, taps).to(task.device)
    return FittedModel("wiener", task, network.eval(), scalers)


def _descend(
    task: TrainingTask,
    stretches: list[TrainingStretch],
    scalers: Scalers,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> FittedModel:
    """Train the network, and take its best weights."""
    settings = task.config.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(task.architecture, len(task.site.witnesses))
    if task.parent is not None:
        network.load_state_dict(task.parent.network.state_dict())
    parts = longest_parts(task.held_out, settings.validation_seconds)
    held_out = HeldOut(task.site, parts, keep=True)
    # This raises before the first epoch if the held-out data are too few.
    task.validate(network.to(task.device).eval(), scalers, held_out)
    best = descend(
        network,
        task.loss().to(task.device),
        Windows(stretches, task.window, settings.seed, task.device),
        lambda candidate: task.validate(candidate, scalers, held_out).asd_ratio,
        settings,
        resume,
        progress,
    )
    network.load_state_dict(best.weights)
    figures = {"epoch": float(best.epoch), "epoch_asd_ratio": best.asd_ratio}
    return FittedModel(task.architecture["name"], task, network.eval(), scalers, figures)
