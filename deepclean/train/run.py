"""A training from beginning to end: read, prepare, fit, validate, publish."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deepclean import build
from deepclean.config import Config
from deepclean.config.values import thaw
from deepclean.core.bandpass import Bandpass
from deepclean.core.engine import Coupling
from deepclean.core.plan import EngineSettings
from deepclean.core.predict import Predictor, PredictSettings, geometry
from deepclean.core.time import Span
from deepclean.edge import models, versions
from deepclean.edge.manifest import Channel, Description
from deepclean.edge.models import Model
from deepclean.edge.tensors import Scalers, infer
from deepclean.errors import ConfigError, InputError, ModelError, nearest
from deepclean.networks import Receptive, Wiener, measure
from deepclean.networks import build as build_network
from deepclean.train.data import SiteData, TrainingData, split
from deepclean.train.loop import Progress, Resume, descend
from deepclean.train.loss import build_loss
from deepclean.train.prepare import Preparer, Stretch
from deepclean.train.validation import Figures, HeldOut, engine_validation, longest_parts
from deepclean.train.wiener import fit_wiener
from deepclean.train.windows import Windows


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """What a configuration and the data say, checked: enough to begin fitting."""

    config: Config
    name: str
    architecture: dict[str, Any]
    site: SiteData
    engine: EngineSettings
    bandpass: Bandpass
    predict: PredictSettings
    receptive: Receptive
    training: tuple[Span, ...]
    held_out: tuple[Span, ...]
    parent: Model | None
    device: str

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        return self.config.couplings[self.name].bands

    def validate(self, network: nn.Module, scalers: Scalers, held_out: HeldOut) -> Figures:
        """Judge a network, in evaluation mode, by the engine."""
        predictor = Predictor(
            network=lambda witnesses: infer(network, witnesses),
            witness_mean=scalers.witness_mean,
            witness_std=scalers.witness_std,
            strain_mean=scalers.strain_mean,
            strain_std=scalers.strain_std,
            field=self.receptive.field,
            period=self.receptive.period,
            device=self.device,
        )
        coupling = Coupling(self.name, self.site.witnesses, predictor, self.predict, self.bandpass)
        guard = self.config.couplings[self.name].bandpass.transition
        return engine_validation(self.engine, coupling, self.bands, guard, held_out)


def train(
    config: Config,
    coupling: str,
    data: TrainingData,
    directory: Path | None = None,
    *,
    resume: bool = False,
    parent: Path | None = None,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Fit a coupling's network and publish it as a new version.

    The data is split in time: first what is trained on, last what is held out and cleaned by the
    engine to judge the network. With a fixed seed, one thread and a CPU the weights are the same
    bit for bit, whether or not the training was interrupted and resumed.

    Args:
        config: `training` says how; the engine and the coupling, how the network will run.
        coupling: a name in the configuration.
        data: strain and witnesses.
        directory: the model store; None for the configuration's.
        resume: continue where an interrupted training of the same settings and data stopped, if
            there is one.
        parent: a version's directory, whose weights and scalers are the start (fine-tuning).
        device: `cpu`, `cuda` or `auto`; None for the configuration's.
        progress: told after every batch and epoch.

    Returns:
        The new version's directory. No pointer is moved to it.

    Raises:
        ConfigError: the configuration cannot be trained.
        InputError: the data lacks channels, or is too little.
        ModelError: the parent does not suit, or the training diverged.
        OutputError: the model could not be written.
    """
    store = directory or config.models.directory
    task = _task(config, coupling, data, parent, device)
    preparer = Preparer(task.site, task.engine, task.bandpass)
    scalers = None if task.parent is None else _scalers(task.parent)
    stretches, scalers = preparer.prepare(task.training, scalers)
    figures: dict[str, float] = {}
    network: nn.Module
    if task.architecture["name"] == "wiener":
        network = _solve(task, stretches)
    else:
        network, figures = _descend(task, stretches, scalers, store, resume, progress)
    final = task.validate(network.eval(), scalers, HeldOut(task.site, task.held_out, keep=False))
    figures |= {
        "asd_ratio": final.asd_ratio,
        "worst_outside": final.worst_outside,
        "seconds": float(final.seconds),
    }
    path = models.write_model(store, network, scalers, _description(task, store, figures))
    shutil.rmtree(_checkpoints(task, store), ignore_errors=True)
    return path


def _task(
    config: Config, name: str, data: TrainingData, parent: Path | None, device: str | None
) -> _Task:
    """Check everything that can be checked before the hours of work."""
    if name not in config.couplings:
        close = nearest(name, config.couplings)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(config.couplings)}"
        raise ConfigError(f"no coupling {name}; {hint}")
    settings, coupling = config.training, config.couplings[name]
    architecture = {
        "name": settings.architecture,
        **{str(key): thaw(value) for key, value in settings.architecture_options.items()},
    }
    old = None if parent is None else _parent(parent, config, name, architecture)
    witnesses = coupling.witnesses if old is None else old.channels
    predict = build.predict_settings(coupling, config.engine.rate)
    engine = build.engine_settings(config)
    receptive = _receptive(architecture, len(witnesses), predict, engine, name)
    build_loss(settings.loss, settings.loss_options, coupling.bands, config.engine.rate)
    site = SiteData(data, config.strain.channel, witnesses, config.strain.state_vector)
    if site.rates[site.strain] != config.strain.rate:
        raise InputError(
            f"{site.strain} is at {site.rates[site.strain]} Hz, the configuration says "
            f"{config.strain.rate} Hz",
            channels=[site.strain],
        )
    training, held_out = split(site.usable(), settings.validation_fraction)
    return _Task(
        config=config,
        name=name,
        architecture=architecture,
        site=site,
        engine=engine,
        bandpass=build.coupling_bandpass(config, name),
        predict=predict,
        receptive=receptive,
        training=tuple(training),
        held_out=tuple(held_out),
        parent=old,
        device=build.resolve_device(device or settings.device),
    )


