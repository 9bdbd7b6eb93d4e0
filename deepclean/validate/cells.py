"""Frequencies at which spectra are kept and drawn: fine where it matters, few elsewhere."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.spectra import SEGMENT
from deepclean.core.time import NS

WIDTH = NS / SEGMENT
"""Hz of a bin of the slow transform."""

_FINE = 256.0
"""Hz below which every bin is kept."""

_PER_OCTAVE = 100


class Cells:
    """Cells of the slow transform's bins: one bin each up to 256 Hz and near bands, above wider.

    Args:
        stop: Hz of the highest bin.
        near: bins that are kept by themselves.

    Attributes:
        frequencies: Hz of the cells' middles.
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

    def cells(self, bins: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the cells of bins."""
        return np.asarray(np.searchsorted(self._starts, bins, side="right") - 1)

    def _mean(self, values: Float64) -> Float64:
        return np.asarray(np.add.reduceat(values, self._starts) / self._counts)
