"""The core's settings as the configuration has them by default, but for what a test changes.

Arguments come in the order of the settings' fields, or by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from deepclean.config import settings
from deepclean.config.couplings import BandpassConfig, CouplingConfig
from deepclean.config.engine import EngineConfig, GateConfig, WitnessesConfig
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import BandpassSettings
from deepclean.core.filters.resample import Resampler, ResampleSettings
from deepclean.core.gate.settings import GateSettings
from deepclean.core.geometry import PredictSettings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)

RATE = 4096

# Tests' witnesses may be constant: no sample is taken to be frozen but where a test says so.
_ENGINE = settings.ungated_settings(EngineConfig(witnesses=WitnessesConfig(frozen=None)), RATE)
_GATE = settings.gate_settings(GateConfig())
_COUPLING = CouplingConfig(bands=((55.0, 65.0),), witnesses=("MAINS",))
_PREDICT = settings.predict_settings(_COUPLING, RATE)
_BANDPASS = settings.bandpass_settings(BandpassConfig())


def engine_settings(*given: Any, **changes: Any) -> EngineSettings:
    """Return settings without gates."""
    return _changed(_ENGINE, given, changes)


def gate_settings(**changes: Any) -> GateSettings:
    return _changed(_GATE, (), changes)


def predict_settings(*given: Any, **changes: Any) -> PredictSettings:
    return _changed(_PREDICT, given, changes)


def bandpass_settings(*given: Any, **changes: Any) -> BandpassSettings:
    return _changed(_BANDPASS, given, changes)


def resample_settings(*given: Any, **changes: Any) -> ResampleSettings:
    return _changed(_ENGINE.resample, given, changes)


def make_resampler(source: int, target: int, **changes: Any) -> Resampler:
    chosen = resample_settings(**changes)
    return Resampler(
        source,
        target,
        zeros=chosen.zeros,
        max_delay=chosen.max_delay,
        attenuation=chosen.attenuation,
    )


def _changed(usual: Settings, given: Sequence[Any], changes: Mapping[str, Any]) -> Settings:
    names = (field.name for field in fields(usual))
    return replace(usual, **dict(zip(names, given, strict=False)), **changes)
