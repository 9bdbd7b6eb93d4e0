"""The engine that a configuration describes, and its latency budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from deepclean.config import Config
from deepclean.config.settings import (
    adapt_settings,
    bandpass_settings,
    engine_settings,
    predict_settings,
)
from deepclean.core.adapt.settings import AdaptSettings, most_gains
from deepclean.core.adapt.spectra import band_bins
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import CouplingSchedule, Schedule
from deepclean.core.filters import bandpass, resample
from deepclean.core.filters.bandpass import Bandpass, make_bandpass
from deepclean.core.gate import monitor
from deepclean.core.output.products import State
from deepclean.core.predict import Geometry, Network, Predictor, geometry
from deepclean.core.reach import Reach
from deepclean.core.time import NS
from deepclean.errors import ConfigError, ModelError, UnavailableError, hint
from deepclean.models import device, packaged
from deepclean.models import files as models
from deepclean.models.closed.parts import EstimateParts, part_groups
from deepclean.models.closed_form import ClosedForm
from deepclean.models.loading import model_path, model_store
from deepclean.models.model import Model
from deepclean.models.reduced.networks import SolvedNetworks

_log = logging.getLogger(__name__)


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


def predictor(model: Model, groups: Sequence[int] = ()) -> Predictor:
    """Return a model as the engine runs it; one on a GPU has a spare on the CPU.

    Args:
        model: the model.
        groups: the number of the part to which each feature of a closed form belongs, where the
            estimate is wanted in parts.
    """
    scalers, equations = model.scalers, model.equations
    runs = _parts_of(groups) if groups else _network
    return Predictor(
        network=runs(model),
        witness_mean=scalers.witness_mean,
        witness_std=scalers.witness_std,
        strain_mean=scalers.strain_mean,
        strain_std=scalers.strain_std,
        reach=model.reach,
        period=model.period,
        version=model.version,
        reduced=None if equations is None else SolvedNetworks(model, equations, runs),
        parts=max(groups) + 1 if groups else 0,
        loudest=model.loudest,
    )


def _network(model: Model) -> Network:
    """Return what runs a model's network."""
    return model.predict if model.device == "cpu" else device.with_cpu_fallback(model)


def _parts_of(groups: Sequence[int]) -> Callable[[Model], Network]:
    """Return what returns what runs a closed form that gives its estimate in parts."""

    def runs(model: Model) -> Network:
        assert isinstance(model.network, ClosedForm)
        return _network(replace(model, network=EstimateParts(model.network, groups)))

    return runs


def check_stages(config: Config) -> None:
    """Raise ConfigError with what the stages themselves object to their settings.

    These rules stand beside the arithmetic that they follow from. Loading a configuration does not
    ask them, because that would import the arithmetic.
    """
    engine, faults = config.engine, []
    pairs = (
        ("resample", engine.resample.slowest_rate, engine.rate, engine.resample.max_delay),
        ("interpolation", engine.rate, config.strain.rate, NS),
    )
    for name, source, target, delay in pairs:
        attenuation = getattr(engine, name).attenuation
        said = resample.objection(source, target, Fraction(delay, NS), attenuation)
        faults += [f"engine.{name}: {said}"] if said else []
    for name, coupling in config.enabled_couplings.items():
        said = bandpass.objection(bandpass_settings(coupling.bandpass), coupling.bands, engine.rate)
        faults += [f"couplings.{name}.bandpass: {said}"] if said else []
        if config.gate.enabled:
            said = monitor.objection(coupling.bands, config.strain.rate, engine.rate)
            faults += [f"couplings.{name}.bands: {said}"] if said else []
    bits = [str(bit.name) for bit in State]
    for name in config.output.segments.state:
        said = f"output.segments.state: {name} is no state bit{hint(name, bits)}"
        faults += [] if name in bits else [said]
    if faults:
        raise ConfigError(faults)


