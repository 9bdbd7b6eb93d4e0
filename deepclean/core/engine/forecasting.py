"""The strategy that forecasts: a hop is computed at its end, without the input after it.

    witnesses, forecast beyond the hop's end -> standardise, predict -> bandpass
        -> splice to the hop before -> interpolate

Everything that the bandpass needs after the hop's end is predicted at once, from witnesses whose
next tenths of a second are forecast (core.filters.forecast), and is not kept: the next hop does it
again with the input that came. The noise of a hop depends on the input up to its end and on nothing
after it, however the stream was cut.

Where a witness is missing, the hop does without it from the gap's start on (core.engine.missing),
also in what it forecasts. Nobody can look ahead to a gap that closes the coupling. Where the next
hop finds one at its start, the subtracted noise dies away over the splice instead of ending there.
"""

from __future__ import annotations

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Float64
from deepclean.core.engine.adaptation import Bandpassed, Lesson, SpectrumOfSecond
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.intake import Intake, Resampled
from deepclean.core.engine.missing import ALWAYS, Loss, Losses
from deepclean.core.engine.schedule import EngineSettings, Schedule, resampled_in_gap
from deepclean.core.engine.state import CouplingState, Overlap, StreamState
from deepclean.core.filters.resample import Resampler
from deepclean.core.filters.splice import Splice, back
from deepclean.core.gain import gain_at
from deepclean.core.time import NS, Span

# Gain times noise is subtracted, so noise behind a gain this small is not subtracted either way.
_NOTHING = 1e-3
"""The gain up to which the subtracted noise is not divided by it."""


