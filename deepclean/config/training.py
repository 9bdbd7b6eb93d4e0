"""How `deepclean train` and `deepclean retrain` fit networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from pydantic import Field, Strict

from deepclean.config.types import (
    Count,
    Device,
    Duration,
    Flag,
    Fraction,
    NotNegative,
    Options,
    Pause,
    Positive,
    Section,
    Seed,
    seconds,
)
from deepclean.errors import hint

_OF_FIT = ("linear", "carriers", "slow", "classes", "ridge")
_OF_LAYERS = ("hidden", "kernel_size")

ARCHITECTURES: Mapping[str, tuple[str, ...]] = {
    "autoencoder": _OF_LAYERS,
    "closed_form": _OF_FIT,
    "hybrid": (*_OF_FIT, *_OF_LAYERS),
    "wiener": ("taps",),
}
"""The options with which each of the models of this package is trained. They stand here so that one
that does not exist is refused before the libraries that train are imported."""

LOSSES: Mapping[str, tuple[str, ...]] = {
    "log1p": ("fft_length", "overlap"),
    "asd_ratio": ("fft_length", "overlap"),
    "log_asd_ratio": ("fft_length", "overlap"),
    "mse": (),
}
"""The losses with their options."""

Seconds = Annotated[int, Strict(), Ge(0), Lt(2**31)]


class TrainConfig(Section):
    """How a network is fitted. A command-line option of `deepclean train` goes before it."""

    architecture: str = "closed_form"
    """The model, by name: closed_form, a filter over features of the witnesses that is solved in
    seconds; hybrid, a closed form and a network for what it leaves; autoencoder, the published
    network; wiener, the linear baseline; PACKAGE:NAME, a network of another package, which
    models.architectures has to name too."""

    architecture_options: Options = Field(default={}, validate_default=True)
    """The network's options."""

    loss: str = "log1p"
    """The loss, by name: log1p is the mean of log(1 + P / S), with P the residual's power and S
    what the closed form leaves; asd_ratio is the published mean of residual ASD over target ASD;
    log_asd_ratio, the mean of its logarithm; mse."""

    loss_options: Options = Field(default={}, validate_default=True)
    """The loss's options."""

    epochs: Count = 8
    """Passes over the training data at most; the learning rate's cycle spans them all."""

    patience: Count = 20
    """Epochs without a better validation after which the training stops."""

    batch_size: Count = 2
    """Windows per step."""

    learning_rate: Positive | None = None
    """The optimiser's (AdamW) highest learning rate: it rises to this over the first 30 % of the
    training and falls to 0 then. null: 0.003 for a hybrid, whose network begins at zero, else
    0.01."""

    gradient_norm: Positive = 1.0
    """Largest norm of a step's gradient: a longer one is shortened to it."""

    weight_decay: NotNegative = 1e-5
    """The optimiser's weight decay."""

    window: Duration = seconds(4.0)
    """Seconds of data per training example."""

    overlap: Pause = seconds(0.0)
    """Seconds that consecutive examples would share if they were not drawn at random. The longer,
    the more examples make an epoch."""

    freeze_after: Fraction = 0.5
    """Share of the epochs after which batch normalisation keeps its statistics, so that the network
    that is trained is the one that will run."""

    validation_fraction: Fraction = 0.2
    """Share of the data, at its end, that is kept for validation."""

    validation_seconds: Duration = seconds(512.0)
    """Seconds of the validation data, at most, that a network is judged by after each epoch; after
    the last epoch the engine cleans all. Like every duration, it is held in nanoseconds."""

    seed: Seed = 0
    """The seed of all random numbers."""

    device: Device = "auto"
    """Where the training runs; auto: a GPU where there is one."""

    loggers: tuple[Literal["csv", "tensorboard", "wandb"], ...] = ("csv",)
    """Where the epochs are logged: csv, a table among the version's files; tensorboard; wandb,
    Weights & Biases. The last two need the extra `dashboards`."""

    log_directory: Path | None = None
    """Directory of the runs of tensorboard and wandb; null: `<models.directory>-logs`."""


