"""The fits of a training task: those for comparison, and last the model that is wanted."""

from __future__ import annotations

from collections.abc import Callable

from deepclean.models.networks import Wiener
from deepclean.models.networks import build as build_network
from deepclean.train.checkpoint import Resume
from deepclean.train.descent import train_hybrid, train_network
from deepclean.train.fitted import FittedModel
from deepclean.train.loop import Progress
from deepclean.train.prepare import Preparer
from deepclean.train.solve import solve_closed_form
from deepclean.train.task import TrainingTask
from deepclean.train.wiener import fit_wiener


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
    match task.architecture["name"]:
        case "closed_form":
            return solve_closed_form(task, preparer)
        case "wiener":
            return [_solve(task, preparer)]
        case "hybrid":
            return train_hybrid(task, preparer, resume, progress)
        case _:
            return train_network(task, preparer, resume, progress)


def _solve(task: TrainingTask, preparer: Preparer) -> FittedModel:
    """Fit the linear baseline."""
    stretches, scalers = preparer.prepare(task.training)
    like = build_network(task.architecture, 1)
    assert isinstance(like, Wiener)
    taps = like.fir.kernel_size[0]
    network = fit_wiener(stretches, task.bandpass, task.engine.model_rate, taps).to(task.device)
    return FittedModel("wiener", task, network.eval(), scalers)
