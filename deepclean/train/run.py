"""A training from reading the data to publishing the model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

from torch import nn

from deepclean.config import Config
from deepclean.models import store as model_store
from deepclean.models import versions
from deepclean.models.model import Model
from deepclean.models.networks import Wiener
from deepclean.models.networks import build as build_network
from deepclean.models.tensors import Scalers
from deepclean.train.checkpoint import Resume
from deepclean.train.data import TrainingData
from deepclean.train.descent import train_hybrid, train_network
from deepclean.train.loop import Progress
from deepclean.train.prepare import Preparer
from deepclean.train.solve import solve_closed_form
from deepclean.train.task import TrainingTask, make_task
from deepclean.train.validation import HeldOut
from deepclean.train.wiener import fit_wiener

_DECIDED = 1e6
"""Standard errors beyond which more say nothing."""


def train(
    config: Config,
    coupling: str,
    data: TrainingData,
    directory: Path | None = None,
    *,
    resume: bool = False,
    parent: Model | None = None,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Fit a coupling's network and publish it as a new version.

    The data are split in time. The first part is trained on. The last part is held out, and the
    engine cleans it to judge the network. With a fixed seed, one thread and a CPU the weights are
    the same bit for bit, whether or not the training was interrupted and resumed.

    Args:
        config: the section `training` for the training, the engine and the coupling for the
            layout of the network.
        coupling: a name in the configuration.
        data: strain and witnesses.
        directory: the model store; None for the configured store.
        resume: whether to continue an interrupted training of the same settings and data.
        parent: model whose weights and scalers are the start (fine-tuning); the caller has
            verified it.
        device: `cpu`, `cuda` or `auto`; None for the configured device.
        progress: told after every batch and epoch.

    Returns:
        The directory of the new version. No pointer is moved to it.

    Raises:
        ConfigError: the configuration cannot be trained.
        InputError: the data lack channels, or are too few.
        ModelError: the parent does not fit, or the training diverged.
        OutputError: the model could not be written.
    """
    store = directory or config.models.directory
    task = make_task(config, coupling, data, parent, device)
    preparer = Preparer(task.site, task.engine, task.bandpass)
    unfinished = store / config.interferometer / coupling / ".training"
    resumed = Resume(unfinished, task.fingerprint(), resume)
    match task.architecture["name"]:
        case "closed_form":
            task, network, scalers, figures = solve_closed_form(task, preparer)
        case "wiener":
            network, scalers, figures = _solve(task, preparer)
        case "hybrid":
            task, network, scalers, figures = train_hybrid(task, preparer, resumed, progress)
        case _:
            task, network, scalers, figures = train_network(task, preparer, resumed, progress)
    network.to(task.device)
    final = task.validate(network.eval(), scalers, HeldOut(task.site, task.held_out, keep=False))
    figures |= {
        "asd_ratio": final.asd_ratio,
        "worst_outside": final.worst_outside,
        "seconds": float(final.seconds),
        "gain_sigma": min(max(final.gain_sigma, -_DECIDED), _DECIDED),
    }
    # A manifest holds numbers. A figure that is none says that the output was not finite.
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    version = versions.next_version(store / config.interferometer / coupling)
    path = model_store.add_trained(store, network, scalers, task.describe(version, figures))
    shutil.rmtree(unfinished, ignore_errors=True)
    return path


def _solve(task: TrainingTask, preparer: Preparer) -> tuple[nn.Module, Scalers, dict[str, float]]:
    """Fit the linear baseline."""
    stretches, scalers = preparer.prepare(task.training)
    like = build_network(task.architecture, 1)
    assert isinstance(like, Wiener)
    taps = like.fir.kernel_size[0]
    network = fit_wiener(stretches, task.bandpass, task.engine.model_rate, taps)
    return network, scalers, {}
