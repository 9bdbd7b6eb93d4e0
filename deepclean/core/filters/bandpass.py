"""Confine a predicted noise to the bands of its coupling, with the settle-in that this costs.

There are two filters. Both are zero-phase, and both are computed hop by hop over a window padded by
`settle_in` samples on either side, so an output hop depends on nothing outside its window:

- `fir`: a linear-phase Kaiser filter. Its impulse response is finite, so with the padding equal
  to its half-length there is no truncation error at all (Oppenheim and Schafer, section 7.5).
- `butterworth`: the predecessors' filter, run forward and backward. Its response decays for ever.
  Cutting it at the padding loses a stated fraction of its energy.

With `settle_in: auto` the padding is the shortest that meets the stated tolerance, computed from
the filter itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from math import ceil, pi
from typing import Protocol

import numpy as np
import scipy
from scipy import fft

from deepclean.core.block import Float64
from deepclean.core.filters.kaiser import MOST_ATTENUATION, kaiser_beta, kaiser_transition
from deepclean.core.filters.search import first_met
from deepclean.core.filters.transformed import Transformed

Band = tuple[float, float]

# By Kaiser's formula a transition of 0.1 Hz with a tolerance of 1e-3 settles within 20 s.
_LONGEST = 60.0
"""The longest settle-in, in seconds, that is searched for."""

_FINEST = 1e-9
"""The finest tolerance: a response of a million taps is known to a thousand times less."""


@dataclass(frozen=True, slots=True)
class BandpassSettings:
    """Configured by `couplings.*.bandpass`; the settle-in in seconds, None for `auto`."""

    filter: str
    order: int
    transition: float
    tolerance: float
    settle_in: Fraction | None


class Bandpass(Protocol):
    """The interface of a bandpass."""

    settle_in: int
    """The samples of input that an output hop needs before its start and after its end."""

    def apply(self, window: Float64) -> Float64:
        """Filter a window of shape `(n + 2 * settle_in,)` into the `(n,)` samples in its middle."""
        ...

    def filtered(self, window: Transformed) -> Float64:
        """Filter such a window, of real samples, that other filters read too."""
        ...

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz), in the same shape."""
        ...


def make_bandpass(settings: BandpassSettings, bands: Sequence[Band], rate: int) -> Bandpass:
    """Return the bandpass that `settings` describe.

    A tone in the band survives and one beyond the transition does not, to the tolerance:

    >>> settings = BandpassSettings("fir", 8, transition=6.0, tolerance=1e-3, settle_in=None)
    >>> bandpass = make_bandpass(settings, [(55.0, 65.0)], rate=512)
    >>> bandpass.settle_in
    159
    >>> time = np.arange(512 + 2 * bandpass.settle_in) / 512
    >>> inside, outside = np.cos(2 * pi * 60 * time), np.cos(2 * pi * 72 * time)
    >>> bool(np.abs(bandpass.apply(inside) - inside[159:-159]).max() < 1e-3)
    True
    >>> bool(np.abs(bandpass.apply(outside)).max() < 1e-3)
    True

    Args:
        settings: filter, tolerance and settle-in.
        bands: `(low, high)` in Hz, disjoint.
        rate: samples per second of the prediction.

    Raises:
        ValueError: the filter is unknown, a band is outside (0, rate / 2), or no settle-in of up
            to 60 s meets the tolerance.
    """
    if said := objection(settings, bands, rate):
        raise ValueError(said)
    if settings.filter == "fir":
        return FirBandpass(settings, bands, rate)
    if settings.filter == "butterworth":
        return ButterworthBandpass(settings, bands, rate)
    raise ValueError(f"unknown bandpass filter {settings.filter!r}: fir or butterworth")


def objection(settings: BandpassSettings, bands: Sequence[Band], rate: int) -> str | None:
    """Return why no bandpass can be made, without making one; None where nothing speaks against it.

    >>> settings = BandpassSettings("fir", 8, transition=0.01, tolerance=1e-6, settle_in=None)
    >>> print(objection(settings, [(55.0, 65.0)], rate=512))
    a transition of 0.01 Hz to a tolerance of 1e-06 needs 390 s of data, more than 60 s

    Args:
        settings: filter, tolerance and settle-in.
        bands: `(low, high)` in Hz.
        rate: samples per second of the prediction.
    """
    for low, high in bands:
        if not 0 < low < high < rate / 2:
            return f"band {low}-{high} Hz is not inside 0 to {rate / 2} Hz"
    if settings.tolerance < _FINEST:
        return f"a tolerance of {settings.tolerance:g} is too fine; use at least {_FINEST:g}"
    if settings.filter == "fir" and settings.settle_in is None:
        # By `kaiser_transition` a transition is inversely proportional to the half-length.
        needed = kaiser_transition(rate, rate, settings.tolerance) / settings.transition
        if needed > _LONGEST:
            return (
                f"a transition of {settings.transition:g} Hz to a tolerance of "
                f"{settings.tolerance:g} needs {needed:.0f} s of data, more than {_LONGEST:g} s"
            )
    return None


