"""Spectra: transforms and densities of stretches of a stream, the bins of bands, and ASD ratios.

The gate, the validation and the witness search transform stretch by stretch (`transform`,
`density`) and average as they need. A whole stretch of strain has one density (`asd`), and
`CrossSpectra` sums the products of several streams' transforms. Frequencies are in Hz, densities in
squares of the samples' unit per Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import fft

from deepclean.core.block import Float64, Samples
from deepclean.core.filters.bandpass import Band
from deepclean.core.time import NS

Complex = NDArray[np.complex128]

FFT_SECONDS = 2
"""Length of the transforms: half a hertz of resolution resolves a line's sidebands."""

SEGMENT = FFT_SECONDS * NS
"""That in nanoseconds."""

LOWEST = 10.0
"""Hz below which the strain is not calibrated, and not looked at."""

# w(t) = (1 - cos 2 pi t / T) / 2, so the mean of w^2 is (1 + 1/2) / 4.
_HANN_POWER = 3 / 8
"""Mean square of the Hann window."""


def transform(samples: Float64, rate: int, stop: float, *, overwrite: bool = False) -> Complex:
    """Return the Fourier transform of Hann-windowed samples, in units of the samples per Hz.

    Streams of different rates that hold the same signal have the same transform: the sum over the
    samples, divided by the rate, approximates the integral over time.

    >>> [abs(transform(np.ones(rate), rate, 1.0)).round(12).tolist() for rate in (8, 64)]
    [[0.5, 0.25], [0.5, 0.25]]

    Args:
        samples: shape `(..., n)`.
        rate: samples per second.
        stop: Hz of the highest bin, at most half the rate.
        overwrite: whether the samples are needed no more, which saves a copy.

    Returns:
        Shape `(..., bins)`, from 0 Hz in steps of `rate / n`.
    """
    count = samples.shape[-1]
    bins = int(stop * count / rate) + 1
    windowed = np.multiply(samples, _hann(count, rate), out=samples if overwrite else None)
    if count % 2 or bins > count // 4 + 1:
        return np.asarray(fft.rfft(windowed)[..., :bins])
    # Where only the lower half of the bins is wanted, the even and the odd samples are transformed
    # by themselves: X(k) = E(k) + exp(-2 pi i k / n) O(k). Two rows at once take as long as one,
    # and half as many samples fit into the processor's cache.
    halves = fft.rfft(windowed.reshape(*samples.shape[:-1], -1, 2).swapaxes(-1, -2))[..., :bins]
    return np.asarray(halves[..., 0, :] + halves[..., 1, :] * _turns(count, bins))


@lru_cache(maxsize=8)
def _turns(count: int, bins: int) -> Complex:
    """Return `exp(-2 pi i k / n)` for each bin `k` of a transform of `n` samples."""
    return np.asarray(np.exp(-2j * np.pi * np.arange(bins) / count))


@lru_cache(maxsize=8)
def _hann(count: int, rate: int) -> Float64:
    """Return a Hann window of `count` samples, times the time from one to the next in seconds."""
    return np.asarray((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)) / rate)


def density(spectrum: Complex, duration: int) -> Float64:
    """Return the one-sided power spectral density of one transform.

    A constant of 1 has twice its power there, as one-sided densities have at 0 Hz:

    >>> density(transform(np.ones(64), 64, 1.0), NS).round(12).tolist()
    [1.333333333333, 0.333333333333]

    Args:
        spectrum: as `transform` returns it, any shape.
        duration: of what was transformed, nanoseconds.
    """
    # The power at positive and negative frequencies, over the duration and the window's power.
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power * (2 * NS / (duration * _HANN_POWER)))


