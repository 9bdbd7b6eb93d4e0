"""The gains of one version's estimate, learnt and applied hop by hop (core.adapt).

    bandpassed groups -> spectra, second by second -> knots of the gains -> adapted estimate

A group is an analytic signal that has a complex gain of its own. The first is the model's estimate.
Where the model names carriers, each carrier in the bands is another: a line's coupling and that of
its sidebands need not drift together. Where it names none, the estimate's derivative over the
frequency is the second group, which follows a delay that drifts.

The gains rest on the estimate and the strain before the gain and the gate, and strictly on seconds
before those to which they are applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deepclean.core.adapt.analytic import AnalyticBandpass, Complex, derivative
from deepclean.core.adapt.apply import adapted
from deepclean.core.adapt.knot import Knot
from deepclean.core.adapt.settings import AdaptSettings
from deepclean.core.adapt.spectra import SECONDS, band_bins, transform
from deepclean.core.adapt.tracker import Tracker, TrackerState
from deepclean.core.bandpass import Band, Bandpass
from deepclean.core.block import Float64, Samples
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.state import AdaptationState
from deepclean.core.gain import InvalidSpans
from deepclean.core.time import NS, Span

SpectrumOfSecond = Callable[[int], Complex | None]
"""Returns the strain's transform that begins at a GPS second; None where it is not usable."""


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

    Attributes:
        carriers: the rows of the carriers.
        bins: the bins of a transform in the bands.
    """

    def __init__(
        self,
        settings: AdaptSettings,
        bandpass: Bandpass,
        bands: Sequence[Band],
        carriers: Sequence[int],
        rate: int,
        reach: int,
    ) -> None:
        self.settings = settings
        self.carriers = list(carriers)
        self.bins = band_bins(bands, rate)
        self._rate, self._reach = rate, reach * NS // rate
        self._analytic = AnalyticBandpass(bandpass, rate)
        low, high = min(band[0] for band in bands), max(band[1] for band in bands)
        self._delay: AnalyticBandpass | None = None
        if not self.carriers:
            self._delay = AnalyticBandpass(bandpass, rate, derivative(low, high))
        response = bandpass.response(self.bins / SECONDS)
        others = max(len(self.carriers), 1)
        self._tracker = Tracker(settings, self.bins, response, [1.0] + [0.0] * others)

    def begin(self, instant: int) -> AdaptationState:
        """Return the state of a stream that begins at `instant` (GPS nanoseconds)."""
        return AdaptationState(
            StreamBuffer(len(self._tracker.anchors)), TrackerState(-(-instant // NS))
        )

    def groups(self, prediction: Float64, carriers: Samples) -> Complex:
        """Return the analytic signals of the groups, shape `(groups, n)`.

        Args:
            prediction: shape `(n + 2 * settle_in,)`.
            carriers: the standardised carriers over the same samples, shape `(carriers, ...)`.
        """
        others = [self._analytic.apply(np.asarray(one, dtype=np.float64)) for one in carriers]
        if self._delay is not None:
            others.append(self._delay.apply(prediction))
        return np.stack([self._analytic.apply(prediction), *others])

    def learn(
        self,
        state: AdaptationState,
        groups: Complex,
        first: int,
        invalid: InvalidSpans,
        strain: SpectrumOfSecond,
    ) -> None:
        """Learn from every second that a hop completes.

        Args:
            state: the stream's state, to which the hop is added.
            groups: the analytic signals of the hop, shape `(groups, hop)`.
            first: index of the hop's first sample at the model rate.
            invalid: the spans in which the estimate is invalid.
            strain: the strain's spectra.
        """
        rate = self._rate
        state.groups.append(first, groups.real)
        stop = (first + groups.shape[1]) // rate - SECONDS
        for second in range(state.tracker.next, stop + 1):
            # A span in which the estimate is invalid begins `reach` before the first bandpassed
            # sample that is spoilt. Those that spoil this second are all known by now; of those
            # that begin in its last `reach` some may be, and they do not spoil it.
            end = (second + SECONDS) * NS - self._reach
            spectrum = None if invalid.overlapping(second * NS, end) else strain(second)
            if spectrum is None:
                nothing = np.zeros((len(groups), len(self.bins)), dtype=np.complex128)
                state.tracker = self._tracker.push(
                    state.tracker, second, nothing[0], nothing, usable=False
                )
                continue
            samples = state.groups.read(second * rate, (second + SECONDS) * rate)
            state.tracker = self._tracker.push(
                state.tracker,
                second,
                spectrum[self.bins],
                transform(samples, rate, self.bins),
                usable=True,
            )
        state.groups.drop_before(state.tracker.next * rate)

    def apply(self, state: AdaptationState, groups: Complex, first: int) -> Float64:
        """Return the adapted estimate of some groups, which begin at index `first`."""
        tracker = self._tracker
        noise = adapted(
            groups, first, self._rate, state.tracker.knots, tracker.anchors, self.settings
        )
        return np.asarray(noise.real)


def knots_over(state: AdaptationState | None, span: Span) -> tuple[Knot, ...] | None:
    """Return the gains as of the end of each GPS second that a span touches.

    None where the gains are fixed.
    """
    if state is None:
        return None
    first, last = span.start // NS + 1, -(-span.end // NS)
    return tuple(knot for knot in state.tracker.knots if first <= knot.second <= last)
