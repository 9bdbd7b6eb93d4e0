"""One version of a coupling's model at work: its stages, over streams that somebody else keeps.

    witnesses at the model rate -> standardise, predict -> bandpass -> interpolate

Several versions of one coupling may run beside one another, each with streams of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core import reasons
from deepclean.core.bandpass import Band, Bandpass
from deepclean.core.block import Float64, Samples, Version
from deepclean.core.engine.schedule import CouplingSchedule, EngineSettings
from deepclean.core.engine.state import CouplingState
from deepclean.core.gain import gain_over
from deepclean.core.nonfinite import finite
from deepclean.core.predict import Predictor, PredictSettings, geometry
from deepclean.core.resample import Resampler
from deepclean.core.time import NS, Span


@dataclass(frozen=True, slots=True, eq=False)
class Coupling:
    """One subtraction problem, and a model that solves it.

    Args:
        name: for the frame and the log.
        witnesses: channel names in the network's order.
        predictor: the network with its scalers.
        predict: how it is laid over the stream.
        bandpass: confines the prediction.
        bands: Hz, for the gate.
    """

    name: str
    witnesses: tuple[str, ...]
    predictor: Predictor
    predict: PredictSettings
    bandpass: Bandpass
    bands: Sequence[Band] = ()

    @property
    def version(self) -> Version:
        """Which version of which coupling's model it has."""
        return Version(self.name, self.predictor.version)


class CouplingPipeline:
    """Computes one version's estimate, hop by hop.

    Args:
        settings: of the engine.
        coupling: with the model.
        interpolator: to the strain's rate.

    Raises:
        ValueError: the network does not suit its configured mode.
    """

    def __init__(
        self, settings: EngineSettings, coupling: Coupling, interpolator: Resampler
    ) -> None:
        self.coupling = coupling
        self.schedule = schedule_of(settings, coupling)
        self._settings = settings
        self._interpolator = interpolator

    def mark_missing(self, state: CouplingState, start: int, end: int, reason: str) -> None:
        """Note that a witness has no samples over `[start, end)` (GPS nanoseconds)."""
        state.invalid.add(*self.schedule.spoilt_by_gap(self._settings, start, end), reason)

    def mark_uncertain(self, state: CouplingState, end: int) -> None:
        """Note that nothing up to `end` (GPS ns) may rest on a forecast of a witness."""
        start, _ = self.schedule.spoilt_by_gap(self._settings, end, end)
        state.invalid.add(start, end, reasons.NO_FORECAST)

    def compute(
        self, state: CouplingState, resampled: Mapping[str, Float64], first: int, step: int
    ) -> None:
        """Compute hop `step` through all stages.

        Args:
            state: the streams, to which it adds.
            resampled: one hop of every witness at the model rate.
            first: index at which that begins.
            step: counted from GPS 0.
        """
        hop, schedule = self._settings.hop_model, self.schedule
        state.standardised.append(first, self._standardise(state, self._rows(resampled), first))
        start, shape = step * hop + schedule.predicted, schedule.geometry
        window = state.standardised.read(start - shape.before, start + hop + shape.after)
        state.predicted.append(start, self._predict(state, window, start)[None])
        start = step * hop + schedule.bandpassed
        window = state.predicted.read(start - schedule.settle_in, start + hop + schedule.settle_in)
        state.bandpassed.append(start, self.coupling.bandpass.apply(window[0])[None])
        first, count = step * self._settings.hop_strain, self._settings.hop_strain
        window = state.bandpassed.read(*self._interpolator.needs(first, count))
        state.noise.append(first, self._interpolate(state, window, first))

    def valid(self, state: CouplingState, span: Span) -> Float64:
        """Return the gain by what the estimate rests on, over a span whose hops are computed."""
        rate = self._settings.strain_rate
        return gain_over(span, rate, state.invalid, self._settings.ramp * rate // NS)

    def trim(self, state: CouplingState, step: int, oldest: int, watched: int) -> None:
        """Drop what no later hop and no block that is still inside needs.

        Args:
            state: the streams.
            step: the next hop to compute.
            oldest: start of the oldest block inside, GPS nanoseconds.
            watched: index from which on the gate needs the bandpassed prediction.
        """
        settings, schedule = self._settings, self.schedule
        start = step * settings.hop_model
        state.standardised.drop_before(start + schedule.predicted - schedule.geometry.before)
        state.predicted.drop_before(start + schedule.bandpassed - schedule.settle_in)
        low, _ = self._interpolator.needs(step * settings.hop_strain, 1)
        state.bandpassed.drop_before(min(low, watched))
        state.noise.drop_before(oldest * settings.strain_rate // NS)
        # What a block's gain may still depend on.
        near = oldest - settings.ramp - NS
        state.invalid.drop_before(min(near, watched * NS // settings.model_rate))

    def _rows(self, resampled: Mapping[str, Float64]) -> Float64:
        """Return the coupling's witnesses in the network's order."""
        return np.stack([resampled[witness] for witness in self.coupling.witnesses])

    def _standardise(self, state: CouplingState, rows: Float64, first: int) -> Samples:
        """Standardise rows from `first`; what float32 cannot hold is invalid, as if missing."""
        standardised, runs = finite(self.coupling.predictor.standardise(rows))
        for low, high in runs:
            predicted = self.schedule.geometry.spoilt(first + low, first + high)
            spoilt = self.schedule.spoilt_by_prediction(self._settings, *predicted)
            state.invalid.add(*spoilt, reasons.NONFINITE_WITNESS)
        return standardised

    def _predict(self, state: CouplingState, window: Samples, first: int) -> Float64:
        """Predict from `first` on; a prediction that fails is invalid, never subtracted.

        Args:
            state: is told what is invalid.
            window: standardised witnesses, with what the geometry needs on either side.
            first: index of the first sample predicted.
        """
        shape = self.schedule.geometry
        reason = reasons.NONFINITE
        try:
            raw = self.coupling.predictor.predict(window, shape)
        except Exception as error:  # noqa: BLE001  (whatever a network raises, the strain goes out)
            state.error = error
            raw = np.full(window.shape[1] - shape.before - shape.after, np.nan)
            reason = reasons.MODEL_ERROR
        predicted, runs = finite(raw)
        for low, high in runs:
            spoilt = self.schedule.spoilt_by_prediction(self._settings, first + low, first + high)
            state.invalid.add(*spoilt, reason)
        return predicted

    def _interpolate(self, state: CouplingState, window: Float64, first: int) -> Float64:
        """Bring one hop of bandpassed prediction to the strain's rate, from `first`.

        The last stage before the subtraction: a prediction so great that a filter's sum overflowed
        is found here.
        """
        count, rate = self._settings.hop_strain, self._settings.strain_rate
        noise, runs = finite(self._interpolator.apply(window, first, count))
        for low, high in runs:
            start, last = ((first + index) * NS // rate for index in (low, high - 1))
            state.invalid.add(start, last + 1, reasons.NONFINITE)
        return noise


def schedule_of(settings: EngineSettings, coupling: Coupling) -> CouplingSchedule:
    """Return where a coupling's stages stand. Raises ValueError as core.predict.geometry does."""
    predictor = coupling.predictor
    shape = geometry(coupling.predict, settings.hop_model, predictor.field, predictor.period)
    return CouplingSchedule.of(settings, coupling.bandpass.settle_in, shape)
