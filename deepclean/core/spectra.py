"""Spectra of stretches of data: amplitude spectral densities, their ratios, cross spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from deepclean.core.bandpass import Band
from deepclean.core.block import Float64

Complex = NDArray[np.complex128]

FFT_SECONDS = 2
"""Length of the transforms: half a hertz of resolution resolves a line's sidebands."""


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
    frequencies, power = scipy.signal.welch(
        samples, rate, nperseg=FFT_SECONDS * rate, average="median", detrend="constant"
    )
    return frequencies, np.sqrt(power)


def band_ratio(samples: Float64, reference: Float64, rate: int, bands: Sequence[Band]) -> float:
    """Return the mean over a band's bins of one density over another's: the ASD ratio.

    Args:
        samples: shape `(n,)`, for example the cleaned strain.
        reference: shape `(n,)`, for example the raw strain, or the true floor.
        rate: samples per second of both.
        bands: `(low, high)` in Hz; a bin on an edge counts.
    """
    frequencies, upper = asd(samples, rate)
    _, lower = asd(reference, rate)
    inside = np.any([(frequencies >= low) & (frequencies <= high) for low, high in bands], axis=0)
    return float(np.mean(upper[inside] / lower[inside]))


def worst_outside(
    samples: Float64,
    reference: Float64,
    rate: int,
    bands: Sequence[Band],
    *,
    guard: float,
    low: float = 10.0,
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
    for begin, end in bands:
        outside &= (frequencies < begin - guard) | (frequencies > end + guard)
    ratio = upper[outside] / lower[outside]
    return float(ratio[np.argmax(np.abs(ratio - 1))])


@dataclass(slots=True, eq=False)
class CrossSpectra:
    """The cross spectra of several streams, summed over transforms.

        S_ij(f) = sum_t conj(X_i(f, t)) X_j(f, t)

    Args:
        matrix: `S`, shape `(bins, streams, streams)`.
        count: number of transforms.
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
