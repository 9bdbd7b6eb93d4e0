"""The rates and filters of a closed-form model, designed from the coupling's bands.

Three rates. The *model rate* is what the engine feeds a network with. The *internal rate*, a power
of two below it, is where streams are multiplied and lagged. The *analytic rate* belongs to the fit
alone: there the bands, and nothing else, are left of each feature, as an analytic signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, pi

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Band
from deepclean.core.filters.kaiser import kaiser_beta

Complex = NDArray[np.complex128]

SEGMENT_SECONDS = 2
"""Length of the Hann-windowed segments; they overlap by half."""

BEFORE_SECONDS = 3
"""Data before a stretch's first segment: the longest lag, and what the filters spoil."""

AFTER_SECONDS = 1
"""Data after its last."""

AHEAD = 0.1
"""Seconds that a lag may reach ahead, at most."""

PASS = 0.1
"""Response of the bandpass below which a frequency is left out of the fit."""

_OVERSAMPLING = 7.5
"""Internal rate over the bands' upper edge, at least: room for products and for cubes."""

_SLOWEST = 256
"""Internal rate, at least: the filters' length is in seconds, and so is the look-ahead."""

_LONGEST_STEP = 16
"""Largest decimation: an engine's hop is a multiple of it."""

_ATTENUATION = 60.0
"""Stop band of the filters that are deployed, in dB."""

_SHALLOW = 40.0
"""The same of the slow low-pass below 60 Hz, where each decibel costs milliseconds."""

_ROOM = 1.2
"""Stop over pass band that the wide low-pass has at least; else there is none."""

_SLOW = 0.6
"""Pass band of the slow low-pass over the bands' lower edge, at most."""

_DEEP = 110.0
"""Stop band of those that are used in the fit only: strain has a large dynamic range."""


