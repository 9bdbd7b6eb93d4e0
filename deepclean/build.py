"""From a configuration to the engine that it describes, and its latency budget."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from deepclean.config import Config
from deepclean.core.bandpass import Bandpass, BandpassSettings, make_bandpass
from deepclean.core.engine import Engine
from deepclean.core.forecast import ForecastSettings
from deepclean.core.gate import GateSettings
from deepclean.core.plan import CouplingPlan, EngineSettings, Plan
from deepclean.core.predict import Predictor, PredictSettings, geometry
from deepclean.core.resample import ResampleSettings
from deepclean.core.runner import Coupling
from deepclean.core.time import NS
from deepclean.core.trial import TrialSettings
from deepclean.core.witness import WitnessSettings
from deepclean.edge import changes, device, models, versions
from deepclean.edge.models import Model
from deepclean.errors import ConfigError, DeviceError, ModelError

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from deepclean.config.couplings import Coupling as CouplingConfig


def engine_settings(config: Config) -> EngineSettings:
    """Return what all couplings of the configuration's engine share."""
    engine = config.engine
    return EngineSettings(
        strain_rate=config.strain.rate,
        model_rate=engine.rate,
        hop=engine.hop_ns,
        ramp=engine.ramp_ns,
        resample=ResampleSettings(
            zeros=engine.resample.zeros,
            max_delay=Fraction(engine.resample.max_delay_ns, NS),
            attenuation=engine.resample.attenuation,
            slowest_rate=engine.resample.slowest_rate,
        ),
        witness=WitnessSettings(frozen=engine.witnesses.frozen_ns, limits=engine.witnesses.limits),
        gate=gate_settings(config),
        interpolation_zeros=engine.interpolation.zeros,
        interpolation_attenuation=engine.interpolation.attenuation,
        forecast=ForecastSettings() if config.wait == 0 else None,
    )


def gate_settings(config: Config) -> GateSettings | None:
    """Return when gates open and close; None where there are none."""
    gate = config.gate
    if not gate.enabled:
        return None
    return GateSettings(
        window=gate.window_ns,
        open_below=gate.open_below,
        close_above=gate.close_above,
        guard_above=gate.guard_above,
        worst_above=gate.worst_above,
        guard=gate.guard,
        jump=gate.jump,
        sigma=gate.sigma,
        dwell=gate.dwell_ns,
        memory=gate.memory_ns,
        fade=gate.fade_ns,
    )


def predict_settings(coupling: CouplingConfig, rate: int) -> PredictSettings:
    """Return how a coupling's network is laid over the stream; lengths become samples."""
    predict = coupling.predict
    stride = predict.stride_ns
    return PredictSettings(
        mode=predict.mode,
        kernel=predict.kernel_ns * rate // NS,
        edge=predict.edge_ns * rate // NS,
        stride=None if stride is None else stride * rate // NS,
    )


def bandpass_settings(coupling: CouplingConfig) -> BandpassSettings:
    """Return how a coupling's prediction is confined."""
    bandpass = coupling.bandpass
    settle_in = bandpass.settle_in_ns
    return BandpassSettings(
        filter=bandpass.filter,
        order=bandpass.order,
        transition=bandpass.transition,
        tolerance=bandpass.tolerance,
        settle_in=None if settle_in is None else Fraction(settle_in, NS),
    )


def coupling_bandpass(config: Config, name: str) -> Bandpass:
    """Return the bandpass of a coupling.

    Raises:
        ConfigError: no filter meets what is configured.
    """
    coupling = config.couplings[name]
    try:
        return make_bandpass(bandpass_settings(coupling), coupling.bands, config.engine.rate)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.bandpass: {error}") from error


def load_models(config: Config) -> dict[str, Model]:
    """Load every enabled coupling's model: the one it names, or the store's production version.

    Raises:
        ModelError: one cannot be loaded, or was made for other witnesses or another rate.
        DeviceError: the device has no memory for it, or is of no use.
    """
    place = resolve_device(config.runtime.device)
    return {
        name: load_model(config, name, model_path(config, name), place)
        for name in config.enabled_couplings
    }


def load_models_or_former(config: Config) -> dict[str, Model]:
    """Load as `load_models`; a production version that is no good is passed over for a former one.

    For a daemon that starts again at night: what was in force before works, and the one that does
    not is followed, and refused, as if it had been promoted just now.

    Raises:
        ModelError: no version that was ever in production can be loaded; says why the last cannot.
        DeviceError: as load_models.
    """
    place, loaded = resolve_device(config.runtime.device), {}
    for name, coupling in config.enabled_couplings.items():
        try:
            loaded[name] = load_model(config, name, model_path(config, name), place)
        except ModelError as fault:
            directory = config.models.directory / config.interferometer / name
            if coupling.model is not None or not (directory / "production").exists():
                raise
            former = _former(config, name, place)
            if former is None:
                raise
            _log.error("%s: starting with version %d of before: %s", name, former.version, fault)
            loaded[name] = former
    return loaded


