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
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.engine.state import CouplingState, Overlap
from deepclean.core.forecast import forecast
from deepclean.core.gain import gain_at
from deepclean.core.resample import Resampler
from deepclean.core.splice import Splice, back
from deepclean.core.time import NS, Span

_NOTHING = 1e-3
"""A gain below which what is subtracted is not divided by it."""


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
        low, high = self.plan.window(settings)
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
        self, path: CouplingState, resampled: Mapping[str, Float64], first: int, step: int
    ) -> None:
        """Compute hop `step` through all stages.

        Args:
            path: the streams, to which it adds.
            resampled: the window of every witness at the model rate.
            first: index at which that begins.
            step: counted from GPS 0.
        """
        settings, plan, before = self._settings, self.plan, self._back
        hop, start = settings.hop_model, step * settings.hop_model
        rows = self._rows(resampled)[:, self._rest]
        standardised = self._standardise(path, rows, first + self._rest.start)
        predicted_first = start + plan.predicted_at_once(settings)[0]
        predicted = self._predict(path, standardised, predicted_first)
        low = start - before - plan.settle_in - predicted_first
        high = start + hop + plan.interpolation + 1 + plan.settle_in - predicted_first
        # From `before` samples before the hop to what the interpolation reads after it.
        fresh = self.coupling.bandpass.apply(predicted[low:high])
        ramp = settings.ramp * settings.model_rate // NS
        gain = gain_at(
            start - before, start - before + len(fresh), settings.model_rate, path.invalid, ramp
        )
        given = gain * fresh
        seen, path.overlap = (
            path.overlap,
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
        path.bandpassed.append(start, noise[None])
        self._publish(path, fresh[before + hop :], seen, step)

    def valid(self, path: CouplingState, span: Span) -> Float64:
        """Return the gain by what the estimate rests on, over a span whose hops are computed."""
        return np.asarray(path.valid.read(*span.indices(self._settings.strain_rate))[0])

    def trim(self, path: CouplingState, step: int, oldest: int, watched: int) -> None:
        """Drop what no later hop and no block that is still inside needs; as CouplingPipeline."""
        super().trim(path, step, oldest, watched)
        path.valid.drop_before(oldest * self._settings.strain_rate // NS)

    def _publish(
        self, path: CouplingState, after: Float64, seen: Overlap | None, step: int
    ) -> None:
        """Bring a hop to the strain's rate, and state its gain.

        Args:
            path: with the hop in `bandpassed`.
            after: what follows it there, as far as it is known.
            seen: what the hop before thought of this one's start.
            step: counted from GPS 0.
        """
        settings = self._settings
        count, rate = settings.hop_strain, settings.strain_rate
        first, end = step * count, (step + 1) * settings.hop_model
        low, high = self._interpolator.needs(first, count)
        known = path.bandpassed.read(low, min(high, end))
        window = np.concatenate([known, after[None, : max(high - end, 0)]], axis=1)
        path.noise.append(first, self._interpolate(path, window, first))
        valid = gain_at(first, first + count, rate, path.invalid, settings.ramp * rate // NS)
        if seen is not None and seen.gain > 0:
            part = valid[: len(self._falling)]
            np.maximum(part, seen.gain * self._falling, out=part)
        path.valid.append(first, valid[None])
