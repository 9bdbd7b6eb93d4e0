"""Confine a predicted noise to the bands of its coupling, with the settle-in that this costs.

Two filters, both zero-phase, both computed hop by hop over a window padded by `settle_in` samples
on either side, so that an output hop depends on nothing outside its window:

- `fir`: a linear-phase Kaiser filter. Its impulse response is finite, so with the padding equal
  to its half-length there is no truncation error at all (Oppenheim and Schafer, section 7.5).
- `butterworth`: the predecessors' filter, run forward and backward. Its response decays for ever;
  cutting it at the padding loses a stated fraction of its energy.

`settle_in: auto` finds the shortest padding that meets the stated tolerance by computing it from
the filter itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from math import ceil, log10, pi
from typing import Protocol

import numpy as np
import scipy
from scipy import fft

from deepclean.core.block import Float64
from deepclean.core.resample import kaiser_beta

Band = tuple[float, float]

_LONGEST = 60.0
"""Seconds beyond which no settle-in is searched for."""


@dataclass(frozen=True, slots=True)
class BandpassSettings:
    """Configured by `couplings.*.bandpass`; the settle-in in seconds, None for `auto`."""

    filter: str
    order: int
    transition: float
    tolerance: float
    settle_in: Fraction | None


class Bandpass(Protocol):
    """What the engine needs of a bandpass."""

    settle_in: int
    """Samples of input that an output hop needs before its start and after its end."""

    def apply(self, window: Float64) -> Float64:
        """Filter `(n + 2 * settle_in,)` samples into the `(n,)` in the middle."""
        ...

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz)."""
        ...


def make_bandpass(settings: BandpassSettings, bands: Sequence[Band], rate: int) -> Bandpass:
    """Return the bandpass that `settings` describe.

    Args:
        settings: filter, tolerance and settle-in.
        bands: `(low, high)` in Hz, disjoint.
        rate: samples per second of the prediction.

    Raises:
        ValueError: an unknown filter, a band outside (0, rate / 2), or no settle-in of up to
            60 s meets the tolerance.
    """
    for low, high in bands:
        if not 0 < low < high < rate / 2:
            raise ValueError(f"band {low}-{high} Hz is not inside 0 to {rate / 2} Hz")
    if settings.filter == "fir":
        return FirBandpass(settings, bands, rate)
    if settings.filter == "butterworth":
        return ButterworthBandpass(settings, bands, rate)
    raise ValueError(f"unknown bandpass filter {settings.filter!r}: fir or butterworth")


class FirBandpass:
    """Linear-phase FIR; several bands are the sum of one filter each."""

    def __init__(self, settings: BandpassSettings, bands: Sequence[Band], rate: int) -> None:
        self._rate = rate
        if settings.settle_in is None:
            self.transition = settings.transition
            self.settle_in = _shortest_fir(bands, rate, self.transition, settings.tolerance)
        else:
            self.settle_in = max(1, round(settings.settle_in * rate))
            self.transition = _kaiser_transition(self.settle_in, rate, settings.tolerance)
        self.taps = _fir_taps(bands, rate, self.settle_in, self.transition)
        # A hop's window has one length: the taps' transform is a third of the work there.
        self._spectrum = lru_cache(maxsize=2)(partial(fft.rfft, self.taps))

    def apply(self, window: Float64) -> Float64:
        """Filter `(n + 2 * settle_in,)` samples into the `(n,)` in the middle."""
        size = fft.next_fast_len(len(window), real=True)
        # Circular convolution wraps only into the samples that are cut off here.
        spectrum = fft.rfft(window, size) * self._spectrum(size)
        filtered = fft.irfft(spectrum, size)
        return np.asarray(filtered[2 * self.settle_in : len(window)], dtype=np.float64)

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz)."""
        return _fir_response(self.taps, frequencies, self._rate)


class ButterworthBandpass:
    """Butterworth run forward and backward; several bands are the sum of one filter each."""

    def __init__(self, settings: BandpassSettings, bands: Sequence[Band], rate: int) -> None:
        self._rate = rate
        self._filters = [
            scipy.signal.butter(settings.order, band, btype="bandpass", fs=rate, output="sos")
            for band in bands
        ]
        if settings.settle_in is None:
            self.settle_in = max(
                _shortest_padding(sos, rate, settings.tolerance) for sos in self._filters
            )
        else:
            self.settle_in = max(1, round(settings.settle_in * rate))

    def apply(self, window: Float64) -> Float64:
        """Filter `(n + 2 * settle_in,)` samples into the `(n,)` in the middle."""
        # What rings on after the window must come back too: nothing is lost but the inputs there.
        ringing = np.concatenate([window, np.zeros(4 * self.settle_in)])
        total = np.zeros(len(window) - 2 * self.settle_in)
        for sos in self._filters:
            total += _forward_backward(sos, ringing)[self.settle_in : len(window) - self.settle_in]
        return total

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz)."""
        total = np.zeros(len(frequencies))
        for sos in self._filters:
            total += np.abs(scipy.signal.sosfreqz(sos, frequencies, fs=self._rate)[1]) ** 2
        return total


