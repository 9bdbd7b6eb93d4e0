"""The engine that a configuration describes, and its latency budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepclean.config import Config
from deepclean.config.settings import (
    adapt_settings,
    bandpass_settings,
    engine_settings,
    predict_settings,
)
from deepclean.core.bandpass import Bandpass, make_bandpass
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import CouplingSchedule, Schedule
from deepclean.core.predict import Predictor, geometry
from deepclean.core.reach import Reach
from deepclean.core.time import NS
from deepclean.errors import ConfigError, ModelError
from deepclean.models import device
from deepclean.models import files as models
from deepclean.models.loading import model_path, model_store
from deepclean.models.model import Model


def coupling_bandpass(config: Config, name: str) -> Bandpass:
    """Return the bandpass of a coupling.

    Raises:
        ConfigError: no filter meets what is configured.
    """
    coupling = config.couplings[name]
    settings = bandpass_settings(coupling.bandpass)
    try:
        return make_bandpass(settings, coupling.bands, config.engine.rate)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.bandpass: {error}") from error


def predictor(model: Model) -> Predictor:
    """Return a model as the engine runs it; one on a GPU has a spare on the CPU."""
    on_cpu, scalers = model.device == "cpu", model.scalers
    return Predictor(
        network=model.predict if on_cpu else device.with_cpu_fallback(model),
        witness_mean=scalers.witness_mean,
        witness_std=scalers.witness_std,
        strain_mean=scalers.strain_mean,
        strain_std=scalers.strain_std,
        reach=model.reach,
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
    """Return a coupling with its model, as an engine runs it.

    Raises:
        ConfigError: the coupling's prediction does not suit the model or the hop.
    """
    coupling = config.couplings[name]
    predict = predict_settings(coupling, config.engine.rate, loaded.ahead)
    model = predictor(loaded)
    hop = config.engine.hop * config.engine.rate // NS
    try:
        geometry(predict, hop, model.reach, model.period)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.predict: {error}") from error
    bandpass = coupling_bandpass(config, name)
    return Coupling(
        name,
        loaded.channels,
        model,
        predict,
        bandpass,
        coupling.bands,
        adapt_settings(coupling),
        loaded.carriers,
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """The latency budget of a configuration.

    Args:
        plan: the time that each stage takes of the latency.
        assumed: couplings without a model; an equivariant network that fits the edge is assumed
            for them.
    """

    plan: Schedule
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
            reach, period, ahead = model.reach, model.period, model.ahead
        except ModelError:
            assumed.append(name)
            reach, period, ahead = Reach.both(0), 1, 0
        predict = predict_settings(coupling, config.engine.rate, ahead)
        try:
            shape = geometry(predict, settings.hop_model, reach, period)
        except ValueError as error:
            raise ConfigError(f"couplings.{name}.predict: {error}") from error
        settle_in = coupling_bandpass(config, name).settle_in
        adapt = adapt_settings(coupling)
        memory = 0 if adapt is None else adapt.memory * NS
        plans[name] = CouplingSchedule.of(settings, settle_in, shape, memory)
    return Budget(Schedule(settings, plans), tuple(assumed))
