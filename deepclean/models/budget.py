"""The latency budget of a configuration with the models that are there.

A manifest says how far its network looks, so that no network is made and torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from deepclean.config import Config
from deepclean.config.settings import (
    adapt_settings,
    bandpass_settings,
    engine_settings,
    predict_settings,
)
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.engine.schedule import CouplingSchedule, Schedule
from deepclean.core.filters import bandpass, resample
from deepclean.core.filters.bandpass import Bandpass, make_bandpass
from deepclean.core.gate import monitor
from deepclean.core.geometry import geometry
from deepclean.core.output.products import State
from deepclean.core.reach import Reach
from deepclean.core.time import NS
from deepclean.errors import ConfigError, ModelError, UnavailableError, hint
from deepclean.models import content
from deepclean.models.manifest import MANIFEST
from deepclean.models.store import permissions

STATES_REACH = {"autoencoder": False, "closed_form": True, "hybrid": True, "wiener": False}
"""Whether the networks of this package state how far they look (networks.stated_reach)."""


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


def adaptation(config: Config, name: str, settle_in: int) -> AdaptSettings | None:
    """Return how the gains of a coupling are learnt; None where they are fixed.

    With `adapt: features` they need as much history whatever its model, so that any version can
    take over from any other.
    """
    rate = config.engine.rate
    reach = settle_in + ceil(engine_settings(config).interpolator().half_length * rate)
    return adapt_settings(config.couplings[name], reach, rate)


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
    settings, plans, assumed = engine_settings(config), {}, dict[str, str]()
    for name, coupling in config.enabled_couplings.items():
        try:
            reach, period, ahead = _looks(config, name)
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
        adapt = adaptation(config, name, settle_in)
        memory = 0 if adapt is None else adapt.memory * NS
        plans[name] = CouplingSchedule.of(settings, settle_in, shape, memory)
    return Budget(Schedule(settings, plans), assumed)


def _looks(config: Config, name: str) -> tuple[Reach, int | None, int]:
    """Return the reach, the period and the stated look-ahead of the model of a coupling.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path, store = content.model_path(config, name), content.model_store(config, name)
    if (path / MANIFEST).exists():
        if store is not None:
            permissions.check_directory(path, store)
        _, manifest, _ = content.read_version(path, store)
        states = STATES_REACH.get(manifest.architecture.get("name", ""))
        if states is not None:
            reach = manifest.reach
            return reach, manifest.period, reach.after if states else 0
    # Only the network itself tells: it is of another package, or a directory of deepcleanv2.
    from deepclean.models import files, packaged

    packaged.admit(config.models.architectures)
    model = files.load(path, store=store)
    return model.reach, model.period, model.ahead
