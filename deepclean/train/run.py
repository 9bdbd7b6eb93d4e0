"""A training from reading the data to publishing the model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepclean import factory
from deepclean.config import Config
from deepclean.errors import ConfigError
from deepclean.models.content import EPOCHS, PICTURE
from deepclean.models.model import Model
from deepclean.models.store import changes as model_store
from deepclean.models.store import versions
from deepclean.train.checkpoint import Resume
from deepclean.train.data import TrainingData
from deepclean.train.fit import fit_models
from deepclean.train.fitted import FittedModel, parameters
from deepclean.train.judging.evaluate import Evaluation, evaluate, figures_against
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.picture import draw
from deepclean.train.judging.table import NOTHING, Row
from deepclean.train.lock import exclusively
from deepclean.train.loggers import TrainingLog, logging_to
from deepclean.train.loop import Progress
from deepclean.train.task import TrainingTask, make_task

LOCK = ".training.lock"
_BUSY = (
    "trains this coupling already: wait for its end, stop it, or train into another "
    "models.directory"
)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training made.

    Args:
        path: directory of the new version.
        figures: what its manifest says of its validation.
        rows: of the table of all that was tried, over the same held-out data.
        picture: file of the spectra and the features; None where they could not be drawn.
        notes: what a person should know.
    """

    path: Path
    figures: Mapping[str, float]
    rows: Sequence[Row]
    picture: Path | None
    notes: Sequence[str]


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
    """Train as `run_training` does, into any store; return the new version's directory."""
    if directory is not None:
        models = config.models.model_copy(update={"directory": directory})
        config = config.model_copy(update={"models": models})
    made = run_training(
        config,
        coupling,
        data,
        resume=resume,
        parent=parent,
        device=device,
        progress=progress,
    )
    return made.path


def run_training(
    config: Config,
    coupling: str,
    data: TrainingData,
    *,
    resume: bool = False,
    parent: Model | None = None,
    production: Model | None = None,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Fit a coupling's model and publish it as a new version.

    The data are split in time. The first part is trained on. The last part is held out, and the
    engine cleans it, with the site's gates, to judge the model beside those that it is compared
    with. With a fixed seed, one thread and a CPU the weights are the same bit for bit, whether or
    not the training was interrupted and resumed.

    Args:
        config: the section `training` for the training, the engine and the coupling for the
            layout of the network.
        coupling: a name in the configuration.
        data: strain and witnesses.
        resume: whether to continue an interrupted training of the same settings and data.
        parent: model whose weights and scalers are the start (fine-tuning); the caller has
            verified it.
        production: the model in production, with which the new one is compared.
        device: `cpu`, `cuda` or `auto`; None for the configured device.
        progress: told after every batch and epoch.

    Returns:
        What was made. No pointer is moved to the new version.

    Raises:
        ConfigError: the configuration cannot be trained.
        InputError: the data lack channels, or are too few.
        ModelError: the parent does not fit, there is nothing to subtract, or the training diverged.
        OutputError: the model could not be written, or another process trains the coupling.
    """
    store = config.models.directory
    task = make_task(config, coupling, data, parent, device)
    unfinished = store / config.interferometer / coupling / ".training"
    run = f"{config.interferometer}-{coupling}-{task.fingerprint()[:8]}"
    with (
        exclusively(unfinished.parent, LOCK, _BUSY),
        logging_to(config, coupling, run, unfinished, resume=resume, report=progress) as log,
    ):
        return _train(task, production, Resume(unfinished, task.fingerprint(), resume), log)


def _train(
    task: TrainingTask, production: Model | None, resume: Resume, log: TrainingLog
) -> TrainingResult:
    """Fit and publish, while no other process trains the coupling."""
    config, store = task.config, task.config.models.directory
    made = fit_models(task, resume, log.progress)
    model, notes = made[-1], []
    models = {each.name: each.coupling for each in made}
    # Each model is judged by itself: gains that follow a drift would hide what it lacks.
    old = None
    if production is not None:
        old = f"version {production.version}"
        try:
            models[old] = replace(factory.make_coupling(config, task.name, production), adapt=None)
        except ConfigError as error:
            notes.append(f"{old}, in production, is not compared: {error}")
            old = None
    held_out = HeldOut(task.site, task.held_out, keep=False, around=task.training)
    judged = evaluate(task.engine, models, task.guard, held_out)
    version = 0 if production is None else production.version
    figures = dict(model.figures) | figures_against(judged, model.name, old, version)
    # A manifest holds numbers. A figure that is none says that the output was not finite.
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    drawn = draw(judged, model.name, model.carried, task.bands)
    if drawn is None:
        notes.append("there is no picture, because matplotlib is not installed")
    beside = {PICTURE: drawn} if drawn else {}
    number = versions.next_version(store / config.interferometer / task.name)
    log.end(figures)
    if log.table is not None:
        beside[EPOCHS] = log.table
    path = model_store.add_trained(
        store,
        model.network,
        model.scalers,
        model.task.describe(number, figures),
        beside,
    )
    shutil.rmtree(resume.directory, ignore_errors=True)
    rows = _rows(made, judged, None if old is None else production)
    return TrainingResult(path, figures, rows, path / PICTURE if drawn else None, notes)


def _rows(
    made: Sequence[FittedModel], judged: Mapping[str, Evaluation], production: Model | None
) -> list[Row]:
    """Return the rows of the table: nothing, what was fitted, and what is in production."""
    sizes = {each.name: parameters(each.network) for each in made}
    if production is not None:
        sizes[f"version {production.version}"] = parameters(production.network)
    rows = [Row.of(name, judged[name], size) for name, size in sizes.items()]
    return [NOTHING, *rows]
