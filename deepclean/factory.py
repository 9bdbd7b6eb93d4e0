"""The engine that a configuration describes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from deepclean.config import Config
from deepclean.config.settings import (
    engine_settings,
    predict_settings,
)
from deepclean.core.adapt.settings import AdaptSettings, most_gains
from deepclean.core.adapt.spectra import band_bins
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.geometry import Geometry, geometry
from deepclean.core.predict import Network, Predictor
from deepclean.core.time import NS
from deepclean.errors import ConfigError
from deepclean.models import device
from deepclean.models.budget import adaptation, check_stages, coupling_bandpass
from deepclean.models.closed.parts import EstimateParts, part_groups
from deepclean.models.closed_form import ClosedForm
from deepclean.models.model import CpuNetwork, Model
from deepclean.models.networks import windows_in_words
from deepclean.models.reduced.networks import SolvedNetworks

_log = logging.getLogger(__name__)


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
    return CpuNetwork(model) if model.device == "cpu" else device.with_cpu_fallback(model)


def _parts_of(groups: Sequence[int]) -> Callable[[Model], Network]:
    """Return what returns what runs a closed form that gives its estimate in parts."""

    def runs(model: Model) -> Network:
        assert isinstance(model.network, ClosedForm)
        return _network(replace(model, network=EstimateParts(model.network, groups)))

    return runs


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
    if loaded.period is None:
        _warn_of_windows(name, loaded.version, shape.effort)
    filtered = coupling_bandpass(config, name)
    adapt = adaptation(config, name, filtered.settle_in)
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


@cache
def _warn_of_windows(name: str, version: int, effort: float) -> None:
    """Say once in a process what a network costs that does not suit long passes."""
    _log.warning("coupling %s: version %d %s", name, version, windows_in_words(effort))


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
