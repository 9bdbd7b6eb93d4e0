"""A training task: configuration and data, checked before the training starts."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from deepclean.config import Config
from deepclean.config import settings as core_settings
from deepclean.config.types import thaw
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import Bandpass
from deepclean.core.geometry import PredictSettings, geometry
from deepclean.core.predict import Predictor
from deepclean.core.reach import Reach
from deepclean.core.time import Span
from deepclean.errors import ConfigError, ModelError, hint
from deepclean.models import loading, packaged
from deepclean.models.budget import coupling_bandpass
from deepclean.models.manifest import Channel, Description
from deepclean.models.model import Model
from deepclean.models.networks import Receptive, measure, windows_in_words
from deepclean.models.networks import build as build_network
from deepclean.models.tensors import Scalers, infer
from deepclean.train.closed_form.chosen import fit_settings
from deepclean.train.data import SiteData, TrainingData, split
from deepclean.train.judging.evaluate import engine_validation
from deepclean.train.judging.heldout import HeldOut
from deepclean.train.judging.meter import ValidationFigures
from deepclean.train.loss import build_loss
from deepclean.train.site_checks import at_rate, check_rates, require_enough

_log = logging.getLogger(__name__)

FITTED = ("closed_form", "hybrid")
"""Architectures whose features are found, or chosen, from the data."""

OF_NETWORK = ("hidden", "kernel_size")
"""Options of a hybrid's network; all others are those of its closed form."""

SOLVED = (*FITTED, "wiener")
"""Architectures that begin with a solution, so that no training starts from a parent."""