class Forecasting:
    """The strategy that does not wait: the witnesses after a hop's end are forecast.

    Args:
        settings: the engine's settings, with those of the forecast.
        schedule: the schedule of the engine's stages.

    Attributes:
        lead: 0, because a hop's witnesses do not run ahead of it.
        gate_delay: the ramp in nanoseconds, by which a gate acts later than it sees.
        defers: True, because somebody waits for a hop, and nobody between two.
    """

    def __init__(self, settings: EngineSettings, schedule: Schedule) -> None:
        self._settings = settings
        self._interpolator = settings.interpolator()
        self._window = schedule.window
        self.lead = 0
        self.gate_delay = settings.ramp
        self.defers = True

    def pipeline(self, coupling: Coupling) -> CouplingPipeline:
        """Return the pipeline that computes the estimate of a coupling's version, hop by hop."""
        return ForecastingPipeline(self._settings, coupling, self._interpolator, self._window)

    def cuts(self, start: int, end: int) -> list[int]:
        """Return the ends of hops, and the end of the input, in GPS nanoseconds."""
        # A hop must see the input up to its end and no further, however much came at once.
        hop = self._settings.hop
        return [*range((start // hop + 1) * hop, end, hop), end]

    def window(self, step: int) -> tuple[int, int]:
        """Return the first index and the number of the resampled witnesses that a hop rests on."""
        low, high = self._window
        return step * self._settings.hop_model + low, high - low

    def witnesses(self, intake: Intake, stream: StreamState) -> Resampled:
        """Return the witnesses at the model rate for the next hop, forecast after its end."""
        return intake.extrapolate(stream, *self.window(stream.step), self._end(stream))

    def prepare(self, intake: Intake, stream: StreamState) -> None:
        """Fit the forecasts of the next hop that are fitted by the clock."""
        intake.refit(stream, stream.step * self._settings.hop)

    def uncertain(self, intake: Intake, stream: StreamState) -> list[str]:
        """Return the witnesses that have samples, but not for long enough to be forecast."""
        return intake.uncertain(stream, self._end(stream))

    def seen(self, step: int) -> int:
        """Return the end of the hop in GPS nanoseconds, because nothing after it is known."""
        return (step + 1) * self._settings.hop

    def _end(self, stream: StreamState) -> int:
        """Return the end of the next hop, GPS nanoseconds."""
        return (stream.step + 1) * self._settings.hop


class ForecastingPipeline(CouplingPipeline):
    """Computes one version's estimate, hop by hop, without look-ahead.

    Args:
        settings: the engine's settings, with those of the forecast.
        coupling: the coupling with the version's model.
        interpolator: the filter to the strain's rate.
        window: the range of resampled witnesses that it is given, from a hop's start.

    Raises:
        ValueError: the network does not suit its configured mode, the coupling states no bands, or
            it rests on witnesses outside the window.
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
                f"{coupling.version} rests on more than this engine forecasts: promote it and "
                "restart to put it in force"
            )
        self._first_predicted = self.schedule.predicted_at_once(settings)[0]
        self._rest = slice(low - window[0], high - window[0])
        self._back = back(settings.model_rate)
        # Half a hop at most. The next hop is spliced to this one's end as it was computed, without
        # a correction, so the correction must be over by then.
        length = min(settings.forecast.seam, settings.hop // 2)
        middles = [(low + high) / 2 for low, high in coupling.bands]
        self._splice = Splice(middles, settings.model_rate, length * settings.model_rate // NS)
        count = length * settings.strain_rate // NS
        # The splice's weight at the strain's rate (core.filters.splice).
        self._falling = np.cos(0.5 * np.pi * np.arange(count) / count) ** 2

    def bandpassed(
        self,
        state: CouplingState,
        resampled: Resampled,
        first: int,
        step: int,
        strain: SpectrumOfSecond,
    ) -> Bandpassed:
        """Compute hop `step` up to the bandpass.

        Args:
            state: the version's streams, to which the hop is added.
            resampled: the window of every witness at the model rate.
            first: index at which the window begins.
            step: the number of the hop, counted from GPS 0.
            strain: the strain's spectra, for the gains.

        Returns:
            The estimate from the samples before the hop that are compared, over the hop, to I + 1
            samples after it, which the interpolation and the next hop read.
        """
        settings, schedule, before = self._settings, self.schedule, self._back
        hop, start = settings.hop_model, step * settings.hop_model
        rows = self._rows(resampled)[:, self._rest]
        standardised = self._standardise(state, rows, first + self._rest.start)
        predicted_first, end = start + self._first_predicted, (step + 1) * settings.hop
        losses, told = self._losses_at(state, end), (end - settings.hop, end)
        predicted = self._predict_with_rest(state, standardised, predicted_first, losses, told)
        low = start - before - schedule.settle_in - predicted_first
        high = start + hop + schedule.interpolation + 1 + schedule.settle_in - predicted_first
        reach = schedule.geometry.before
        carriers = standardised[:, low + reach : high + reach] if self._carriers else None
        inside = (predicted_first + low, start, start + hop)
        predicted = predicted[:, low:high]
        return self._bandpass(state, predicted, carriers, inside, strain, losses)

    def lesson(self, state: CouplingState, step: int, *, late: bool) -> Lesson | None:
        """Return what the gains have to learn from hop `step`; None where they are fixed.

        With `late` that is also what the hop does not need itself.
        """
        if self.adaptation is None or state.adaptation is None:
            return None
        stop = (step + 1) * self._settings.hop_model
        if not late:
            # The gain's line that holds the hop's last sample begins at the last knot before it,
            # and both its ends are known from what is before that knot.
            stop = self.adaptation.last_knot(stop - 1)
        return self.adaptation.lesson(state.adaptation, stop, state.invalid)

    def finish(self, state: CouplingState, made: Bandpassed, step: int) -> None:
        """Compute the stages of hop `step` behind the bandpass, after the gains have learnt.

        Args:
            state: the version's streams, to which the hop is added.
            made: what `bandpassed` returned.
            step: the number of the hop, counted from GPS 0.
        """
        settings, before = self._settings, self._back
        hop, start = settings.hop_model, step * settings.hop_model
        # fresh[j] stands at start - before + j.
        fresh = self._adapted(state, made)
        ramp = settings.ramp * settings.model_rate // NS
        gain = gain_at(
            start - before, start - before + len(fresh), settings.model_rate, state.invalid, ramp
        )
        # The splice joins the subtracted noise, gain times noise. For the next hop this one keeps
        # its opinion of the samples that end with that hop's first: j from hop + 1 to hop + before.
        given = gain * fresh
        seen, state.overlap = (
            state.overlap,
            Overlap(given[hop + 1 : hop + before + 1], gain[hop + before]),
        )
        inside = slice(before, before + hop)
        noise = fresh[inside].copy()
        if seen is not None:
            joined, shown = given[inside], gain[inside].copy()
            count = len(self._splice.weight)
            # j from 1 to before are the same samples as seen from this hop.
            joined[:count] += self._splice.after(seen.given - given[1 : before + 1])
            # The gain that is stated covers the correction too: it falls no faster than the weight.
            # The noise is then the one that gives `joined` under that gain.
            shown[:count] = np.maximum(shown[:count], seen.gain * self._splice.weight)
            np.divide(joined, shown, out=noise, where=shown > _NOTHING)
        state.bandpassed.append(start, noise[None])
        self._publish(state, fresh[before + hop :], seen, step)

    def valid(self, state: CouplingState, span: Span) -> Float64:
        """Return the gain without the gate over a span whose hops are computed, shape `(n,)`."""
        return np.asarray(state.valid.read(*span.indices(self._settings.strain_rate))[0])

    def trim(self, state: CouplingState, step: int, oldest: int, monitored: int) -> None:
        """Drop the samples that no later hop and no block that is still inside needs."""
        super().trim(state, step, oldest, monitored)
        state.valid.drop_before(oldest * self._settings.strain_rate // NS)

    def _losses_at(self, state: CouplingState, end: int) -> Losses:
        """Return the losses for the hop that ends at `end` (GPS ns), with those of its forecasts.

        A witness that cannot be forecast is lost from there on, and so is one whose gap goes on.
        """
        if not (state.losses or state.uncertain):
            return {}  # the usual case
        # An empty gap at the end counts for every prediction that rests on a sample after it.
        gap = resampled_in_gap(self._settings, end, end)
        first, stop = self.schedule.geometry.spoilt(*gap)
        losses = dict(state.losses)
        for witness, found in state.losses.items():
            # A bad sample is no gap that goes on: what follows it is uncertain, or forecast.
            gaps = [loss for loss in found if loss.reason != reasons.NONFINITE_WITNESS]
            going_on = [Loss(first, ALWAYS, 0, g.reason, end) for g in gaps if g.stop >= stop]
            losses[witness] = [*found, *going_on[-1:]]
        for witness in state.uncertain:
            lost = Loss(first, ALWAYS, 0, reasons.NO_FORECAST, end)
            losses[witness] = [*losses.get(witness, ()), lost]
        state.uncertain.clear()
        return losses

    def _publish(
        self, state: CouplingState, after: Float64, seen: Overlap | None, step: int
    ) -> None:
        """Add a hop's noise and gain at the strain's rate to the streams.

        Args:
            state: the version's streams, with the hop in `bandpassed`.
            after: the samples of bandpassed prediction after the hop, from forecasts.
            seen: the start of this hop as the one before computed it; None where there was none.
            step: the number of the hop, counted from GPS 0.
        """
        settings = self._settings
        count, rate = settings.hop_strain, settings.strain_rate
        first, end = step * count, (step + 1) * settings.hop_model
        low, high = self._interpolator.needs(first, count)
        known = state.bandpassed.view(low, min(high, end))
        window = np.concatenate([known, after[None, : max(high - end, 0)]], axis=1)
        state.noise.append(first, self._interpolate(state, window, first))
        valid = gain_at(first, first + count, rate, state.invalid, settings.ramp * rate // NS)
        if seen is not None and seen.gain > 0:
            valid = valid.copy()
            part = valid[: len(self._falling)]
            np.maximum(part, seen.gain * self._falling, out=part)
        state.valid.append(first, valid[None])
