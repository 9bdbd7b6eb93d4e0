"""Sufficient statistics of a least-squares fit by frequency bin, additive over time.

With features' transforms X and the strain's Y in the bins of each segment, weights rho by segment
and real coefficients w, the weighted residual power of a bin is

    sum_s rho_s |Y_s - w X_s|^2 = P - 2 w c + w G w,
    G = Re sum_s rho_s X_s^H X_s,    c = Re sum_s rho_s X_s^H Y_s,    P = sum_s rho_s |Y_s|^2,

so these three are all that any whitening, ridge or subset of the features needs of the data, and
those of two stretches are the sums. What a block contributed can be subtracted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64

Complex = NDArray[np.complex128]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What a stretch of data says of a set of parameters.

    Args:
        gram: `G`, shape `(bins, parameters, parameters)`.
        cross: `c`, shape `(bins, parameters)`.
        power: `P`, shape `(bins,)`.
        weight: sum of the segments' weights.
    """

    gram: Float64
    cross: Float64
    power: Float64
    weight: float

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.gram + other.gram,
            self.cross + other.cross,
            self.power + other.power,
            self.weight + other.weight,
        )

    def __sub__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.gram - other.gram,
            self.cross - other.cross,
            self.power - other.power,
            self.weight - other.weight,
        )

    def of(self, parameters: Sequence[int] | NDArray[np.int64]) -> Statistics:
        """Return the statistics of some of the parameters, in that order."""
        index = np.asarray(parameters, dtype=np.int64)
        gram = self.gram[:, index[:, None], index]
        return Statistics(gram, self.cross[:, index], self.power, self.weight)

    def residual(self, coefficients: Float64) -> Float64:
        """Return the mean residual power by bin, never below rounding's share of the strain's."""
        left = self.power - 2 * self.cross @ coefficients
        left = left + np.einsum("fij,i,j->f", self.gram, coefficients, coefficients, optimize=True)
        return np.asarray(np.maximum(left, 1e-12 * self.power) / self.weight, dtype=np.float64)


def measure(features: NDArray[Any], strain: Complex, weights: Float64) -> Statistics:
    """Return the statistics of some segments.

    Args:
        features: transforms, complex, shape `(bins, parameters, segments)`.
        strain: transforms, shape `(bins, segments)`.
        weights: of the segments, shape `(segments,)`.
    """
    root = np.sqrt(weights)
    x = parts(features * root.astype(features.real.dtype))
    y = parts((strain * root)[:, None])
    return Statistics(
        gram=x @ x.transpose(0, 2, 1),
        cross=(x @ y.transpose(0, 2, 1))[..., 0],
        power=np.sum(y**2, axis=(1, 2)),
        weight=float(weights.sum()),
    )


def parts(transforms: NDArray[Any]) -> Float64:
    """Return real and imaginary parts one after the other along the last axis, in float64."""
    return np.concatenate([transforms.real, transforms.imag], axis=-1, dtype=np.float64)