def _former(config: Config, name: str, place: str) -> Model | None:
    """Return the last version that was in production and can be loaded, if there is one."""
    directory = config.models.directory / config.interferometer / name
    for number in reversed(changes.productions(changes.read(directory).changes, None)):
        try:
            return load_model(config, name, directory / str(number), place)
        except ModelError:
            continue
    return None


def load_model(config: Config, name: str, path: Path, place: str, *, named: bool = False) -> Model:
    """Load a model for a coupling, checked as far as the configuration can tell.

    Args:
        config: with the coupling.
        name: its name.
        path: the model's directory.
        place: `cpu` or `cuda`.
        named: the directory was named outright; it need not lie in the store.

    Raises:
        ModelError, DeviceError: as `load_models`.
    """
    try:
        model = models.load(path, place, None if named else model_store(config, name))
    except RuntimeError as error:
        if not (device.is_short(error) or device.is_lost(error)):
            raise
        raise DeviceError(str(error).partition("\n")[0], coupling=name) from error
    model.require(config.couplings[name].witnesses, config.engine.rate)
    return model


def model_path(config: Config, name: str) -> Path:
    """Return the directory of the model in force for a coupling.

    Raises:
        ModelError: the store has no production version of it.
    """
    named = config.couplings[name].model
    if named is not None:
        return named
    return versions.resolve(config.models.directory, config.interferometer, name)


def model_store(config: Config, name: str) -> Path | None:
    """Return the store that a coupling's model is from; None where its directory was named."""
    return config.models.directory if config.couplings[name].model is None else None


def resolve_device(wanted: str) -> str:
    """Return `cpu`, `cuda` or one GPU (`cuda:1`); `auto` takes a GPU where there is one.

    Raises:
        ConfigError: a GPU where there is none, or not so many.
    """
    if wanted == "cpu":
        return wanted
    import torch

    kind, _, number = wanted.partition(":")
    if torch.cuda.is_available():
        if number and int(number) >= torch.cuda.device_count():
            raise ConfigError(
                f"{wanted}: there are only {torch.cuda.device_count()} CUDA devices here"
            )
        return wanted if number else "cuda"
    if kind == "cuda":
        raise ConfigError(f"{wanted}: no CUDA device here; use cpu or auto")
    return "cpu"


def predictor(model: Model) -> Predictor:
    """Return what the engine needs of a model; on a GPU it has a spare on the CPU."""
    on_cpu = model.device == "cpu"
    return Predictor(
        network=model.predict if on_cpu else device.spared(model),
        witness_mean=model.witness_mean,
        witness_std=model.witness_std,
        strain_mean=model.strain_mean,
        strain_std=model.strain_std,
        field=model.receptive_field,
        period=model.period,
        version=model.version,
    )


def make_engine(config: Config, loaded: Mapping[str, Model]) -> Engine:
    """Return the engine of a configuration with these models.

    Raises:
        ConfigError: a coupling's prediction does not suit its model or the hop.
    """
    couplings = [make_coupling(config, name, loaded[name]) for name in config.enabled_couplings]
    return Engine(engine_settings(config), couplings)


def make_coupling(config: Config, name: str, loaded: Model) -> Coupling:
    """Return what an engine needs of a coupling with a model.

    Raises:
        ConfigError: the coupling's prediction does not suit the model or the hop.
    """
    coupling = config.couplings[name]
    predict, model = predict_settings(coupling, config.engine.rate), predictor(loaded)
    hop = config.engine.hop_ns * config.engine.rate // NS
    try:
        geometry(predict, hop, model.field, model.period)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.predict: {error}") from error
    bandpass = coupling_bandpass(config, name)
    return Coupling(name, loaded.channels, model, predict, bandpass, coupling.bands)


def trial_settings(config: Config) -> TrialSettings:
    """Return when a canary is promoted or rejected, and production rolled back."""
    trial = config.models.trial
    return TrialSettings(
        validation_time=trial.validation_time_ns,
        patience=trial.patience_ns,
        margin=trial.margin,
        rollback_after=trial.rollback_after_ns,
        probation=trial.probation_ns,
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """The latency budget of a configuration.

    Args:
        plan: where each stage stands.
        assumed: couplings whose model is not there; an equivariant network that fits the edge
            is assumed for them.
    """

    plan: Plan
    assumed: tuple[str, ...]


def budget(config: Config) -> Budget:
    """Return the latency budget, with the models that are there.

    Raises:
        ConfigError: as make_engine.
    """
    settings, plans, assumed = engine_settings(config), {}, []
    for name, coupling in config.enabled_couplings.items():
        try:
            model = models.load(model_path(config, name), store=model_store(config, name))
            field, period = model.receptive_field, model.period
        except ModelError:
            assumed.append(name)
            field, period = 0, 1
        predict = predict_settings(coupling, config.engine.rate)
        try:
            shape = geometry(predict, settings.hop_model, field, period)
        except ValueError as error:
            raise ConfigError(f"couplings.{name}.predict: {error}") from error
        settle_in = coupling_bandpass(config, name).settle_in
        plans[name] = CouplingPlan.of(settings, settle_in, shape)
    return Budget(Plan(settings, plans), tuple(assumed))
