"""The analytic signal of a group: what a complex gain scales and turns.

A complex gain `g = |g| exp(i phi)` on an oscillation `cos(wt)` means `|g| cos(wt + phi)`. This is
`Re(g e)` with the analytic signal `e = cos(wt) + i sin(wt)`. The in-phase part is what the bandpass
makes of the prediction. The quadrature is its Hilbert transform, whose response is `-i` above 0 Hz.

A Hilbert transform alone reaches for ever in both directions. Bandpass and Hilbert transform
together are one filter, and it reaches as far as the bandpass alone: the taps of the bandpass are a
smooth envelope times a cosine, those of the quadrature are the same envelope times a sine. So the
quadrature needs the same window of the prediction and no more future.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from deepclean.core.block import Float64
from deepclean.core.filters.bandpass import Bandpass
from deepclean.core.filters.transformed import Transformed

Complex = NDArray[np.complex128]

Shape = Callable[[Float64], Float64]
"""A factor of the response, as a function of the frequency in Hz."""

_GRID = 8
"""The taps' transform is evaluated on a grid so many times finer than their number needs."""


def derivative(low: float, high: float) -> Shape:
    """Return the shape that follows a drifting delay, for a band from `low` to `high` Hz.

    A delay `tau` multiplies the estimate by `exp(-2 pi i f tau)`. With `f = f0 + df` this is a
    constant phase times `1 - 2 pi i df tau + ...`: a gain on the estimate, and a second gain on the
    estimate times `df`. Here `df` is in units of half the band's width, so the second group is
    about as loud as the first.
    """
    return lambda frequencies: (2 * frequencies - low - high) / (high - low)


class AnalyticBandpass:
    """The bandpass of a coupling, and beside it the same filter turned by 90 degrees.

    Args:
        bandpass: of the coupling; any whose response is real.
        rate: samples per second.
        shape: multiplies the response; None: the bandpass as it is.

    Attributes:
        settle_in: samples of input that are needed before the output and after it: the bandpass's.
    """

    def __init__(self, bandpass: Bandpass, rate: int, shape: Shape | None = None) -> None:
        self.settle_in = bandpass.settle_in
        taps = _impulse_response(bandpass)
        self._exact = bandpass.apply if shape is None else None
        in_phase = taps if shape is None else _taps(taps, rate, shape, 1.0)
        self._taps = np.stack([in_phase, _taps(taps, rate, shape, -1j)])
        # One window length has one transform.
        self._spectra = lru_cache(maxsize=2)(partial(fft.rfft, self._taps))

    def apply(self, window: Float64) -> Complex:
        """Filter `(n + 2 * settle_in,)` real samples into the `(n,)` in the middle.

        Returns:
            The analytic signal. Without a shape its real part is bit for bit what the bandpass
            returns.
        """
        in_phase, quadrature = self.parts(Transformed(window))
        if self._exact is not None:
            in_phase = self._exact(window)
        return np.asarray(in_phase + 1j * quadrature)

    def parts(self, window: Transformed) -> Float64:
        """Filter a window into the samples in its middle.

        Returns:
            The in-phase part and the quadrature, shape `(2, n)`.
        """
        return np.asarray(filtered([(self, window)])[0])

    def products(self, window: Transformed) -> Complex:
        """Return the transforms of the in-phase part and of the quadrature, shape `(2, m)`."""
        taps = self._spectra(window.size)
        real, imaginary = window.spectra
        both = real * taps
        if imaginary is not None:
            # x + i y becomes I(x) + i Q(x) + i (I(y) + i Q(y)).
            both[0] -= imaginary * taps[1]
            both[1] += imaginary * taps[0]
        return np.asarray(both)


def filtered(groups: Sequence[tuple[AnalyticBandpass, Transformed]]) -> Float64:
    """Filter windows of one length, each by its filter, into the samples in their middle.

    Returns:
        The in-phase part and the quadrature of each, shape `(G, 2, n)`.
    """
    (bandpass, window), *_ = groups
    both = np.array([one.products(each) for one, each in groups])
    # Circular convolution wraps only into the samples that are cut off here.
    samples = fft.irfft(both, window.size)[..., 2 * bandpass.settle_in : window.length]
    return np.asarray(samples, dtype=np.float64)


def _impulse_response(bandpass: Bandpass) -> Float64:
    """Return the `2 * settle_in + 1` taps of a bandpass, by what it makes of an impulse."""
    half = bandpass.settle_in
    impulse = np.zeros(4 * half + 1)
    impulse[2 * half] = 1.0
    return bandpass.apply(impulse)


def _taps(taps: Float64, rate: int, shape: Shape | None, turn: complex) -> Float64:
    """Return taps whose response is that of `taps` times the shape times `turn` above 0 Hz."""
    half = len(taps) // 2
    size = fft.next_fast_len(_GRID * len(taps), real=True)
    response = fft.rfft(np.roll(np.pad(taps, (0, size - len(taps))), -half))
    factor = np.full(len(response), turn, dtype=np.complex128)
    if shape is not None:
        factor *= shape(fft.rfftfreq(size, 1 / rate))
    return np.asarray(np.roll(fft.irfft(response * factor, size), half)[: len(taps)])
