"""The normal equations of a closed-form model: the best filter without a witness is one solve away.

In units in which the Gram matrix `M` has a unit diagonal, with the right-hand side `r` and the
ridge `L` of the fit, the solution `u` of

    (M + diag L) u = r

times `scale` are the model's weights. Without some witnesses the rows and columns of all features
that need one of them are left out. The solution is then the filter that a fit to the same data,
with the features that are left, would have found. A power of the filter's own estimate needs every
witness of that estimate.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.errors import ModelError
from deepclean.models import tensors

_BEYOND = 4.0
"""Times the power that noise alone would let a filter remove, below which it is of no use."""

_LEAST = 0.01
"""Share of the strain's whitened power that a filter of any use removes."""

_ARRAYS = ("matrix", "right", "scale", "load", "power", "floor")


@dataclass(frozen=True, slots=True, eq=False)
class Equations:
    """The normal equations, whitened by the spectrum of what the fit left of the strain.

    Args:
        matrix: Gram matrix at unit diagonal, shape `(parameters, parameters)`.
        right: right-hand side, shape `(parameters,)`.
        scale: the model's weight for a unit of the solution, shape `(parameters,)`.
        load: ridge, which is added to the diagonal, shape `(parameters,)`.
        places: number of each parameter's weight in the model, which two may share.
        needs: whether a parameter needs a witness, shape `(parameters, channels)`.
        power: of the strain, whitened and summed over the data.
        floor: the same of what the fit left.
    """

    matrix: Float64
    right: Float64
    scale: Float64
    load: Float64
    places: NDArray[np.int64]
    needs: NDArray[np.bool_]
    power: float
    floor: float

    @property
    def channels(self) -> frozenset[int]:
        """The witnesses that any parameter needs."""
        return frozenset(map(int, np.flatnonzero(self.needs.any(axis=0))))

    def solve(self, missing: Collection[int] = ()) -> tuple[Float64, bool]:
        """Return the model's weights without some witnesses, and whether they are of any use.

        The weights have the same bits on every machine, however many threads it has.

        Args:
            missing: the witnesses; the weights of all that needs them are 0.
        """
        kept = ~self.needs[:, sorted(missing)].any(axis=1)
        weights = np.zeros(int(self.places.max()) + 1)
        if not kept.any():
            return weights, False
        matrix, right = self.matrix[np.ix_(kept, kept)], self.right[kept]
        units = _solve(matrix + np.diag(self.load[kept]), right)
        np.add.at(weights, self.places[kept], self.scale[kept] * units)
        # The fit minimises P - 2 r u + u (M + L) u, at the solution P - r u. So r u is what the
        # filter removes, less what its ridge costs: the more witnesses are missing, the less. Of
        # noise with the power that is left, the parameters of the whole filter would remove as many
        # of the parts of which the floor is made.
        removed = float(right @ units)
        chance = len(self.right) * (self.power - removed) / self.floor
        useful = removed > max(_BEYOND * chance, _LEAST * self.power)
        return weights, useful and bool(np.isfinite(weights).all())

    def check(self, weights: int, channels: int, path: Path) -> None:
        """Raise ModelError unless the equations are those of a model with so many weights."""
        count = len(self.right)
        shapes = {
            "matrix": (count, count),
            **dict.fromkeys(("right", "scale", "load", "places"), (count,)),
            "needs": (count, channels),
        }
        wrong = [name for name, shape in shapes.items() if getattr(self, name).shape != shape]
        places = self.places.tolist()
        if wrong or not count or min(places) < 0 or max(places) + 1 != weights:
            raise ModelError(f"does not belong to a model with {weights} weights", path=path)
        if not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ModelError("a number is not finite", path=path)

    def serialise(self) -> bytes:
        """Return the bytes of the equations' file; equal equations give equal bytes."""
        arrays = {name: np.asarray(getattr(self, name), dtype=np.float64) for name in _ARRAYS}
        held = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        held["places"] = torch.from_numpy(self.places.copy())
        held["needs"] = torch.from_numpy(self.needs.copy())
        return tensors.serialise(held)

    @staticmethod
    def parse(content: bytes, path: Path) -> Equations:
        """Return the equations in `content`, which was read from `path`.

        Raises:
            ModelError: it does not hold equations.
        """
        held = tensors.parse(content, path)
        absent = {*_ARRAYS, "places", "needs"} - held.keys()
        if absent:
            raise ModelError(f"holds no {', '.join(sorted(absent))}", path=path)
        arrays = {name: held[name].numpy().astype(np.float64) for name in _ARRAYS}
        return Equations(
            matrix=arrays["matrix"],
            right=arrays["right"],
            scale=arrays["scale"],
            load=arrays["load"],
            places=held["places"].numpy().astype(np.int64),
            needs=held["needs"].numpy().astype(bool),
            power=float(arrays["power"]),
            floor=float(arrays["floor"]),
        )


def _solve(matrix: Float64, right: Float64) -> Float64:
    """Return the solution of a positive definite system of equations.

    >>> _solve(np.array([[4.0, 2.0], [2.0, 5.0]]), np.array([8.0, 12.0])).tolist()
    [1.0, 2.0]
    """
    # Cholesky's decomposition, column by column. Elementwise products, differences, quotients and
    # roots are rounded as IEEE 754 says. A library's sums are in another order on another machine
    # or with more threads, and a replay there would not give the samples of the live run.
    lower, x = matrix.copy(), right.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        for j in range(len(x)):
            lower[j:, j] /= np.sqrt(lower[j, j])
            column = lower[j + 1 :, j]
            x[j] /= lower[j, j]
            x[j + 1 :] -= column * x[j]
            lower[j + 1 :, j + 1 :] -= column[:, None] * column
        for j in reversed(range(len(x))):
            x[j] /= lower[j, j]
            x[:j] -= lower[j, :j] * x[j]
    return x