def make_engine(config: Config, loaded: Mapping[str, Model]) -> Engine:
    """Return the engine of a configuration with these models.

    Raises:
        ConfigError: a stage objects to its settings, or a coupling's prediction does not suit its
            model or the hop.
    """
    check_stages(config)
    couplings = [make_coupling(config, name, loaded[name]) for name in config.enabled_couplings]
    return Engine(engine_settings(config), couplings)


def make_coupling(config: Config, name: str, loaded: Model) -> Coupling:
    """Return a coupling with its model, as an engine runs it.

    Raises:
        ConfigError: the coupling's prediction does not suit the model or the hop.
    """
    coupling = config.couplings[name]
    predict = predict_settings(coupling, config.engine.rate, loaded.ahead)
    hop = config.engine.hop * config.engine.rate // NS
    try:
        shape = geometry(predict, hop, loaded.reach, loaded.period)
    except ValueError as error:
        raise ConfigError(f"couplings.{name}.predict: {error}") from error
    filtered = coupling_bandpass(config, name)
    adapt = _adaptation(config, name, filtered.settle_in)
    return Coupling(
        name,
        loaded.channels,
        predictor(loaded, _groups(config, name, loaded, shape, adapt)),
        predict,
        filtered,
        coupling.bands,
        adapt,
        loaded.carriers,
    )


def _adaptation(config: Config, name: str, settle_in: int) -> AdaptSettings | None:
    """Return how the gains of a coupling are learnt; None where they are fixed.

    With `adapt: features` they need as much history whatever its model, so that any version can
    take over from any other.
    """
    rate = config.engine.rate
    reach = settle_in + ceil(engine_settings(config).interpolator().half_length * rate)
    return adapt_settings(config.couplings[name], reach, rate)


def _groups(
    config: Config, name: str, loaded: Model, shape: Geometry, adapt: AdaptSettings | None
) -> list[int]:
    """Return the part to which each feature of a model belongs; none where it gives no parts."""
    if adapt is None or adapt.features is None:
        return []
    said = None
    if not isinstance(loaded.network, ClosedForm):
        said = "is no closed form"
    elif shape.mode != "pass":
        said = f"is predicted by {shape.mode} and not in one pass"
    else:
        bins = band_bins(config.couplings[name].bands, config.engine.rate)
        return part_groups(loaded.network, most_gains(adapt.features, len(bins)))
    _log.warning(
        "coupling %s: version %d %s, so its features have no gains of their own (adapt: features); "
        "its estimate and its carriers have",
        name,
        loaded.version,
        said,
    )
    return []


@dataclass(frozen=True, slots=True)
class Budget:
    """The latency budget of a configuration.

    Args:
        plan: the time that each stage takes of the latency.
        assumed: couplings without a model (an empty text) or with one that cannot be loaded (the
            fault); an equivariant network that fits the edge is assumed for them.
    """

    plan: Schedule
    assumed: Mapping[str, str]


def budget(config: Config) -> Budget:
    """Return the latency budget, with the models that are there.

    Raises:
        ConfigError: as make_engine.
    """
    check_stages(config)
    packaged.admit(config.models.architectures)
    settings, plans, assumed = engine_settings(config), {}, dict[str, str]()
    for name, coupling in config.enabled_couplings.items():
        try:
            model = models.load(model_path(config, name), store=model_store(config, name))
            reach, period, ahead = model.reach, model.period, model.ahead
        except (ModelError, UnavailableError) as error:
            pointer = config.models.directory / config.interferometer / name / "production"
            is_there = coupling.model is not None or pointer.exists()
            assumed[name] = str(error) if is_there else ""
            reach, period, ahead = Reach.both(0), 1, 0
        predict = predict_settings(coupling, config.engine.rate, ahead)
        try:
            shape = geometry(predict, settings.hop_model, reach, period)
        except ValueError as error:
            raise ConfigError(f"couplings.{name}.predict: {error}") from error
        settle_in = coupling_bandpass(config, name).settle_in
        adapt = _adaptation(config, name, settle_in)
        memory = 0 if adapt is None else adapt.memory * NS
        plans[name] = CouplingSchedule.of(settings, settle_in, shape, memory)
    return Budget(Schedule(settings, plans), assumed)
