"""The core's settings, which count samples, from a configuration, which says seconds."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from deepclean.config import Config
from deepclean.core.bandpass import BandpassSettings
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.forecast import ForecastSettings
from deepclean.core.gate.settings import GateSettings
from deepclean.core.predict import PredictSettings
from deepclean.core.resample import ResampleSettings
from deepclean.core.rollout.rules import TrialSettings
from deepclean.core.time import NS
from deepclean.core.witness_checks import WitnessSettings

if TYPE_CHECKING:
    from deepclean.config.couplings import CouplingConfig


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
