"""The frequencies at which a report keeps spectra, and the limit of linear subtraction.

The coherence of the strain with the best linear combination of all witnesses limits what a *linear*
filter of the witnesses can do: it leaves `sqrt(1 - coherence)` of the strain's amplitude. The
product of two witnesses is invisible to this coherence, so a network can do better.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.spectra import SEGMENT, CrossSpectra
from deepclean.core.time import NS
from deepclean.validate.shard_result import STRETCH

WIDTH = NS / SEGMENT
"""Width of a bin of the slow transform, in Hz."""

RAW, CLEANED, WITNESSES = 0, 1, 2
"""Streams of the cross spectra: the strain before and after cleaning, then the witnesses."""

_FINE = 256.0
"""Frequency in Hz below which every bin is a cell of its own."""

_PER_OCTAVE = 100

_INDEPENDENT = 0.947
"""Independent averages per transform if Hann windows overlap by half: 1 / (1 + 2 / 36)."""


class Cells:
    """Groups of bins of the slow transform: single bins up to 256 Hz and near bands, wider above.

    Args:
        stop: frequency of the highest bin in Hz.
        near: bins that are cells of their own.

    Attributes:
        frequencies: centre of each cell in Hz.
    """

    def __init__(self, stop: float, near: Collection[int]) -> None:
        bins = np.arange(int(stop / WIDTH) + 1)
        cell = np.floor(_PER_OCTAVE * np.log2(np.maximum(bins * WIDTH, _FINE) / _FINE))
        alone = bins * WIDTH < _FINE
        alone[list(near)] = True
        begins = np.ones(len(bins), dtype=bool)
        begins[1:] = alone[1:] | alone[:-1] | (np.diff(cell) > 0)
        self._starts = np.flatnonzero(begins)
        self._counts = np.diff(np.append(self._starts, len(bins)))
        self.frequencies: Float64 = self._mean(np.asarray(bins * WIDTH, dtype=np.float64))

    def asd(self, power: Float64) -> NDArray[np.float32]:
        """Return the amplitude spectral density of each cell from the bins' power densities."""
        return np.sqrt(self._mean(power)).astype(np.float32)

    def index(self, bins: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the index of the cell of each bin."""
        return np.asarray(np.searchsorted(self._starts, bins, side="right") - 1)

    def _mean(self, values: Float64) -> Float64:
        return np.asarray(np.add.reduceat(values, self._starts) / self._counts)


@dataclass(frozen=True, slots=True, eq=False)
class Spectrogram:
    """Spectra against time, to be drawn.

    Args:
        starts: GPS seconds.
        frequencies: Hz.
        asd: shape `(times, 2, frequencies)`: before and after.
        step: seconds from one to the next, at least.
    """

    starts: NDArray[np.int64]
    frequencies: Float64
    asd: NDArray[np.float32]
    step: int = STRETCH


def linear_limit(spectra: CrossSpectra, strain: int) -> Float64:
    """Return the amplitude ratio that the best linear combination of the witnesses leaves, per bin.

    The ratio is `sqrt(1 - multiple coherence)`, corrected for the number of averages as the
    adjusted coefficient of determination is. It is NaN where the averages are too few.

    Args:
        spectra: of the strain before and after cleaning and of the witnesses.
        strain: `RAW` or `CLEANED`.
    """
    bins, size, _ = spectra.matrix.shape
    left = np.full(bins, np.nan)
    averages = _INDEPENDENT * spectra.count
    free = averages - (size - WITNESSES)
    if free < 1:
        return left
    for bin_, matrix in enumerate(spectra.matrix):
        scale = np.sqrt(np.diag(matrix).real)
        heard = [row for row in range(WITNESSES, size) if scale[row] > 0]
        if scale[strain] == 0 or not heard:
            continue
        among = matrix[np.ix_(heard, heard)] / np.outer(scale[heard], scale[heard])
        with_strain = matrix[heard, strain] / (scale[heard] * scale[strain])
        # Witnesses that repeat one another make the matrix singular, hence least squares.
        filters = np.linalg.lstsq(among, with_strain, rcond=1e-9)[0]
        coherence = float(np.real(np.vdot(filters, with_strain)))
        left[bin_] = np.sqrt(np.clip((1 - coherence) * averages / free, 0.0, 1.0))
    return left