@dataclass(frozen=True, slots=True, eq=False)
class BandLayout:
    """Rates, filters and frequency bins.

    Args:
        rate: of the model, samples per second.
        decimation: model-rate samples per internal sample.
        analytic_step: internal samples per analytic sample.
        wide: taps at the model rate of the low-pass that a witness stands behind.
        slow: the same of a witness that modulates a carrier.
        out: interpolation from the internal to the model rate.
        strain: low-pass for the strain, at the model rate.
        analytic: complex taps at the internal rate that leave the bands' positive frequencies.
        places: number of each bin in a segment's transform at the analytic rate.
        frequencies: of the bins, in Hz.
        gain: what a feature's transform is multiplied by to stand in the filtered strain.
        value: weight of each bin: the power response of the bandpass. Beside the bands, where the
            bandpass lets some of the estimate through, the estimate is thus held to the coupling.
        inside: whether each bin lies in the bands, edges included.
        quarter: internal samples of an eighth of a period of the bands' centre, at least 1: two
            taps at plus and minus that are a quarter period apart.
        spacing: internal samples between the nodes of a grid of lags.
        ahead: internal samples that a lag may reach ahead.
    """

    rate: int
    decimation: int
    analytic_step: int
    wide: Float64
    slow: Float64
    out: Float64
    strain: Float64
    analytic: Complex
    places: NDArray[np.int64]
    frequencies: Float64
    gain: Float64
    value: Float64
    inside: NDArray[np.bool_]
    quarter: int
    spacing: int
    ahead: int

    @property
    def internal_rate(self) -> int:
        """Samples per second of streams and features."""
        return self.rate // self.decimation

    @property
    def analytic_rate(self) -> int:
        """Samples per second of the analytic signals."""
        return self.internal_rate // self.analytic_step

    @property
    def halves(self) -> dict[str, int]:
        """Half-lengths of the deployed filters, in model-rate samples."""
        return {name: len(getattr(self, name)) // 2 for name in ("wide", "slow", "out")}


def make_layout(
    rate: int,
    bands: Sequence[Band],
    transition: float,
    response: Callable[[Float64], Float64],
    edge: int | None = None,
) -> BandLayout:
    """Return the layout for a coupling.

    Args:
        rate: of the model, samples per second.
        bands: `(low, high)` in Hz.
        transition: Hz beside the bands in which the bandpass falls.
        response: amplitude response of the coupling's bandpass at frequencies in Hz.
        edge: model-rate samples that the model may look ahead, if the lags of no delay leave any of
            them; None for no such limit.
    """
    low, high = min(band[0] for band in bands), max(band[1] for band in bands)
    bottom, top = max(low - transition, 0.0), min(high + transition, rate / 2)
    step = _step(rate, max(_OVERSAMPLING * high, _SLOWEST), _LONGEST_STEP)
    internal = rate // step
    width = top - bottom
    analytic_step = _step(internal, 1.5 * width + 8, internal)
    analytic_rate = internal // analytic_step
    # What folds into the bands where the rate falls: all above the internal rate less their edge.
    folding = internal - top
    strain = _lowpass(top, folding, rate, _DEEP) if step > 1 else np.ones(1)
    out = _lowpass(top, folding, rate, _ATTENUATION) if step > 1 else np.ones(1)
    # A product of two wide streams reaches twice their highest frequency.
    wide = np.ones(1)
    if folding / 2 > _ROOM * top:
        wide = _lowpass(top, folding / 2, rate, _ATTENUATION)
    # A carrier in the bands brings into them what a slow witness has below their width, which is
    # wanted, and what it has at the sum of two of their frequencies, which is not.
    slow_pass = min(high - low, _SLOW * low)
    slow_stop = max(min(2 * low, folding), slow_pass + 8)
    slow = _lowpass(slow_pass, slow_stop, rate, _ATTENUATION if slow_stop > 60 else _SHALLOW)
    analytic = _analytic((bottom + top) / 2, width / 2, analytic_rate, internal)
    # Bins of the segments' transform; at the analytic rate a frequency stands at its remainder.
    numbers = np.arange(ceil(bottom * SEGMENT_SECONDS), int(top * SEGMENT_SECONDS) + 1)
    frequencies = numbers / SEGMENT_SECONDS
    passed = response(frequencies)
    used = passed >= PASS
    numbers, frequencies = numbers[used], frequencies[used]
    gain = _response(strain, frequencies, rate) * _response(out, frequencies, rate)
    inside = np.any([(frequencies >= a) & (frequencies <= b) for a, b in bands], axis=0)
    centre = (low + high) / 2
    # A band of width B needs complex samples 1/B apart; a half more, and another half, for its soft
    # edges and the grid's ends.
    spacing = internal / (1.5 * 1.5 * (high - low + 2))
    quarter = max(1, round(internal / (8 * centre)))
    ahead = int(AHEAD * internal) + 2 * quarter
    if edge is not None:
        filters = max(len(wide), len(slow)) // 2 + len(_padded(out, step)) // 2
        ahead = min(ahead, max((edge - filters) // step, 2 * quarter))
    return BandLayout(
        rate=rate,
        decimation=step,
        analytic_step=analytic_step,
        wide=wide,
        slow=slow,
        out=_padded(out, step) * step,
        strain=strain,
        analytic=analytic,
        places=numbers % (SEGMENT_SECONDS * analytic_rate),
        frequencies=frequencies,
        gain=gain,
        value=passed[used] ** 2,
        inside=inside,
        quarter=quarter,
        spacing=max(1, int(spacing)),
        ahead=ahead,
    )


def _step(rate: int, slowest: float, longest: int) -> int:
    """Return the largest power of two that divides the rate and leaves at least `slowest`."""
    step = 1
    while rate % (2 * step) == 0 and rate / (2 * step) >= slowest and 2 * step <= longest:
        step *= 2
    return step


def _lowpass(passed: float, stopped: float, rate: int, attenuation: float) -> Float64:
    """Return a Kaiser-windowed sinc of gain 1 (Oppenheim and Schafer, section 7.5)."""
    stopped = min(stopped, rate / 2)
    half = ceil((attenuation - 7.95) / (2.285 * 2 * 2 * pi * (stopped - passed) / rate))
    lags = np.arange(-half, half + 1)
    cutoff = (passed + stopped) / rate
    taps = np.sinc(cutoff * lags) * np.kaiser(len(lags), kaiser_beta(attenuation))
    return np.asarray(taps / taps.sum(), dtype=np.float64)


def _padded(taps: Float64, step: int) -> Float64:
    """Return the taps with zeros at either end, so that the half-length is a multiple of `step`."""
    fill = -(len(taps) // 2) % step
    return np.pad(taps, fill)


def _analytic(centre: float, half_width: float, analytic_rate: int, internal: int) -> Complex:
    """Return taps that pass one side's frequencies near `centre` and stop all that folds there.

    Frequencies farther than `analytic_rate - half_width` from the centre fold into the bands.
    """
    taps = _lowpass(half_width, analytic_rate - half_width, internal, _DEEP)
    lags = np.arange(len(taps)) - len(taps) // 2
    return np.asarray(taps * np.exp(2j * pi * centre / internal * lags), dtype=np.complex128)


def _response(taps: Float64, frequencies: Float64, rate: int) -> Float64:
    """Return the zero-phase response of symmetric taps."""
    lags = np.arange(len(taps)) - len(taps) // 2
    return np.asarray(np.cos(2 * pi / rate * np.outer(frequencies, lags)) @ taps)
