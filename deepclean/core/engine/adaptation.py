"""The gains of one version's estimate, learnt and applied hop by hop (core.adapt).

    bandpassed groups -> spectra, second by second -> knots of the gains -> adapted estimate

A group is an analytic signal that has a complex gain of its own. The first is the model's estimate.
Where the model names carriers, each carrier in the bands is another: a line's coupling and that of
its sidebands need not drift together. Where it names none, the estimate's derivative over the
frequency is the second group, which follows a delay that drifts.

Where the network gives its estimate in parts, each part has a gain too, learnt over minutes. These
gains come first: the parts under them make up the estimate, which is then bandpassed.

    parts -> spectra -> knots -> sum of the parts under their gains -> bandpass -> groups, as above

The gains rest on the estimate and the strain before the gain and the gate, and strictly on seconds
before those to which they are applied. All versions learn a second together (`learn_together`),
which costs a small part of what it costs one by one.

While an operator freezes them (core.engine.freezing) the knots from the first at or after the
freeze's second on have the gains of that one. Learning goes on beside that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex, derivative
from deepclean.core.adapt.apply import adapted, departed_noise, departures
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import SECONDS, band_bins, transform, transform_with_slope
from deepclean.core.adapt.tracker import Pushed, Tracker, TrackerState, push_all
from deepclean.core.block import Float64, Samples
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.freezing import hold, knots_around
from deepclean.core.engine.state import AdaptationState
from deepclean.core.filters.bandpass import Band, Bandpass
from deepclean.core.filters.transformed import Transformed
from deepclean.core.gain import InvalidSpans
from deepclean.core.time import NS

SpectrumOfSecond = Callable[[int], Complex | None]
"""Returns the strain's transform that begins at a GPS second; None where it is not usable."""

Spectra = Callable[[Float64], Complex]
"""Returns the groups' transforms, shape `(G, B)`, of two seconds of what a buffer holds."""


_AS_IT_IS = np.ones((1, 1, 1), dtype=np.complex128)
"""The gain 1 of one group of one window."""


class Gains(NamedTuple):
    """How the gains of some groups are learnt.

    Args:
        tracker: of the groups.
        spectra: of the groups.
        rate: the model rate, Hz.
        reach: nanoseconds by which a spoilt stretch of the estimate is stated longer than what is
            learnt from is spoilt.
    """

    tracker: Tracker
    spectra: Spectra
    rate: int
    reach: int

    def seen(
        self,
        state: AdaptationState,
        second: int,
        invalid: InvalidSpans,
        strain: SpectrumOfSecond,
    ) -> tuple[Complex, Complex] | None:
        """Return the transforms of strain and groups from a GPS second on; None if not usable."""
        # A span in which the estimate is invalid begins `reach` before the first bandpassed
        # sample that is spoilt. Those that spoil this second are all known by now; of those
        # that begin in its last `reach` some may be, and they do not spoil it.
        end = (second + SECONDS) * NS - self.reach
        if invalid.overlapping(second * NS, end) or (spectrum := strain(second)) is None:
            return None
        samples = state.groups.view(second * self.rate, (second + SECONDS) * self.rate)
        return spectrum[self.tracker.bins], self.spectra(samples)


class Lesson(NamedTuple):
    """One version's gains that are to learn from all that was added to their buffer.

    Args:
        gains: that learn.
        state: the stream's state.
        stop: index after the last sample in the buffer.
        invalid: the spans in which the estimate is invalid.
    """

    gains: Gains
    state: AdaptationState
    stop: int
    invalid: InvalidSpans

    @property
    def due(self) -> bool:
        """Whether the buffer holds another second."""
        return self.state.tracker.next <= self.stop // self.gains.rate - SECONDS


def learn_together(lessons: Sequence[Lesson], strain: SpectrumOfSecond) -> None:
    """Learn from every second that is complete.

    Args:
        lessons: of several versions.
        strain: the strain's spectra.
    """
    while due := [lesson for lesson in lessons if lesson.due]:
        pushed = []
        for gains, state, _, invalid in due:
            second = state.tracker.next
            seen = gains.seen(state, second, invalid, strain)
            pushed.append(Pushed(gains.tracker, state.tracker, second, seen))
        for lesson, tracker in zip(due, push_all(pushed), strict=True):
            lesson.state.tracker = tracker
    for gains, state, *_ in lessons:
        state.groups.drop_before(state.tracker.next * gains.rate)
        hold(gains.tracker, state)


@dataclass(frozen=True, slots=True, eq=False)
class Bandpassed:
    """A hop's estimate before it is adapted, with what the groups are made of.

    Args:
        estimate: bandpassed, shape `(n,)`.
        first: index of its first sample.
        windows: the estimate before the bandpass, shape `(n + 2 * settle_in,)`, whose imaginary
            part is what gains have turned, and the standardised carriers over the same samples.
    """

    estimate: Float64
    first: int
    windows: Sequence[Transformed]


