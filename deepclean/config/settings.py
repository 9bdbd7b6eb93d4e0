"""The core's settings, made from the configuration's sections.

A section states the default, the unit and the meaning of each key. A field of the core's settings
has the name of its key; only what the core counts in another unit is converted here.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from inspect import signature
from typing import Any, TypeVar

from deepclean.config.checked import Config
from deepclean.config.couplings import BandpassConfig, CouplingConfig
from deepclean.config.engine import EngineConfig, GateConfig
from deepclean.config.types import Section
from deepclean.core.adapt.settings import FEATURES, AdaptSettings
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import BandpassSettings
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.filters.resample import ResampleSettings
from deepclean.core.gate.settings import GateSettings
from deepclean.core.geometry import PredictSettings
from deepclean.core.rollout.rules import TrialSettings
from deepclean.core.time import NS
from deepclean.core.witness_checks import WitnessSettings

Settings = TypeVar("Settings")


def engine_settings(config: Config) -> EngineSettings:
    """Return the settings that all couplings of a configuration share."""
    return replace(
        ungated_settings(config.engine, config.strain.rate),
        gate=gate_settings(config.gate) if config.gate.enabled else None,
        forecast=ForecastSettings() if config.wait == 0 else None,
    )


def ungated_settings(engine: EngineConfig, strain_rate: int) -> EngineSettings:
    """Return the settings of an engine without gates that waits for its look-ahead."""
    resample, interpolation = engine.resample, engine.interpolation
    return _settings(
        EngineSettings,
        engine,
        strain_rate=strain_rate,
        model_rate=engine.rate,
        resample=_settings(ResampleSettings, resample, max_delay=Fraction(resample.max_delay, NS)),
        witness=_settings(WitnessSettings, engine.witnesses),
        interpolation_zeros=interpolation.zeros,
        interpolation_attenuation=interpolation.attenuation,
    )


def gate_settings(gate: GateConfig) -> GateSettings:
    """Return the limits by which gates open and close."""
    return _settings(GateSettings, gate)


def predict_settings(coupling: CouplingConfig, rate: int, ahead: int = 0) -> PredictSettings:
    """Return the windows of a coupling's network, in samples at `rate` (Hz).

    Args:
        coupling: the coupling.
        rate: of the model.
        ahead: samples that the model states to look ahead: in mode auto the edge is no shorter.
    """
    predict = coupling.predict
    edge = predict.edge * rate // NS
    return _settings(
        PredictSettings,
        predict,
        kernel=predict.kernel * rate // NS,
        edge=max(edge, ahead) if predict.mode == "auto" else edge,
        stride=None if predict.stride is None else predict.stride * rate // NS,
    )


def adapt_settings(coupling: CouplingConfig, reach: int, rate: int) -> AdaptSettings | None:
    """Return the windows from which a coupling's gains are learnt; None where they are fixed.

    Args:
        coupling: the coupling.
        reach: samples of the model after a sample that its filters mix with it.
        rate: of the model, Hz.
    """
    if coupling.adapt == "off":
        return None
    guard = max(FEATURES.guard, reach // rate + 1)
    features = replace(FEATURES, guard=guard) if coupling.adapt == "features" else None
    return AdaptSettings(features=features)


def bandpass_settings(bandpass: BandpassConfig) -> BandpassSettings:
    """Return the filter of a coupling's prediction."""
    settle_in = None if bandpass.settle_in is None else Fraction(bandpass.settle_in, NS)
    return _settings(BandpassSettings, bandpass, settle_in=settle_in)


def trial_settings(config: Config) -> TrialSettings:
    """Return the rules by which a canary is promoted or rejected, and production rolled back."""
    return _settings(TrialSettings, config.models.trial)


def _settings(kind: type[Settings], section: Section, **others: Any) -> Settings:
    """Return core settings: `others`, and the section's values for all fields that it names."""
    names = signature(kind).parameters.keys() & type(section).model_fields.keys()
    return kind(**{name: getattr(section, name) for name in names - others.keys()} | others)
