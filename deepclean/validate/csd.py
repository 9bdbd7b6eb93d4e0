"""Spectral matrix of the strain and a coupling's witnesses, and the coherence that it holds.

The coherence with one witness, and with the best linear combination of all of them, says how much a
*linear* filter of the witnesses could leave: `sqrt(1 - coherence)` of the strain's amplitude. A
coupling that is the product of two witnesses is not seen by it: a network can do better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.spectra import Complex

RAW, CLEANED, WITNESSES = 0, 1, 2
"""Rows of the matrix: the strain before and after, then the witnesses."""

_INDEPENDENT = 0.947
"""Independent averages that one transform is worth where Hann windows overlap by half."""


@dataclass(slots=True)
class SpectralMatrix:
    """Sum of the spectral matrices of transforms.

    Args:
        matrix: shape `(2 + witnesses, 2 + witnesses, bins)`.
        count: of transforms.
    """

    matrix: Complex
    count: int = 0

    @classmethod
    def empty(cls, witnesses: int, bins: int) -> SpectralMatrix:
        """Return a sum of nothing."""
        size = WITNESSES + witnesses
        return cls(np.zeros((size, size, bins), dtype=np.complex128))

    def add(self, spectra: Complex) -> None:
        """Add one transform of every channel, shape `(2 + witnesses, bins)`."""
        self.matrix += spectra[:, None] * spectra[None].conj()
        self.count += 1

    def merge(self, other: SpectralMatrix) -> None:
        """Add what another holds."""
        self.matrix += other.matrix
        self.count += other.count

    @property
    def averages(self) -> float:
        """How many independent transforms it is worth."""
        return _INDEPENDENT * self.count

    def coherence(self, strain: int) -> Float64:
        """Return the coherence of the strain (`RAW`, `CLEANED`) with each witness, per bin.

        Returns:
            Shape `(witnesses, bins)`, NaN where a witness has nothing at that frequency.
        """
        power = np.einsum("iib->ib", self.matrix).real
        product = power[strain] * power[WITNESSES:]
        shared = np.abs(self.matrix[strain, WITNESSES:]) ** 2
        coherence: Float64 = np.full_like(product, np.nan)
        np.divide(shared, product, out=coherence, where=product > 0)
        return coherence

    def linear_limit(self, strain: int) -> Float64:
        """Return what the best linear combination of the witnesses leaves, per bin.

        The amplitude ratio `sqrt(1 - multiple coherence)`, corrected for the number of averages
        as the adjusted coefficient of determination is; NaN where the averages are too few.
        """
        size, _, bins = self.matrix.shape
        left = np.full(bins, np.nan)
        count = size - WITNESSES
        free = self.averages - count
        if free < 1:
            return left
        for bin_ in range(bins):
            matrix = self.matrix[..., bin_]
            scale = np.sqrt(np.diag(matrix).real)
            heard = [row for row in range(WITNESSES, size) if scale[row] > 0]
            if scale[strain] == 0 or not heard:
                continue
            among = matrix[np.ix_(heard, heard)] / np.outer(scale[heard], scale[heard])
            with_strain = matrix[heard, strain] / (scale[heard] * scale[strain])
            # Witnesses that repeat one another leave the matrix singular.
            filters = np.linalg.lstsq(among, with_strain, rcond=1e-9)[0]
            coherence = float(np.real(np.vdot(filters, with_strain)))
            unexplained = (1 - coherence) * self.averages / free
            left[bin_] = np.sqrt(np.clip(unexplained, 0.0, 1.0))
        return left