class Adaptation:
    """Learns and applies the gains of one version.

    Args:
        settings: the windows and bounds of the gains.
        bandpass: the coupling's bandpass.
        bands: the bands `(low, high)` in Hz.
        carriers: the rows of the witnesses that are carriers, in the network's order.
        rate: the model rate, Hz.
        reach: the samples at the model rate by which a spoilt stretch of the estimate is stated
            longer than the bandpassed prediction is spoilt: the interpolation's half-length.
        parts: the number of parts in which the network gives its estimate; 0 where it gives the
            estimate itself.

    Attributes:
        carriers: the rows of the carriers.
        bins: the bins of a transform in the bands.

    Raises:
        ValueError: there are no bands, they hold too few bins for so many gains, or the filters
            reach further than the gains of the parts allow.
    """

    def __init__(
        self,
        settings: AdaptSettings,
        bandpass: Bandpass,
        bands: Sequence[Band],
        carriers: Sequence[int],
        rate: int,
        reach: int,
        parts: int = 0,
    ) -> None:
        if not bands:
            raise ValueError("a coupling whose gains are learnt needs its bands")
        self.carriers = list(carriers)
        bins = self.bins = band_bins(bands, rate)
        self._rate = rate
        self._bandpass = bandpass
        band = min(low for low, _ in bands), max(high for _, high in bands)
        shapes = (None,) if self.carriers else (None, derivative(*band))
        self._analytic = AnalyticBandpass(bandpass, rate, *shapes)
        response = bandpass.response(bins / SECONDS)
        others = max(len(self.carriers), 1)
        tracker = Tracker(settings, bins, response, [1.0] + [0.0] * others)

        def spectra(samples: Float64) -> Complex:
            if self.carriers:
                return transform(samples, rate, bins)
            return transform_with_slope(samples[0], rate, bins, band)

        late = reach * NS // rate
        self._gains = Gains(tracker, spectra, rate, late)
        self._parts: Gains | None = None
        if parts and settings.features is not None:
            # The gains at a sample are mixed with those of samples so far after it.
            if settings.features.guard * rate <= bandpass.settle_in + reach:
                raise ValueError("the guard of the features' gains is shorter than the filters")
            slow = Tracker(settings.features, bins, response, [1.0] * parts)
            self._parts = Gains(
                slow, lambda samples: transform(samples, rate, bins) * response, rate, late
            )

    def begin(self, instant: int) -> AdaptationState:
        """Return the state of a stream that begins at `instant` (GPS nanoseconds)."""
        first = TrackerState(-(-instant // NS))
        state = AdaptationState(StreamBuffer(1 + len(self.carriers)), first)
        if self._parts is not None:
            features = StreamBuffer(len(self._parts.tracker.anchors))
            state.features = AdaptationState(features, first)
        return state

    def bandpassed(
        self,
        state: AdaptationState,
        prediction: Float64,
        carriers: Sequence[Samples],
        hop: tuple[int, int, int],
        invalid: InvalidSpans,
        strain: SpectrumOfSecond,
    ) -> Bandpassed:
        """Bandpass an estimate. The gains of its parts learn from the hop before.

        Args:
            state: the stream's state, to which the hop is added.
            prediction: the estimate before the bandpass, or its parts, shape
                `(rows, n + 2 * settle_in)`.
            carriers: the standardised carriers over the same samples, one by one.
            hop: the index of the prediction's first sample at the model rate, of the hop's first
                sample, and of the one after its last.
            invalid: the spans in which the estimate is invalid.
            strain: the strain's spectra.
        """
        first, start, stop = hop
        total: Float64 | Complex = summed(prediction)
        if self._parts is not None and state.features is not None:
            state.features.groups.append(start, prediction[:, start - first : stop - first])
            learn_together([Lesson(self._parts, state.features, stop, invalid)], strain)
            tracker = self._parts.tracker
            knots = knots_around(state.features, tracker, first, prediction.shape[1], self._rate)
            total = adapted(prediction, first, self._rate, knots, tracker.anchors, tracker.settings)
        first += self._analytic.settle_in
        window = Transformed(total)
        others = [Transformed(one.astype(np.float64)) for one in carriers]
        if np.iscomplexobj(total):
            (estimate,) = self._analytic.noise([window], _AS_IT_IS)
        else:
            estimate = self._bandpass.filtered(window)
        rows = [estimate, *(self._bandpass.filtered(one) for one in others)]
        groups = np.stack(rows) if others else estimate[None]
        state.groups.append(start, groups[:, start - first : stop - first])
        return Bandpassed(estimate, first, [window, *others])

    def last_knot(self, index: int) -> int:
        """Return the index of the last knot of the gains at or before a sample's index."""
        step = self._gains.tracker.settings.cadence * self._rate
        return index // step * step

    def lesson(self, state: AdaptationState, stop: int, invalid: InvalidSpans) -> Lesson:
        """Return what the gains have to learn up to the sample of index `stop`."""
        return Lesson(self._gains, state, stop, invalid)

    def adapted(self, state: AdaptationState, made: Bandpassed) -> Float64:
        """Return the adapted estimate, from the gains that are known, shape `(n,)`."""
        tracker, estimate = self._gains.tracker, made.estimate
        found = departures(
            made.first,
            len(estimate),
            self._rate,
            knots_around(state, tracker, made.first, len(estimate), self._rate),
            tracker.anchors,
            tracker.settings,
        )
        if not found.ends.any():
            return estimate
        # Each carrier is a group, or the one window has them all.
        gains = found.ends.reshape(len(found.ends), len(made.windows), -1)
        return estimate + departed_noise(self._analytic.noise(made.windows, gains), found)


def summed(prediction: Float64) -> Float64:
    """Return the sum of the rows of a prediction; one row is returned as it is."""
    return prediction[0] if len(prediction) == 1 else np.asarray(prediction.sum(axis=0))
