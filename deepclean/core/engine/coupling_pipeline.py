"""The stages of one version of a coupling's model, over streams that the engine's state keeps.

    witnesses at the model rate -> standardise, predict -> bandpass -> adapt -> interpolate

Several versions of one coupling may run beside one another, each with streams of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Float64, Samples
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.adaptation import (
    Adaptation,
    Bandpassed,
    Lesson,
    SpectrumOfSecond,
    summed,
)
from deepclean.core.engine.coupling import Coupling, schedule_of
from deepclean.core.engine.intake import Resampled
from deepclean.core.engine.missing import ALWAYS, Losses, MissingWitnesses
from deepclean.core.engine.schedule import EngineSettings, resampled_in_gap
from deepclean.core.engine.state import CouplingState
from deepclean.core.filters.resample import Resampler
from deepclean.core.filters.transformed import Transformed
from deepclean.core.gain import gain_over
from deepclean.core.gate.state import BEGINNING
from deepclean.core.nonfinite import finite, runs
from deepclean.core.predict import Predictor
from deepclean.core.time import NS, Span


class CouplingPipeline:
    """Computes one version's estimate, hop by hop.

    Args:
        settings: the engine's settings.
        coupling: the coupling with the version's model.
        interpolator: the filter to the strain's rate.

    Raises:
        ValueError: the network does not suit its configured mode, or the coupling states no bands
            though its gains are learnt.
    """

    def __init__(
        self, settings: EngineSettings, coupling: Coupling, interpolator: Resampler
    ) -> None:
        self.coupling = coupling
        self.schedule = schedule_of(settings, coupling)
        self._settings, self._interpolator = settings, interpolator
        self._first_predicted = self.schedule.predicted  # of a hop, from its start
        self._missing: MissingWitnesses | None = None
        reduced = coupling.predictor.reduced
        if reduced is not None:
            self._missing = MissingWitnesses(settings, self.schedule, reduced)
        if coupling.predictor.parts and self.schedule.geometry.mode != "pass":
            raise ValueError("an estimate in parts is predicted in one pass")
        self._carriers = list(coupling.carriers) if coupling.adapt is not None else []
        self.adaptation: Adaptation | None = None
        if coupling.adapt is not None:
            self.adaptation = Adaptation(
                coupling.adapt,
                coupling.bandpass,
                coupling.bands,
                coupling.carriers,
                settings.model_rate,
                self.schedule.interpolation,
                coupling.predictor.parts,
            )

    def begin(self, start: int) -> CouplingState:
        """Return the streams of a version that begins at `start` (GPS ns), without witnesses."""
        rows, parts = len(self.coupling.witnesses), max(1, self.coupling.predictor.parts)
        state = CouplingState(StreamBuffer(rows, np.float32), StreamBuffer(parts))
        if self.adaptation is not None:
            state.adaptation = self.adaptation.begin(start)
        self.mark_missing(state, BEGINNING, start, reasons.NO_HISTORY)
        return state

    def mark_missing(
        self, state: CouplingState, start: int, end: int, reason: str, witness: str | None = None
    ) -> None:
        """Note that a witness, or all of them, has no usable samples over a span.

        Args:
            state: the version's streams.
            start: GPS nanoseconds.
            end: GPS nanoseconds.
            reason: why (core.reasons).
            witness: its name; None for all.
        """
        if witness is not None and self._missing is not None:
            number = self.coupling.witnesses.index(witness)
            samples = resampled_in_gap(self._settings, start, end)
            self._missing.mark(state.losses, number, *samples, reason)
            return
        state.invalid.add(*self.schedule.spoilt_by_gap(self._settings, start, end), reason)

    def mark_uncertain(self, state: CouplingState, end: int, witness: str) -> None:
        """Note that no estimate up to `end` (GPS ns) may rest on a forecast of a witness."""
        if self._missing is not None:
            state.uncertain.append(self.coupling.witnesses.index(witness))
            return
        # An empty gap at the end spoils every estimate that rests on a sample after it.
        start, _ = self.schedule.spoilt_by_gap(self._settings, end, end)
        state.invalid.add(start, end, reasons.NO_FORECAST)

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
            resampled: one hop of every witness at the model rate.
            first: index at which these begin.
            step: the number of the hop, counted from GPS 0.
            strain: the strain's spectra, for the gains.
        """
        # Each stage adds one hop to its stream, at its own offset (core.engine.schedule), and reads
        # that hop from the stream before it, with the padding that the stage needs.
        hop, schedule = self._settings.hop_model, self.schedule
        state.standardised.append(first, self._standardise(state, self._rows(resampled), first))
        start, shape = step * hop + schedule.predicted, schedule.geometry
        window = state.standardised.view(start - shape.before, start + hop + shape.after)
        predicted = self._predict_with_rest(state, window, start, state.losses)
        state.predicted.append(start, predicted)
        start = step * hop + schedule.bandpassed
        read = (start - schedule.settle_in, start + hop + schedule.settle_in)
        inside = (read[0], start, start + hop)
        carriers = state.standardised.view(*read) if self._carriers else None
        predicted = state.predicted.view(*read)
        return self._bandpass(state, predicted, carriers, inside, strain, state.losses)

    def lesson(self, state: CouplingState, step: int, *, late: bool) -> Lesson | None:
        """Return what to learn from hop `step`; with `late`, what the hop does not need itself."""
        if late or self.adaptation is None or state.adaptation is None:
            return None
        stop = (step + 1) * self._settings.hop_model + self.schedule.bandpassed
        return self.adaptation.lesson(state.adaptation, stop, state.invalid)

    def finish(self, state: CouplingState, made: Bandpassed, step: int) -> None:
        """Compute the stages of hop `step` behind the bandpass, after the gains have learnt.

        Args:
            state: the version's streams, to which the hop is added.
            made: what `bandpassed` returned.
            step: the number of the hop, counted from GPS 0.
        """
        state.bandpassed.append(made.first, self._adapted(state, made)[None])
        first, count = step * self._settings.hop_strain, self._settings.hop_strain
        window = state.bandpassed.view(*self._interpolator.needs(first, count))
        state.noise.append(first, self._interpolate(state, window, first))

    def valid(self, state: CouplingState, span: Span) -> Float64:
        """Return the gain without the gate over a span whose hops are computed, shape `(n,)`."""
        rate = self._settings.strain_rate
        return gain_over(span, rate, state.invalid, self._settings.ramp * rate // NS)

    def trim(self, state: CouplingState, step: int, oldest: int, monitored: int) -> None:
        """Drop the samples that no later hop and no block that is still inside needs.

        Args:
            state: the version's streams.
            step: the number of the next hop to compute.
            oldest: the start of the oldest block inside, GPS nanoseconds.
            monitored: index from which on the gate needs the bandpassed prediction.
        """
        settings, schedule = self._settings, self.schedule
        start = step * settings.hop_model
        bandpassed = start + schedule.bandpassed - schedule.settle_in
        predicted = start + schedule.predicted - schedule.geometry.before
        # The carriers are read from the witnesses too, over what the bandpass needs.
        carried = min(predicted, bandpassed) if self._carriers else predicted
        state.standardised.drop_before(carried)
        state.predicted.drop_before(bandpassed)
        low, _ = self._interpolator.needs(step * settings.hop_strain, 1)
        state.bandpassed.drop_before(min(low, monitored))
        state.noise.drop_before(oldest * settings.strain_rate // NS)
        # A block's gain depends on invalid spans up to a ramp before it, rounded to samples: a
        # second is more than any sample.
        near = oldest - settings.ramp - NS
        if state.adaptation is not None:
            near = min(near, state.adaptation.unlearnt)
        state.invalid.drop_before(min(near, monitored * NS // settings.model_rate))
        state.reduced.drop_before(near)
        if self._missing is not None:
            self._missing.trim(state.losses, min(start + self._first_predicted, carried))

    def _bandpass(
        self,
        state: CouplingState,
        prediction: Float64,
        witnesses: Samples | None,
        hop: tuple[int, int, int],
        strain: SpectrumOfSecond,
        losses: Losses,
    ) -> Bandpassed:
        """Return the bandpassed estimate of a hop, from what `Adaptation.bandpassed` is given.

        Instead of the carriers it takes all witnesses, or None where none of them is a carrier.
        """
        if self.adaptation is None or state.adaptation is None:
            total = summed(prediction)
            window = Transformed(total)
            estimate = self.coupling.bandpass.filtered(window)
            return Bandpassed(estimate, hop[0] + self.schedule.settle_in, [window])
        carriers = {} if witnesses is None else {row: witnesses[row] for row in self._carriers}
        if (missing := self._missing) is not None:
            for row, samples in carriers.items():
                carriers[row] = missing.present(losses, row, hop[0], samples)
        return self.adaptation.bandpassed(
            state.adaptation, prediction, list(carriers.values()), hop, state.invalid, strain
        )

    def _adapted(self, state: CouplingState, made: Bandpassed) -> Float64:
        """Return the estimate under its gains."""
        if self.adaptation is None or state.adaptation is None:
            return made.estimate
        return self.adaptation.adapted(state.adaptation, made)

    def _rows(self, resampled: Resampled) -> Float64:
        """Return the coupling's witnesses in the network's order, shape `(witnesses, n)`."""
        rows = [resampled.rows[witness] for witness in self.coupling.witnesses]
        return np.asarray(resampled.samples[rows])

    def _standardise(self, state: CouplingState, rows: Float64, first: int) -> Samples:
        """Return standardised rows, float32; samples that float32 cannot hold count as missing.

        Args:
            state: is told of the spans that these spoil.
            rows: the witnesses, shape `(witnesses, n)`.
            first: index of the first sample at the model rate.
        """
        scaled = self.coupling.predictor.standardise(rows)
        standardised, bad = finite(scaled)
        if bad and self._missing is not None:
            for number, row in enumerate(scaled):
                for low, high in finite(row)[1]:
                    span = (first + low, first + high)
                    self._missing.mark(state.losses, number, *span, reasons.NONFINITE_WITNESS)
            return standardised
        for low, high in bad:
            predicted = self.schedule.geometry.spoilt(first + low, first + high)
            state.invalid.add(*self._spoilt(*predicted), reasons.NONFINITE_WITNESS)
        return standardised

    def _predict_with_rest(
        self,
        state: CouplingState,
        window: Samples,
        first: int,
        losses: Losses,
        told: tuple[int, int] = (-ALWAYS, ALWAYS),
    ) -> Float64:
        """Return a hop of predictions from the witnesses that are there, shape `(rows, n)`.

        Args:
            state: is told of what goes on without a witness, and of what is invalid.
            window: as `_predict`.
            first: as `_predict`.
            losses: what the predictions have to do without.
            told: the span (GPS ns) within which it is told of the former.
        """
        shape = self.schedule.geometry
        count = window.shape[1] - shape.before - shape.after
        found = self._missing and self._missing.parts(losses, first, count)
        if not found:
            return self._predict(state, window, first)
        parts, invalid = found
        made = []
        for missing, network, weight in parts:
            rows, predictor, wanted = window.copy(), self.coupling.predictor, weight > 0
            if network is not None:
                rows[sorted(missing)] = 0.0
                predictor = replace(predictor, network=network)
            made.append(weight * self._predict(state, rows, first, predictor, wanted))
        for number, name in enumerate(self.coupling.witnesses):
            lacking = [part.weight > 0 for part in parts if number in part.missing]
            for low, high in runs(np.any(lacking, axis=0)) if lacking else ():
                start, stop = self._spoilt(first + low, first + high)
                state.reduced.add(max(start, told[0]), min(stop, told[1]), name)
        for loss in invalid:
            start, stop = self._spoilt(loss.first, loss.stop)
            state.invalid.add(start, min(stop, loss.until), loss.reason)
        return np.asarray(sum(made[1:], start=made[0]))

    def _spoilt(self, first: int, stop: int) -> tuple[int, int]:
        """Return the span (GPS ns) of the estimate that rests on predictions `[first, stop)`."""
        return self.schedule.spoilt_by_prediction(self._settings, first, stop)

    def _predict(
        self,
        state: CouplingState,
        window: Samples,
        first: int,
        predictor: Predictor | None = None,
        wanted: Samples | None = None,
    ) -> Float64:
        """Return a prediction, with zeros where it fails; that is invalid and never subtracted.

        It has one row, or one for each part that the network gives.

        Args:
            state: is told of the spans that are invalid.
            window: standardised witnesses, with the samples that the geometry needs on either side.
            first: index of the first sample predicted.
            predictor: that of the witnesses that are there; None for the coupling's.
            wanted: whether each sample is wanted; the others are 0. None: all are.
        """
        shape = self.schedule.geometry
        reason = reasons.NONFINITE
        try:
            raw = (predictor or self.coupling.predictor).predict(window, shape)
        except Exception as error:  # noqa: BLE001  (whatever a network raises, the strain goes out)
            state.error = error
            count = window.shape[1] - shape.before - shape.after
            raw = np.full((max(1, self.coupling.predictor.parts), count), np.nan)
            reason = reasons.MODEL_ERROR
        raw = np.atleast_2d(raw)
        predicted, bad = finite(raw if wanted is None else np.where(wanted, raw, 0.0))
        for low, high in bad:
            state.invalid.add(*self._spoilt(first + low, first + high), reason)
        return predicted

    def _interpolate(self, state: CouplingState, window: Float64, first: int) -> Float64:
        """Return the hop from index `first` on at the strain's rate, shape `(1, n)`.

        The window, shape `(1, m)`, is the bandpassed prediction that the filter needs.
        """
        # This is the last stage before the subtraction, so a prediction so great that a filter's
        # sum overflowed is found here.
        count, rate = self._settings.hop_strain, self._settings.strain_rate
        noise, bad = finite(self._interpolator.apply(window, first, count))
        for low, high in bad:
            start, last = ((first + index) * NS // rate for index in (low, high - 1))
            state.invalid.add(start, last + 1, reasons.NONFINITE)
        return noise