def _fir_taps(bands: Sequence[Band], rate: int, half: int, transition: float) -> Float64:
    """Return `2 * half + 1` taps: windowed ideal bandpasses, cut off half a transition outside.

    The window is the Kaiser window of that length and transition, so that every sample of length
    lowers the ripple.
    """
    lags = np.arange(-half, half + 1)
    ideal = np.zeros(len(lags))
    for low, high in bands:
        for edge, sign in ((high + transition / 2, 1.0), (low - transition / 2, -1.0)):
            cutoff = 2 * min(max(edge, 0.0), rate / 2) / rate
            ideal += sign * cutoff * np.sinc(cutoff * lags)
    attenuation = 7.95 + 2.285 * 2 * half * 2 * pi * transition / rate
    window = np.kaiser(len(lags), kaiser_beta(attenuation))
    return np.asarray(ideal * window, dtype=np.float64)


def _fir_response(taps: Float64, frequencies: Float64, rate: int) -> Float64:
    """Return the zero-phase (real) response of symmetric taps."""
    lags = np.arange(len(taps)) - len(taps) // 2
    phases = np.exp(-2j * pi / rate * np.outer(frequencies, lags))
    return np.asarray((phases @ taps).real, dtype=np.float64)


def _kaiser_transition(half: int, rate: int, tolerance: float) -> float:
    """Return the transition width (Hz) of a Kaiser filter of that half-length (Kaiser 1974)."""
    attenuation = max(-20 * log10(tolerance), 21.0)
    return (attenuation - 7.95) / (2.285 * 2 * half) * rate / (2 * pi)


def _shortest_fir(bands: Sequence[Band], rate: int, transition: float, tolerance: float) -> int:
    """Return the smallest half-length whose measured response meets the tolerance."""
    edges = np.array([edge for band in bands for edge in band])
    beside = (edge for low, high in bands for edge in (low - transition, high + transition))
    stops = np.array([stop for stop in beside if _is_stopped(stop, bands, transition)])

    def meets(half: int) -> bool:
        taps = _fir_taps(bands, rate, half, transition)
        # A grid 16 times finer than the ripples, and the edges themselves.
        size = fft.next_fast_len(16 * len(taps), real=True)
        grid = np.arange(size // 2 + 1) * rate / size
        response = fft.rfft(taps, size) * np.exp(2j * pi * half / size * np.arange(len(grid)))
        passed = np.any([(grid >= low) & (grid <= high) for low, high in bands], axis=0)
        stopped = np.all(
            [(grid <= low - transition) | (grid >= high + transition) for low, high in bands],
            axis=0,
        )
        inside = np.append(response.real[passed], _fir_response(taps, edges, rate))
        outside = np.append(response.real[stopped], _fir_response(taps, stops, rate))
        return bool(max(np.abs(inside - 1).max(), np.abs(outside).max()) <= tolerance)

    return _bisect(meets, ceil(_LONGEST * rate))


def _shortest_padding(sos: Float64, rate: int, tolerance: float) -> int:
    """Return the smallest padding beyond which the response's energy fraction is tolerance**2."""
    seconds = 4.0
    while True:
        count = ceil(seconds * rate)
        impulse = np.zeros(2 * count + 1)
        impulse[count] = 1.0
        energy = _forward_backward(sos, impulse) ** 2
        # A sample at a block's edge lacks one tail only, of a response with two.
        tail = energy[count:][::-1].cumsum()[::-1] / energy.sum()
        # The response must have died inside this window for its total to mean anything.
        if tail[-count // 4] < 1e-4 * tolerance**2:
            # `tail[k]` is what lags from `k` on hold; a padding of `p` keeps the lags up to `p`.
            return max(1, int(np.argmax(tail <= tolerance**2)) - 1)
        seconds *= 2
        if seconds > _LONGEST:
            raise ValueError(f"no settle-in of up to {_LONGEST} s meets tolerance {tolerance}")


def _is_stopped(frequency: float, bands: Sequence[Band], transition: float) -> bool:
    return all(
        frequency <= low - transition or frequency >= high + transition for low, high in bands
    )


def _bisect(meets: Callable[[int], bool], high: int) -> int:
    """Return a value that meets the condition where one less does not: doubling, then halving."""
    low, stop = 0, 1
    while not meets(stop):
        low, stop = stop, stop * 2
        if stop > high:
            raise ValueError(f"no settle-in of up to {_LONGEST} s meets the tolerance")
    while stop - low > 1:
        middle = (low + stop) // 2
        low, stop = (low, middle) if meets(middle) else (middle, stop)
    return stop


def _forward_backward(sos: Float64, samples: Float64) -> Float64:
    """Run the sections forward, then backward, from rest: zero phase, `|H|**2`."""
    forward = scipy.signal.sosfilt(sos, samples)
    return np.asarray(scipy.signal.sosfilt(sos, forward[::-1])[::-1], dtype=np.float64)