class FirBandpass:
    """A linear-phase FIR filter. The filter of several bands is the sum of one filter each.

    Args:
        settings: transition, tolerance and settle-in.
        bands: `(low, high)` in Hz, disjoint.
        rate: samples per second.

    Attributes:
        settle_in: half-length of the filter in samples.
        transition: Hz from a band's edge to the stop band.
        taps: the impulse response, shape `(2 * settle_in + 1,)`, symmetric.
    """

    def __init__(self, settings: BandpassSettings, bands: Sequence[Band], rate: int) -> None:
        self._rate = rate
        if settings.settle_in is None:
            self.transition = settings.transition
            self.settle_in = _shortest_fir(bands, rate, self.transition, settings.tolerance)
        else:
            self.settle_in = max(1, round(settings.settle_in * rate))
            self.transition = kaiser_transition(self.settle_in, rate, settings.tolerance)
        self.taps = _fir_taps(bands, rate, self.settle_in, self.transition)
        # A hop's window has one length, so the taps' transform, a third of a hop's work, is kept.
        self._spectrum = lru_cache(maxsize=2)(partial(fft.rfft, self.taps))

    def apply(self, window: Float64) -> Float64:
        """Filter a window of shape `(n + 2 * settle_in,)` into the `(n,)` samples in its middle."""
        return self.filtered(Transformed(window))

    def filtered(self, window: Transformed) -> Float64:
        """Filter such a window that other filters read too."""
        # The taps begin at lag -settle_in but are stored from 0 on, so the convolution comes out
        # settle_in late: window sample m + settle_in, the output m, is at m + 2 settle_in. The
        # convolution is 2 settle_in longer than the window. Its end wraps into the first
        # 2 settle_in samples, which are cut off.
        spectrum = window.spectra[0] * self._spectrum(window.size)
        filtered = fft.irfft(spectrum, window.size)
        return np.asarray(filtered[2 * self.settle_in : window.length], dtype=np.float64)

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz), in the same shape."""
        return _fir_response(self.taps, frequencies, self._rate)


class ButterworthBandpass:
    """A Butterworth filter run forward and backward. Several bands are the sum of one filter each.

    >>> settings = BandpassSettings("butterworth", 4, 6.0, tolerance=1e-3, settle_in=None)
    >>> bandpass = ButterworthBandpass(settings, [(55.0, 65.0)], rate=512)
    >>> bandpass.response(np.array([55.0, 60.0, 65.0])).round(3).tolist()
    [0.5, 1.0, 0.5]

    Args:
        settings: order, tolerance and settle-in.
        bands: `(low, high)` in Hz, disjoint.
        rate: samples per second.

    Attributes:
        settle_in: the padding in samples.
    """

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
        """Filter a window of shape `(n + 2 * settle_in,)` into the `(n,)` samples in its middle."""
        # The forward pass rings on after the window, and the backward pass brings that back. The
        # response falls exponentially: to the tolerance over one settle-in, so to about its fourth
        # power over the four that follow the window here.
        ringing = np.concatenate([window, np.zeros(4 * self.settle_in)])
        total = np.zeros(len(window) - 2 * self.settle_in)
        for sos in self._filters:
            total += _forward_backward(sos, ringing)[self.settle_in : len(window) - self.settle_in]
        return total

    def filtered(self, window: Transformed) -> Float64:
        """Filter such a window that other filters read too."""
        return self.apply(window.samples)

    def response(self, frequencies: Float64) -> Float64:
        """Return the amplitude response at `frequencies` (Hz), in the same shape."""
        # Forward is H, backward is its complex conjugate: together |H|^2, without phase.
        total = np.zeros(len(frequencies))
        for sos in self._filters:
            total += np.abs(scipy.signal.sosfreqz(sos, frequencies, fs=self._rate)[1]) ** 2
        return total


def _fir_taps(bands: Sequence[Band], rate: int, half: int, transition: float) -> Float64:
    """Return the taps of a FIR bandpass, shape `(2 * half + 1,)`, symmetric.

    >>> taps = _fir_taps([(55.0, 65.0)], rate=512, half=160, transition=6.0)
    >>> len(taps), bool(np.array_equal(taps, taps[::-1]))
    (321, True)

    Args:
        bands: `(low, high)` in Hz.
        rate: samples per second.
        half: half-length in samples.
        transition: Hz from a band's edge to the stop band.
    """
    # The ideal lowpass at f_c has the taps
    #     h[n] = (1 / R) integral of exp(2 pi i f n / R) df over [-f_c, f_c] = c sinc(c n),
    # with c = 2 f_c / R. An ideal bandpass is the difference of two. The window smears each edge
    # over a transition, half on either side, so the cut-off is put half a transition outside the
    # band: then the ripple is met at the band's edge and a whole transition beyond it.
    lags = np.arange(-half, half + 1)
    ideal = np.zeros(len(lags))
    for low, high in bands:
        for edge, sign in ((high + transition / 2, 1.0), (low - transition / 2, -1.0)):
            cutoff = 2 * min(max(edge, 0.0), rate / 2) / rate
            ideal += sign * cutoff * np.sinc(cutoff * lags)
    # Kaiser's formula (see `kaiser_transition`), solved for the attenuation: the window belongs to
    # that length and transition, so every sample of length lowers the ripple.
    attenuation = min(7.95 + 2.285 * 2 * half * 2 * pi * transition / rate, MOST_ATTENUATION)
    window = np.kaiser(len(lags), kaiser_beta(attenuation))
    return np.asarray(ideal * window, dtype=np.float64)


def _fir_response(taps: Float64, frequencies: Float64, rate: int) -> Float64:
    """Return the real, zero-phase response of symmetric taps at `frequencies` (Hz)."""
    # H(f) = sum_n h[n] exp(-2 pi i f n / R) over n = -half ... half; the sines cancel.
    lags = np.arange(len(taps)) - len(taps) // 2
    phases = np.exp(-2j * pi / rate * np.outer(frequencies, lags))
    return np.asarray((phases @ taps).real, dtype=np.float64)


def _shortest_fir(bands: Sequence[Band], rate: int, transition: float, tolerance: float) -> int:
    """Return the smallest half-length, in samples, whose measured response meets the tolerance.

    >>> _shortest_fir([(55.0, 65.0)], rate=512, transition=6.0, tolerance=1e-3)
    159
    """
    # Kaiser's formula is a fit to within a few samples, and the ripples of several bands add up, so
    # the response itself is measured.
    edges = np.array([edge for band in bands for edge in band])
    beside = (edge for low, high in bands for edge in (low - transition, high + transition))
    stops = np.array([stop for stop in beside if _is_stopped(stop, bands, transition)])

    def meets(half: int) -> bool:
        taps = _fir_taps(bands, rate, half, transition)
        # The ripples of a filter of N taps are about R / N apart: the grid has 16 points for each.
        # The extremes are often at the edges, which are between its points, and looked at too.
        size = fft.next_fast_len(16 * len(taps), real=True)
        grid = np.arange(size // 2 + 1) * rate / size
        # The factor exp(2 pi i k half / size) undoes the delay by half samples: a real response.
        response = fft.rfft(taps, size) * np.exp(2j * pi * half / size * np.arange(len(grid)))
        passed = np.any([(grid >= low) & (grid <= high) for low, high in bands], axis=0)
        stopped = np.all(
            [(grid <= low - transition) | (grid >= high + transition) for low, high in bands],
            axis=0,
        )
        inside = np.append(response.real[passed], _fir_response(taps, edges, rate))
        outside = np.append(response.real[stopped], _fir_response(taps, stops, rate))
        return bool(max(np.abs(inside - 1).max(), np.abs(outside).max()) <= tolerance)

    found = first_met(meets, ceil(_LONGEST * rate))
    if found is None:
        raise ValueError(f"no settle-in of up to {_LONGEST} s meets the tolerance")
    return found


def _shortest_padding(sos: Float64, rate: int, tolerance: float) -> int:
    """Return the smallest padding, in samples, that cuts off at most `tolerance**2` of the energy.

    The root mean square error that this makes of white noise is `tolerance` of the output's.

    >>> sos = scipy.signal.butter(4, (55.0, 65.0), btype="bandpass", fs=512, output="sos")
    >>> _shortest_padding(sos, rate=512, tolerance=1e-1), _shortest_padding(sos, 512, 1e-3)
    (63, 252)
    """
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
    """Return whether a frequency (Hz) is a transition or more away from every band."""
    return all(
        frequency <= low - transition or frequency >= high + transition for low, high in bands
    )


def _forward_backward(sos: Float64, samples: Float64) -> Float64:
    """Run second-order sections over samples of shape `(n,)` forward, then backward, from rest."""
    forward = scipy.signal.sosfilt(sos, samples)
    return np.asarray(scipy.signal.sosfilt(sos, forward[::-1])[::-1], dtype=np.float64)