class RefitConfig(Section):
    """How `deepclean retrain` solves a closed form in production anew. All seconds are whole."""

    enabled: Flag = True
    """Whether it does. Without, every retraining is a full training."""

    span: Count = 1800
    """Newest seconds that count: what is older is forgotten."""

    min_ready: Count = 512
    """Seconds of analysis-ready data among them below which nothing is done."""

    held_out: Count = 256
    """Newest seconds of analysis-ready data, after those, that old and new model are judged by."""

    keep: Count = 20
    """Newest refits that stay in the store. Other versions, those in force, the one before and what
    these were refitted from stay in any case."""


class RetrainConfig(Section):
    """How `deepclean retrain` makes the next candidate. All seconds are whole ones."""

    refit: RefitConfig = RefitConfig()
    """What is done in between, if a closed form is in production: it is solved anew."""

    search_every: Count = 86400
    """Seconds after which a full training is due again: it finds a closed form's features, and
    trains a model of any other kind. Until then a closed form is refitted."""

    strain: tuple[Path, ...] = ()
    """Directories or files of the strain, back in time; empty: input.strain."""

    witnesses: tuple[Path, ...] = ()
    """Directories or files of the witnesses; empty: input.witnesses, or retrain.strain where that
    is set."""

    fetch: Flag = False
    """Whether both come through gwpy's data access instead."""

    span: Count = 4096
    """Seconds of analysis-ready data that are taken, the newest; with fetch, seconds fetched."""

    within: Count = 86400
    """Seconds back in which they are searched for."""

    lag: Seconds = 0
    """Newest seconds that are left alone: by how much a data service is late."""

    min_ready: Count = 2048
    """Seconds of analysis-ready data below which nothing is done."""

    held_out: Count = 512
    """Newest seconds of it that the candidate is not trained with, but judged by."""

    better_by: Fraction = 0.01
    """Share by which the candidate's ASD ratio must be below production's."""

    criteria: tuple[str, ...] = ()
    """Further criteria, as NAME=LIMIT: those that differ from `deepclean validate`'s defaults."""

    epochs: Count = 10
    """Passes over the data at most, from production; a first model takes training.epochs."""

    learning_rate: Positive = 0.001
    """Highest learning rate, from production; a first model takes training.learning_rate."""

    device: Device = "cpu"
    """Where the training runs. Not where the daemon runs, which it would slow down."""


def training_faults(training: TrainConfig) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the model and the loss that are named: key and message."""
    chosen = (
        ("architecture", training.architecture, ARCHITECTURES),
        ("loss", training.loss, LOSSES),
    )
    for key, name, known in chosen:
        if ":" in name and key == "architecture":
            continue  # of another package, which knows its options
        if name not in known:
            yield f"training.{key}", f"unknown {name!r}{hint(name, known)}"
            continue
        for option, value in getattr(training, f"{key}_options").items():
            said = _objection(str(option), value)
            if option not in known[name]:
                near = hint(str(option), known[name]) if known[name] else "; it has none"
                said = f"{name} has no such option{near}"
            if said:
                yield f"training.{key}_options.{option}", said


def _objection(option: str, value: Any) -> str:
    """Return what is wrong with the value of an option; empty where nothing is."""
    said = f"{value!r} is not a "
    match option:
        case "hidden":
            fine = isinstance(value, list | tuple) and value and all(map(_counts, value))
            return "" if fine else said + "list of positive whole numbers"
        case "kernel_size" | "taps":
            return "" if _counts(value) and value % 2 else said + "positive odd number"
        case "fft_length" | "overlap" | "ridge":
            fine = isinstance(value, int | float) and not isinstance(value, bool)
            fine = fine and (value > 0 or (value == 0 and option == "overlap"))
            return "" if fine else said + "positive number"
    return "" if isinstance(value, list | tuple) else said + "list"


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