_NO_MATTER = {"device", "loggers", "log_directory"}
"""Keys of the section `training` on which the weights do not depend."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingTask:
    """A checked training task.

    Args:
        config: the whole configuration.
        name: of the coupling.
        architecture: the argument of `networks.build`.
        site: the coupling's data.
        engine: settings of the site's engine.
        bandpass: the coupling's bandpass.
        predict: layout of the network over the stream.
        receptive: receptive field of a network of this architecture.
        window: samples of a training example.
        training: spans to train on.
        held_out: spans to validate on.
        parent: model that fine-tuning starts from.
        device: device of the training.
    """

    config: Config
    name: str
    architecture: dict[str, Any]
    site: SiteData
    engine: EngineSettings
    bandpass: Bandpass
    predict: PredictSettings
    receptive: Receptive
    window: int
    training: tuple[Span, ...]
    held_out: tuple[Span, ...]
    parent: Model | None
    device: str

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """The coupling's bands, `(low, high)` in Hz."""
        return self.config.couplings[self.name].bands

    @property
    def guard(self) -> float:
        """Width in Hz beside the bands in which the bandpass falls."""
        return self.config.couplings[self.name].bandpass.transition

    def coupling(self, network: nn.Module, scalers: Scalers) -> Coupling:
        """Return the coupling with a network in evaluation mode, as an engine runs it.

        The network is moved to the task's device.
        """
        network.to(self.device)
        predictor = Predictor(
            network=lambda witnesses: infer(network, witnesses),
            witness_mean=scalers.witness_mean,
            witness_std=scalers.witness_std,
            strain_mean=scalers.strain_mean,
            strain_std=scalers.strain_std,
            reach=self.receptive.reach,
            period=self.receptive.period,
            device=self.device,
        )
        return Coupling(
            self.name, self.site.witnesses, predictor, self.predict, self.bandpass, self.bands
        )

    def validate(
        self, network: nn.Module, scalers: Scalers, held_out: HeldOut
    ) -> ValidationFigures:
        """Judge a network in evaluation mode by itself, by the engine."""
        coupling = self.coupling(network, scalers)
        return engine_validation(self.engine, coupling, self.guard, held_out)

    def loss(self) -> nn.Module:
        """Return the configured loss."""
        settings = self.config.training
        return build_loss(settings.loss, settings.loss_options, self.bands, self.config.engine.rate)

    def describe(self, version: int, figures: Mapping[str, float]) -> Description:
        """Return the description of the trained model for its manifest."""
        config, site = self.config, self.site
        return Description(
            interferometer=config.interferometer,
            coupling=self.name,
            version=version,
            architecture=self.architecture,
            strain=Channel(name=site.strain, rate=site.rates[site.strain]),
            channels=tuple(Channel(name=w, rate=site.rates[w]) for w in site.witnesses),
            sample_rate=config.engine.rate,
            bands=self.bands,
            bandpass=config.couplings[self.name].bandpass.model_dump(mode="json"),
            kernel=self.predict.kernel,
            edge=self.predict.edge,
            training=tuple((span.start, span.end) for span in self.training),
            validation=dict(figures),
            parent_version=None if self.parent is None else self.parent.version,
            parent_weights=None if self.parent is None else self.parent.weights_hash,
            seed=config.training.seed,
        )

    def fingerprint(self) -> str:
        """Return a hash of everything that the weights depend on."""
        config = self.config
        facts = {
            "training": config.training.model_dump(mode="json", exclude=_NO_MATTER),
            "engine": config.engine.model_dump(mode="json"),
            "coupling": config.couplings[self.name].model_dump(mode="json"),
            "channels": self.site.rates,
            "spans": [(span.start, span.end) for span in (*self.training, *self.held_out)],
            "parent": None if self.parent is None else self.parent.hash,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_task(
    config: Config, name: str, data: TrainingData, parent: Model | None, device: str | None
) -> TrainingTask:
    """Return a task after all checks that are possible before the training.

    Args:
        config: the whole configuration.
        name: of the coupling.
        data: the sources.
        parent: model to start from.
        device: `cpu`, `cuda` or `auto`; None for the configured device.

    Raises:
        ConfigError: the configuration cannot be trained.
        InputError: the data lack channels, have another rate, or no second is fit.
        ModelError: no such architecture, or the parent does not fit.
    """
    if name not in config.couplings:
        raise ConfigError(f"no coupling {name}{hint(name, config.couplings)}")
    packaged.admit(config.models.architectures)
    settings, coupling = config.training, config.couplings[name]
    options = {str(key): thaw(value) for key, value in settings.architecture_options.items()}
    architecture = {"name": settings.architecture, **options}
    if parent is not None:
        _check_parent(parent, config, name, architecture)
    witnesses = coupling.witnesses if parent is None else parent.channels
    if architecture["name"] in FITTED:
        of_fit = {key: value for key, value in architecture.items() if key not in OF_NETWORK}
        fit_settings(of_fit, witnesses)  # raises what it objects to before data are read
    checks = core_settings.engine_settings(config).witness
    site = SiteData(data, config.strain.channel, witnesses, config.strain.state_vector, checks)
    config = at_rate(config, site)
    task = TrainingTask(
        config=config,
        name=name,
        architecture=architecture,
        site=site,
        engine=core_settings.engine_settings(config),
        bandpass=coupling_bandpass(config, name),
        predict=core_settings.predict_settings(coupling, config.engine.rate),
        receptive=_receptive(config, name, architecture, len(witnesses)),
        window=Span(0, settings.window).samples(config.engine.rate),
        training=(),
        held_out=(),
        parent=parent,
        device=loading.resolve_device(device or settings.device),
    )
    _check(task)
    usable = site.usable()
    require_enough(name, site, usable, data.span, coupling.bands)
    training, held_out = split(usable, settings.validation_fraction)
    return replace(task, training=tuple(training), held_out=tuple(held_out))


def _check(task: TrainingTask) -> None:
    """Raise if configuration and data do not fit together."""
    check_rates(task.site, task.engine.resample)
    period = task.receptive.period or 1
    if task.window % period:
        raise ConfigError(
            f"training.window: {task.window} samples are not a multiple of the network's "
            f"{period}; choose another length"
        )
    # Building the loss checks its options, and calling it checks the window.
    loss, silence = task.loss(), torch.ones(1, task.window)
    try:
        loss(silence, silence)
    except RuntimeError as error:
        raise ConfigError(
            f"training.window: too short for the loss {task.config.training.loss}, whose "
            "transforms are longer; make it longer or training.loss_options.fft_length shorter"
        ) from error


def _receptive(
    config: Config, name: str, architecture: Mapping[str, Any], channels: int
) -> Receptive:
    """Measure the receptive field of the network, which does not depend on its weights.

    A closed form has its features and lags from the data, so its reach is measured after the fit.
    """
    if architecture["name"] in FITTED:
        return Receptive(Reach.both(0), 1)
    predict = core_settings.predict_settings(config.couplings[name], config.engine.rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        seen = measure(build_network(architecture, channels), channels, predict.kernel)
    if seen.period is not None and seen.reach.after > predict.edge:
        raise ConfigError(
            f"couplings.{name}.predict.edge: {predict.edge} samples are fewer than the network's "
            f"receptive field of {seen.reach.after}; make it longer"
        )
    hop = core_settings.engine_settings(config).hop_model
    try:
        shape = geometry(predict, hop, seen.reach, seen.period)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.predict: {error}") from error
    if seen.period is None:
        said = windows_in_words(shape.effort)
        _log.warning("%s: the network %s %s", name, architecture["name"], said)
    return seen


def _check_parent(model: Model, config: Config, name: str, architecture: Mapping[str, Any]) -> None:
    """Raise if fine-tuning cannot start from a model."""
    if architecture["name"] in SOLVED:
        raise ConfigError(
            f"training.architecture: {architecture['name']} is solved, not fine-tuned: leave out "
            "--from, or name the parent's architecture"
        )
    model.require(config.couplings[name].witnesses, config.engine.rate)
    if model.architecture != architecture:
        raise ModelError(
            f"its architecture is {dict(model.architecture) or 'TorchScript'}, the "
            f"configuration's {dict(architecture)}: it cannot be fine-tuned to that",
            path=model.path,
        )