def median_bias(count: int) -> float:
    """Return the expected median of `count` exponentially distributed numbers over their mean.

    It is 1 - 1/2 + 1/3 - ... +- 1/n for odd n (Allen et al. 2012, appendix B), and taken for n - 1
    where n is even. It falls towards ln 2.

    >>> median_bias(1), round(median_bias(3), 6), round(median_bias(7), 6)
    (1.0, 0.833333, 0.759524)
    """
    odd = count if count % 2 else count - 1
    return 1.0 + sum(1.0 / (2 * i + 1) - 1.0 / (2 * i) for i in range(1, (odd - 1) // 2 + 1))


def median(values: Float64) -> Float64:
    """Return the median along the first axis, NaN where a number is.

    `numpy.median` takes five times as long on so few.

    >>> median(np.array([[3.0, 1.0], [1.0, np.nan], [2.0, 2.0], [9.0, 3.0]])).tolist()
    [2.5, nan]
    """
    ordered = np.sort(values, axis=0)
    count = len(ordered)
    # NaN is sorted to the end.
    middle = 0.5 * (ordered[(count - 1) // 2] + ordered[count // 2])
    return np.asarray(np.where(np.isnan(ordered[-1]), np.nan, middle))


def in_bands(
    frequencies: Samples, bands: Sequence[Band], width: float, beside: float = 0.0
) -> NDArray[np.bool_]:
    """Return which frequencies are in any band or beside it; those on an edge are.

    >>> in_bands(np.array([9.5, 10.0, 10.5, 11.0]), [(10.0, 10.5)], 0.5).tolist()
    [False, True, True, False]

    A band that is narrower than a bin has the bins within half a bin of its centre:

    >>> in_bands(np.array([9.5, 10.0, 10.5, 11.0]), [(10.1, 10.2)], 0.5).tolist()
    [False, True, False, False]

    Args:
        frequencies: Hz, shape `(n,)`.
        bands: `(low, high)` in Hz.
        width: Hz from one frequency to the next.
        beside: Hz on either side of each band that count too.
    """
    found = np.zeros(len(frequencies), dtype=bool)
    for low, high in bands:
        half = max((high - low) / 2, width / 2) + beside
        found |= np.abs(frequencies - (low + high) / 2) <= half
    return found


class Bins:
    """Which bins of a transform belong to a coupling's bands, its guard bands, and neither.

    >>> bins = Bins([(55.0, 56.0)], guard=1.0, stop=60.0, duration=SEGMENT)
    >>> (bins.inside * bins.width).tolist(), (bins.guard * bins.width).tolist()
    ([55.0, 55.5, 56.0], [54.0, 54.5, 56.5, 57.0])

    Args:
        bands: `(low, high)` in Hz; a bin on an edge counts.
        guard: Hz on either side of each band.
        stop: Hz of the highest bin.
        duration: of the transform, nanoseconds.

    Attributes:
        inside: indices of the bins in a band, ascending.
        guard: those beside a band, from `LOWEST` on.
        outside: all others from `LOWEST` on.
        near: those inside, then those of the guard bands.
        width: Hz from one bin to the next.
    """

    def __init__(self, bands: Sequence[Band], guard: float, stop: float, duration: int) -> None:
        self.width = NS / duration
        frequencies = np.arange(int(stop / self.width) + 1) * self.width
        inside = in_bands(frequencies, bands, self.width)
        near = in_bands(frequencies, bands, self.width, guard)
        looked_at = frequencies >= LOWEST
        self.inside = np.flatnonzero(inside)
        self.guard = np.flatnonzero(near & ~inside & looked_at)
        self.outside = np.flatnonzero(~near & looked_at)
        self.near = np.concatenate([self.inside, self.guard])


def asd(samples: Float64, rate: int) -> tuple[Float64, Float64]:
    """Return the amplitude spectral density of a stretch of strain.

    Welch's method with 2-s Hann windows that overlap by half, averaged by the median, which a
    glitch does not move (Allen et al. 2012, Phys. Rev. D 85, 122006, appendix B).

    Args:
        samples: shape `(n,)`, at least 2 s.
        rate: samples per second.

    Returns:
        Frequencies in Hz and the density in units of the samples per root Hz.
    """
    # scipy divides the median by its bias for the number of windows, so white noise has the density
    # that the mean would give. The mean of each window is taken out: an offset is no noise.
    frequencies, power = scipy.signal.welch(
        samples, rate, nperseg=FFT_SECONDS * rate, average="median", detrend="constant"
    )
    return frequencies, np.sqrt(power)


def band_ratio(samples: Float64, reference: Float64, rate: int, bands: Sequence[Band]) -> float:
    """Return the mean over a band's bins of one density over another's: the ASD ratio.

    >>> wave = np.sin(np.arange(512.0) ** 2)
    >>> band_ratio(0.5 * wave, wave, 64, [(20.0, 30.0)])
    0.5

    Args:
        samples: shape `(n,)`, for example the cleaned strain.
        reference: shape `(n,)`, for example the raw strain, or the true floor.
        rate: samples per second of both.
        bands: `(low, high)` in Hz; a bin on an edge counts.
    """
    frequencies, upper = asd(samples, rate)
    _, lower = asd(reference, rate)
    inside = in_bands(frequencies, bands, 1 / FFT_SECONDS)
    return float(np.mean(upper[inside] / lower[inside]))


def worst_outside(
    samples: Float64,
    reference: Float64,
    rate: int,
    bands: Sequence[Band],
    *,
    guard: float,
    low: float = LOWEST,
) -> float:
    """Return the ASD ratio of the bin that is farthest from 1 outside the bands.

    Args:
        samples: shape `(n,)`.
        reference: shape `(n,)`.
        rate: samples per second of both.
        bands: `(low, high)` in Hz.
        guard: Hz beside each band that are left out, the bandpass's transition.
        low: Hz below which nothing is looked at.
    """
    frequencies, upper = asd(samples, rate)
    _, lower = asd(reference, rate)
    outside = (frequencies >= low) & (frequencies < rate / 2)
    outside &= ~in_bands(frequencies, bands, 1 / FFT_SECONDS, guard)
    ratio = upper[outside] / lower[outside]
    return float(ratio[np.argmax(np.abs(ratio - 1))])


@dataclass(slots=True, eq=False)
class CrossSpectra:
    """The cross spectra of several streams, summed over transforms.

        S_ij(f) = sum_t conj(X_i(f, t)) X_j(f, t)

    >>> spectra = CrossSpectra.empty(streams=2, bins=1)
    >>> spectra.add(np.array([[[1.0, 1.0]], [[1.0, -1.0]], [[1.0, 1.0]]], dtype=np.complex128))
    >>> spectra.count, spectra.coherence(0).round(3).tolist()
    (3, [[1.0], [0.111]])

    Args:
        matrix: the sum `S`, shape `(bins, streams, streams)`.
        count: the number of transforms.
    """

    matrix: Complex
    count: int = 0

    @classmethod
    def empty(cls, streams: int, bins: int) -> CrossSpectra:
        """Return the sum over no transforms."""
        return cls(np.zeros((bins, streams, streams), dtype=np.complex128))

    def add(self, spectra: Complex) -> None:
        """Add transforms of all streams, shape `(transforms, bins, streams)`."""
        self.matrix += np.einsum("tfi,tfj->fij", spectra.conj(), spectra)
        self.count += len(spectra)

    def merge(self, other: CrossSpectra) -> None:
        """Add the sums of other transforms of the same streams."""
        self.matrix += other.matrix
        self.count += other.count

    def coherence(self, stream: int) -> Float64:
        """Return the coherence of one stream with each stream.

            C_ij(f) = |S_ij|^2 / (S_ii S_jj)

        Returns:
            Shape `(streams, bins)`, in [0, 1]; NaN where a stream has no power.
        """
        power = np.einsum("fii->if", self.matrix).real
        return power_ratio(np.abs(self.matrix[:, stream].T) ** 2, power[stream] * power)


def power_ratio(part: Float64, whole: Float64) -> Float64:
    """Return `part / whole`, NaN where the whole is 0 and, despite rounding, at most 1."""
    ratio = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return np.minimum(ratio, 1.0)