def _receptive(
    architecture: Mapping[str, Any],
    channels: int,
    predict: PredictSettings,
    engine: EngineSettings,
    name: str,
) -> Receptive:
    """Measure the network that will be trained: its weights do not change how far it can look."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        seen = measure(build_network(architecture, channels), channels, predict.kernel)
    if seen.period is not None and seen.field > predict.edge:
        raise ConfigError(
            f"couplings.{name}.predict.edge: {predict.edge} samples are fewer than the network's "
            f"receptive field of {seen.field}; make it longer"
        )
    try:
        geometry(predict, engine.hop_model, seen.field, seen.period)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.predict: {error}") from error
    return seen


def _parent(path: Path, config: Config, name: str, architecture: Mapping[str, Any]) -> Model:
    """Load the model that fine-tuning starts from."""
    model = models.load(path)
    model.require(config.couplings[name].witnesses, config.engine.rate)
    if model.architecture != architecture:
        raise ModelError(
            f"its architecture is {model.architecture or 'TorchScript'}, the configuration's "
            f"{dict(architecture)}: it cannot be fine-tuned to that",
            path=path,
        )
    return model


def _solve(task: _Task, stretches: list[Stretch]) -> nn.Module:
    """Fit the linear baseline."""
    if task.parent is not None:
        raise ConfigError("training.architecture: a Wiener filter is solved, not fine-tuned")
    like = build_network(task.architecture, 1)
    assert isinstance(like, Wiener)
    taps = like.fir.kernel_size[0]
    return fit_wiener(stretches, task.bandpass, task.engine.model_rate, taps).to(task.device)


def _descend(
    task: _Task,
    stretches: list[Stretch],
    scalers: Scalers,
    store: Path,
    resume: bool,
    progress: Callable[[Progress], None] | None,
) -> tuple[nn.Module, dict[str, float]]:
    """Train the network; return it with its best weights, and what the manifest says of that."""
    settings, rate = task.config.training, task.engine.model_rate
    window = Span(0, settings.window_ns).samples(rate)
    loss = build_loss(settings.loss, settings.loss_options, task.bands, rate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(task.architecture, len(task.site.witnesses))
    if task.parent is not None:
        network.load_state_dict(task.parent.network.state_dict())
    held_out = HeldOut(task.site, longest_parts(task.held_out, settings.validation_ns), keep=True)
    # Too little held-out data is found out now rather than after an epoch.
    task.validate(network.to(task.device).eval(), scalers, held_out)
    best = descend(
        network,
        loss.to(task.device),
        Windows(stretches, window, settings.seed, task.device),
        lambda candidate: task.validate(candidate, scalers, held_out).asd_ratio,
        settings,
        window,
        Resume(_checkpoints(task, store), _fingerprint(task), resume),
        progress,
    )
    network.load_state_dict(best.weights)
    return network, {"epoch": float(best.epoch), "epoch_asd_ratio": best.asd_ratio}


def _description(task: _Task, store: Path, figures: dict[str, float]) -> Description:
    config, site = task.config, task.site
    return Description(
        interferometer=config.interferometer,
        coupling=task.name,
        version=versions.next_version(store, config.interferometer, task.name),
        architecture=task.architecture,
        strain=Channel(name=site.strain, rate=site.rates[site.strain]),
        channels=tuple(Channel(name=w, rate=site.rates[w]) for w in site.witnesses),
        sample_rate=config.engine.rate,
        bands=task.bands,
        bandpass=config.couplings[task.name].bandpass.model_dump(mode="json"),
        kernel=task.predict.kernel,
        edge=task.predict.edge,
        training=tuple((span.start, span.end) for span in task.training),
        validation=figures,
        parent_version=None if task.parent is None else task.parent.version,
        seed=config.training.seed,
    )


def _scalers(model: Model) -> Scalers:
    return Scalers(model.witness_mean, model.witness_std, model.strain_mean, model.strain_std)


def _checkpoints(task: _Task, store: Path) -> Path:
    """Return where an unfinished training keeps its state, beside the versions."""
    return store / task.config.interferometer / task.name / ".training"


def _fingerprint(task: _Task) -> str:
    """Return a hash of everything that the weights depend on."""
    facts = {
        "training": task.config.training.model_dump(mode="json", exclude={"device"}),
        "engine": task.config.engine.model_dump(mode="json"),
        "coupling": task.config.couplings[task.name].model_dump(mode="json"),
        "channels": task.site.rates,
        "spans": [(span.start, span.end) for span in (*task.training, *task.held_out)],
        "parent": None if task.parent is None else task.parent.hash,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
