"""One version of a coupling's model at work where a hop does not wait for what comes after it.

    witnesses, forecast beyond the hop's end -> standardise, predict -> bandpass
        -> join to the hop before -> interpolate

All that the bandpass wants of the future is predicted at once from witnesses of which the last
tenths of a second are forecast (core.forecast), and forgotten again: the next hop does it anew
with what came. What a hop contributes depends on the input up to its end and on nothing after it,
however the stream was cut.

Nobody can look ahead to a gap either. Where the next hop finds one at its start, what was
subtracted dies away over the seam, instead of ending there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.engine.coupling import Coupling, CouplingPipeline
from deepclean.core.engine.intake import Intake
from deepclean.core.engine.schedule import EngineSettings, Schedule
from deepclean.core.engine.state import CouplingState, Overlap, StreamState
from deepclean.core.forecast import forecast
from deepclean.core.gain import gain_at
from deepclean.core.resample import Resampler
from deepclean.core.splice import Splice, back
from deepclean.core.time import NS, Span

_NOTHING = 1e-3
"""A gain below which what is subtracted is not divided by it."""


class Forecasting:
    """The strategy that does not wait: what a hop needs beyond its end is forecast.

    Args:
        settings: of the engine, with those of the forecast.
        schedule: of its stages.
    """

    def __init__(self, settings: EngineSettings, schedule: Schedule) -> None:
        self._settings = settings
        self._interpolator = settings.interpolator()
        self._window = schedule.window
        self.lead = 0
        self.gate_delay = settings.ramp

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return what computes the estimate of a coupling's version, hop by hop."""
        return ForecastingPipeline(self._settings, coupling, self._interpolator, self._window)

    def cuts(self, start: int, end: int) -> list[int]:
        """Return the ends of hops: a hop sees the input up to its end, whatever there is of it."""
        hop = self._settings.hop
        return [*range((start // hop + 1) * hop, end, hop), end]

    def window(self, step: int) -> tuple[int, int]:
        """Return all witnesses that a hop rests on, from before it to after it."""
        low, high = self._window
        return step * self._settings.hop_model + low, high - low

    def witnesses(self, intake: Intake, stream: StreamState) -> dict[str, Float64]:
        """Return the witnesses at the model rate for the next hop, forecast beyond its end."""
        return intake.extrapolate(stream, *self.window(stream.step), self._end(stream))

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return the witnesses that have not been there for long enough to be forecast."""
        return intake.uncertain(stream, self._end(stream))

    def seen(self, step: int) -> int:
        """Return the end of the hop: nobody has seen anything after it."""
        return (step + 1) * self._settings.hop

    def _end(self, stream: StreamState) -> int:
        return (stream.step + 1) * self._settings.hop


class ForecastingPipeline(CouplingPipeline):
    """Computes one version's estimate, hop by hop, without look-ahead.

    Args:
        settings: of the engine, with those of the forecast.
        coupling: with the model.
        interpolator: to the strain's rate.
        window: which witnesses at the model rate it is given, from a hop's start.

    Raises:
        ValueError: as Runner, the coupling states no bands, or it needs more than the window.
    """

    def __init__(
        self,
        settings: EngineSettings,
        coupling: Coupling,
        interpolator: Resampler,
        window: tuple[int, int],
    ) -> None:
        super().__init__(settings, coupling, interpolator)
        assert settings.forecast is not None
        if not coupling.bands:
            raise ValueError("a coupling that does not wait needs its bands")
        low, high = self.schedule.window(settings)
        if low < window[0] or high > window[1]:
            raise ValueError(
                f"{coupling.version} rests on more than this engine forecasts: restart to put it "
                "in force"
            )
        self._rest = slice(low - window[0], high - window[0])
        self._back = back(settings.model_rate)
        length = min(settings.forecast.seam, settings.hop // 2)
        # The first call imports what it needs: not in a hop.
        forecast(np.array([0.0, 1.0] * 8), 1, 1)
        middles = [(low + high) / 2 for low, high in coupling.bands]
        self._seam = Splice(middles, settings.model_rate, length * settings.model_rate // NS)
        count = length * settings.strain_rate // NS
        self._falling = np.cos(0.5 * np.pi * np.arange(count) / count) ** 2

    def compute(
        self, state: CouplingState, resampled: Mapping[str, Float64], first: int, step: int
    ) -> None:
        """Compute hop `step` through all stages.

        Args:
            state: the streams, to which it adds.
            resampled: the window of every witness at the model rate.
            first: index at which that begins.
            step: counted from GPS 0.
        """
        settings, schedule, before = self._settings, self.schedule, self._back
        hop, start = settings.hop_model, step * settings.hop_model
        rows = self._rows(resampled)[:, self._rest]
        standardised = self._standardise(state, rows, first + self._rest.start)
        predicted_first = start + schedule.predicted_at_once(settings)[0]
        predicted = self._predict(state, standardised, predicted_first)
        low = start - before - schedule.settle_in - predicted_first
        high = start + hop + schedule.interpolation + 1 + schedule.settle_in - predicted_first
        # From `before` samples before the hop to what the interpolation reads after it.
        fresh = self.coupling.bandpass.apply(predicted[low:high])
        ramp = settings.ramp * settings.model_rate // NS
        gain = gain_at(
            start - before, start - before + len(fresh), settings.model_rate, state.invalid, ramp
        )
        given = gain * fresh
        seen, state.overlap = (
            state.overlap,
            Overlap(given[hop + 1 : hop + before + 1], gain[hop + before]),
        )
        inside = slice(before, before + hop)
        noise = fresh[inside].copy()
        if seen is not None:
            joined, shown = given[inside], gain[inside].copy()
            count = len(self._seam.weight)
            joined[:count] += self._seam.after(seen.given - given[1 : before + 1])
            shown[:count] = np.maximum(shown[:count], seen.gain * self._seam.weight)
            np.divide(joined, shown, out=noise, where=shown > _NOTHING)
        state.bandpassed.append(start, noise[None])
        self._publish(state, fresh[before + hop :], seen, step)

    def valid(self, state: CouplingState, span: Span) -> Float64:
        """Return the gain by what the estimate rests on, over a span whose hops are computed."""
        return np.asarray(state.valid.read(*span.indices(self._settings.strain_rate))[0])

    def trim(self, state: CouplingState, step: int, oldest: int, watched: int) -> None:
        """Drop what no later hop and no block that is still inside needs; as CouplingPipeline."""
        super().trim(state, step, oldest, watched)
        state.valid.drop_before(oldest * self._settings.strain_rate // NS)

    def _publish(
        self, state: CouplingState, after: Float64, seen: Overlap | None, step: int
    ) -> None:
        """Bring a hop to the strain's rate, and state its gain.

        Args:
            state: with the hop in `bandpassed`.
            after: what follows it there, as far as it is known.
            seen: what the hop before thought of this one's start.
            step: counted from GPS 0.
        """
        settings = self._settings
        count, rate = settings.hop_strain, settings.strain_rate
        first, end = step * count, (step + 1) * settings.hop_model
        low, high = self._interpolator.needs(first, count)
        known = state.bandpassed.read(low, min(high, end))
        window = np.concatenate([known, after[None, : max(high - end, 0)]], axis=1)
        state.noise.append(first, self._interpolate(state, window, first))
        valid = gain_at(first, first + count, rate, state.invalid, settings.ramp * rate // NS)
        if seen is not None and seen.gain > 0:
            part = valid[: len(self._falling)]
            np.maximum(part, seen.gain * self._falling, out=part)
        state.valid.append(first, valid[None])
