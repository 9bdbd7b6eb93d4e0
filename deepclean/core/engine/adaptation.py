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
before those to which they are applied.

While an operator freezes them (core.engine.controls) the knots from the first at or after the
freeze's second on have the gains of that one. Learning goes on beside that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex, derivative
from deepclean.core.adapt.apply import adapted
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import SECONDS, band_bins, transform
from deepclean.core.adapt.tracker import Tracker, TrackerState
from deepclean.core.bandpass import Band, Bandpass
from deepclean.core.block import Float64, Samples, Version
from deepclean.core.buffer import StreamBuffer
from deepclean.core.control import Freeze
from deepclean.core.engine.state import AdaptationState, HeldGains, HeldKey
from deepclean.core.gain import InvalidSpans
from deepclean.core.time import NS, Span

SpectrumOfSecond = Callable[[int], Complex | None]
"""Returns the strain's transform that begins at a GPS second; None where it is not usable."""


class GroupGains:
    """Learns and applies the gains of some groups.

    Args:
        tracker: of the groups.
        rate: the model rate, Hz.
        reach: the samples at the model rate by which a spoilt stretch of the estimate is stated
            longer than what is learnt from is spoilt.
        response: of the bandpass at the tracker's bins, for groups before the bandpass; None for
            those behind it.
    """

    def __init__(
        self, tracker: Tracker, rate: int, reach: int, response: Float64 | None = None
    ) -> None:
        self.tracker, self.response = tracker, response
        self.rate, self._reach = rate, reach * NS // rate

    def begin(self, instant: int) -> AdaptationState:
        """Return the state of a stream that begins at `instant` (GPS nanoseconds)."""
        return AdaptationState(
            StreamBuffer(len(self.tracker.anchors)), TrackerState(-(-instant // NS))
        )

    def learn(
        self,
        state: AdaptationState,
        groups: Float64,
        first: int,
        invalid: InvalidSpans,
        strain: SpectrumOfSecond,
    ) -> None:
        """Learn from every second that a hop completes.

        Args:
            state: the stream's state, to which the hop is added.
            groups: the groups over the hop, real, shape `(groups, hop)`.
            first: index of the hop's first sample at the model rate.
            invalid: the spans in which the estimate is invalid.
            strain: the strain's spectra.
        """
        rate = self.rate
        state.groups.append(first, groups)
        stop = (first + groups.shape[1]) // rate - SECONDS
        for second in range(state.tracker.next, stop + 1):
            # A span in which the estimate is invalid begins `reach` before the first bandpassed
            # sample that is spoilt. Those that spoil this second are all known by now; of those
            # that begin in its last `reach` some may be, and they do not spoil it.
            end = (second + SECONDS) * NS - self._reach
            spectrum = None if invalid.overlapping(second * NS, end) else strain(second)
            if spectrum is None:
                nothing = np.zeros((len(groups), len(self.tracker.bins)), dtype=np.complex128)
                state.tracker = self.tracker.push(
                    state.tracker, second, nothing[0], nothing, usable=False
                )
                continue
            bins = self.tracker.bins
            samples = state.groups.read(second * rate, (second + SECONDS) * rate)
            spectra = transform(samples, rate, bins)
            state.tracker = self.tracker.push(
                state.tracker,
                second,
                spectrum[bins],
                spectra if self.response is None else spectra * self.response,
                usable=True,
            )
        state.groups.drop_before(state.tracker.next * rate)
        self._hold(state)

    def apply(self, state: AdaptationState, groups: Complex | Float64, first: int) -> Complex:
        """Return the sum of some groups under their gains; they begin at index `first`."""
        tracker, last = self.tracker, (first + groups.shape[1]) // self.rate
        # From the knot at or before the first sample to the one at or after the last.
        cadence = tracker.settings.cadence
        knots = _knots_in_force(state, first // self.rate - cadence, last + cadence)
        return adapted(groups, first, self.rate, knots, tracker.anchors, tracker.settings)

    def _hold(self, state: AdaptationState) -> None:
        """Note the gains that a freeze holds as soon as they are known."""
        settings = self.tracker.settings
        for freeze in state.freezes:
            if freeze.start in state.held:
                continue
            second = -(-freeze.start // settings.cadence) * settings.cadence
            known = [knot for knot in state.tracker.knots if knot.second == second]
            if not known and state.tracker.next + settings.lag > second:
                # The stream began too late for that knot: what the freeze holds is the anchors.
                anchors = self.tracker.anchors.astype(np.complex128)
                none = np.zeros((1, len(anchors)), dtype=np.complex128)
                known = [Knot(second, anchors, HELD, none[0].real, 0.0, none)]
            state.held.update((freeze.start, knot) for knot in known)


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
        self.bins = band_bins(bands, rate)
        self._analytic = AnalyticBandpass(bandpass, rate)
        low, high = min(band[0] for band in bands), max(band[1] for band in bands)
        self._delay: AnalyticBandpass | None = None
        if not self.carriers:
            self._delay = AnalyticBandpass(bandpass, rate, derivative(low, high))
        response = bandpass.response(self.bins / SECONDS)
        others = max(len(self.carriers), 1)
        tracker = Tracker(settings, self.bins, response, [1.0] + [0.0] * others)
        self._gains = GroupGains(tracker, rate, reach)
        self._parts: GroupGains | None = None
        if parts and settings.features is not None:
            # The gains at a sample are mixed with those of samples so far after it.
            if settings.features.guard * rate <= bandpass.settle_in + reach:
                raise ValueError("the guard of the features' gains is shorter than the filters")
            slow = Tracker(settings.features, self.bins, response, [1.0] * parts)
            self._parts = GroupGains(slow, rate, reach, response)

    def begin(self, instant: int) -> AdaptationState:
        """Return the state of a stream that begins at `instant` (GPS nanoseconds)."""
        state = self._gains.begin(instant)
        state.features = None if self._parts is None else self._parts.begin(instant)
        return state

    def estimate(
        self,
        state: AdaptationState,
        prediction: Float64,
        carriers: Samples,
        hop: tuple[int, int, int],
        invalid: InvalidSpans,
        strain: SpectrumOfSecond,
    ) -> Float64:
        """Return the bandpassed and adapted estimate, after learning from a hop, shape `(n,)`.

        Args:
            state: the stream's state, to which the hop is added.
            prediction: the estimate before the bandpass, or its parts, shape
                `(rows, n + 2 * settle_in)`.
            carriers: the standardised carriers over the same samples, shape `(carriers, ...)`.
            hop: the index of the prediction's first sample at the model rate, of the hop's first
                sample, and of the one after its last.
            invalid: the spans in which the estimate is invalid.
            strain: the strain's spectra.
        """
        first, start, stop = hop
        total: Float64 | Complex = summed(prediction)
        if self._parts is not None and state.features is not None:
            inside = prediction[:, start - first : stop - first]
            self._parts.learn(state.features, inside, start, invalid, strain)
            total = self._parts.apply(state.features, prediction, first)
        groups = self._groups(total, carriers)
        first += self._analytic.settle_in
        inside = groups[:, start - first : stop - first].real
        self._gains.learn(state, inside, start, invalid, strain)
        return np.asarray(self._gains.apply(state, groups, first).real)

    def _groups(self, prediction: Float64 | Complex, carriers: Samples) -> Complex:
        """Return the analytic signals of the groups, shape `(groups, n)`.

        Args:
            prediction: shape `(n + 2 * settle_in,)`; its imaginary part is what gains have turned.
            carriers: the standardised carriers over the same samples, shape `(carriers, ...)`.
        """
        groups = [_analytic(self._analytic, prediction)]
        groups += [self._analytic.apply(np.asarray(one, dtype=np.float64)) for one in carriers]
        if self._delay is not None:
            groups.append(_analytic(self._delay, prediction))
        return np.stack(groups)


def summed(prediction: Float64) -> Float64:
    """Return the sum of the rows of a prediction; one row is returned as it is."""
    return prediction[0] if len(prediction) == 1 else np.asarray(prediction.sum(axis=0))


def _analytic(bandpass: AnalyticBandpass, prediction: Float64 | Complex) -> Complex:
    """Return the analytic signal of `sum_f g_f x_f`, with real `x_f` and complex gains `g_f`.

    The gains change slowly, so it is the analytic signal of `sum_f Re(g_f) x_f` plus `i` times that
    of `sum_f Im(g_f) x_f`.
    """
    analytic = bandpass.apply(prediction.real)
    if np.iscomplexobj(prediction):
        analytic += 1j * bandpass.apply(prediction.imag)
    return analytic


def knots_over(state: AdaptationState | None, span: Span) -> tuple[Knot, ...] | None:
    """Return the gains as of the end of each GPS second that a span touches.

    None where the gains are fixed.
    """
    if state is None:
        return None
    return _knots_in_force(state, span.start // NS + 1, -(-span.end // NS))


def _knots_in_force(state: AdaptationState, first: int, last: int) -> tuple[Knot, ...]:
    """Return the knots from one GPS second to another, those in a freeze with what it holds."""
    found = {knot.second: knot for knot in state.tracker.knots if first <= knot.second <= last}
    for freeze in state.freezes:
        held = state.held.get(freeze.start)
        if held is not None:
            seconds = range(max(first, held.second), min(last, freeze.stop) + 1)
            found |= {second: replace(held, second=second) for second in seconds}
    return tuple(found[second] for second in sorted(found))


def set_freezes(
    state: AdaptationState,
    freezes: tuple[Freeze, ...],
    version: Version,
    held: Mapping[HeldKey, HeldGains],
) -> None:
    """Tell the gains of a version of the freezes, and of what they are known to hold."""
    for features, part in _parts(state):
        part.freezes = freezes
        for freeze in freezes:
            known = held.get((version, features, freeze.start))
            if known is not None:
                part.held[freeze.start] = known.knot


def held_gains(state: AdaptationState | None, version: Version) -> Iterator[HeldGains]:
    """Yield the gains of a version that its freezes hold."""
    for features, part in _parts(state):
        for start, knot in part.held.items():
            yield HeldGains(version, features, start, knot)


def _parts(state: AdaptationState | None) -> Iterator[tuple[bool, AdaptationState]]:
    """Yield the states of a version's gains, and whether they are those of its features."""
    if state is not None:
        yield False, state
        if state.features is not None:
            yield True, state.features
