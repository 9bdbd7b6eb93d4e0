"""A training from reading the data to publishing the model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
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
from deepclean.train.lock import exclusively
from deepclean.train.loggers import TrainingLog, logging_to
from deepclean.train.loop import Progress, descend
from deepclean.train.prepare import Preparer, TrainingStretch
from deepclean.train.solve import solve_closed_form
from deepclean.train.task import TrainingTask, make_task
from deepclean.train.validation import HeldOut, longest_parts
from deepclean.train.wiener import fit_wiener
from deepclean.train.windows import Windows

LOCK = ".training.lock"
_BUSY = (
    "trains this coupling already: wait for its end, stop it, or train into another "
    "models.directory"
)

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
        OutputError: the model could not be written, or another process trains the coupling.
    """
    store = directory or config.models.directory
    task = make_task(config, coupling, data, parent, device)
    unfinished = store / config.interferometer / coupling / ".training"
    run = f"{config.interferometer}-{coupling}-{task.fingerprint()[:8]}"
    with (
        exclusively(unfinished.parent, LOCK, _BUSY),
        logging_to(config, coupling, run, unfinished, resume=resume, report=progress) as log,
    ):
        return _train(task, store, Resume(unfinished, task.fingerprint(), resume), log)


def _train(task: TrainingTask, store: Path, resume: Resume, log: TrainingLog) -> Path:
    """Fit and publish, while no other process trains the coupling."""
    config, coupling = task.config, task.name
    preparer = Preparer(task.site, task.engine, task.bandpass)
    figures: dict[str, float] = {}
    network: nn.Module
    if task.architecture["name"] == "closed_form":
        task, network, scalers, figures = solve_closed_form(task, preparer)
    else:
        given = None if task.parent is None else task.parent.scalers
        stretches, scalers = preparer.prepare(task.training, given)
        if task.architecture["name"] == "wiener":
            network = _solve(task, stretches)
        else:
            network, figures = _descend(task, stretches, scalers, resume, log.progress)
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
    log.end(figures)
    description = task.describe(version, figures)
    path = model_store.add_trained(store, network, scalers, description, log.table)
    shutil.rmtree(resume.directory, ignore_errors=True)
    return path


def _solve(task: TrainingTask, stretches: list[TrainingStretch]) -> nn.Module:
    """Fit the linear baseline."""
    like = build_network(task.architecture, 1)
    assert isinstance(like, Wiener)
    taps = like.fir.kernel_size[0]
    return fit_wiener(stretches, task.bandpass, task.engine.model_rate, taps).to(task.device)


def _descend(
    task: TrainingTask,
    stretches: list[TrainingStretch],
    scalers: Scalers,
    resume: Resume,
    progress: Callable[[Progress], None] | None,
) -> tuple[nn.Module, dict[str, float]]:
    """Train the network; return it with its best weights, and its figures for the manifest."""
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
    return network, {"epoch": float(best.epoch), "epoch_asd_ratio": best.asd_ratio}
