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
        shapes: each makes a group of a window, and multiplies its response; None: the bandpass as
            it is, which is also what none makes.

    Attributes:
        settle_in: samples of input that are needed before the output and after it: the bandpass's.
    """

    def __init__(self, bandpass: Bandpass, rate: int, *shapes: Shape | None) -> None:
        self.settle_in = bandpass.settle_in
        taps, shapes = _impulse_response(bandpass), shapes or (None,)
        self._exact = bandpass.apply if shapes[0] is None else None
        both = []
        for shape in shapes:
            both += [taps if shape is None else _taps(taps, rate, shape, 1.0)]
            both += [_taps(taps, rate, shape, -1j)]
        # One window length has one transform.
        self._spectra = lru_cache(maxsize=2)(partial(fft.rfft, np.stack(both)))

    def apply(self, window: Float64) -> Complex:
        """Filter `(n + 2 * settle_in,)` real samples into the `(n,)` in the middle.

        Returns:
            The analytic signal of the first group. Without a shape its real part is bit for bit
            what the bandpass returns.
        """
        # Re(e) and Re(-i e).
        turns = np.array([1, -1j])[:, None, None]
        in_phase, quadrature = self.noise([Transformed(window)], turns)
        if self._exact is not None:
            in_phase = self._exact(window)
        return np.asarray(in_phase + 1j * quadrature)

    def noise(self, windows: Sequence[Transformed], gains: Complex) -> Float64:
        """Return the noise `sum_g Re(gain_g e_g)` in the middle of windows, for `K` sets of gains.

        What a gain makes of a group is a filter too, so there is one transform back for each set of
        gains, however many groups there are.

        Args:
            windows: of one length, `n + 2 * settle_in`.
            gains: of the groups of each window, shape `(K, windows, shapes)`; of the first shapes
                only where they are fewer.

        Returns:
            Shape `(K, n)`.
        """
        each = zip(windows, gains.swapaxes(0, 1), strict=True)
        first, *others = (self._noise(window, under) for window, under in each)
        # Circular convolution wraps only into the samples that are cut off here.
        samples = fft.irfft(sum(others, start=first), windows[0].size)
        kept = samples[:, 2 * self.settle_in : windows[0].length]
        return np.asarray(kept, dtype=np.float64)

    def _noise(self, window: Transformed, gains: Complex) -> Complex:
        """Return the transforms of the noise of one window, before the cut, shape `(K, m)`."""
        real, imaginary = window.spectra
        noise = self._filters(gains, window.size) * real
        if imaginary is not None:
            # The analytic signal of x + i y is that of x and i times that of y.
            noise += self._filters(1j * gains, window.size) * imaginary
        return noise

    def _filters(self, gains: Complex, size: int) -> Complex:
        """Return the filters' transforms for gains of shape `(K, shapes)`, shape `(K, m)`."""
        # Re(g e) = Re g Re e - Im g Im e.
        weights = gains.conj().view(np.float64)
        taps = self._spectra(size)[: weights.shape[1]].view(np.float64)
        return np.asarray((weights @ taps).view(np.complex128))


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
