"""The sum of signals, each at several lags: the convolution of a sparse filter bank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Lag = tuple[int, int]
"""A feature's number and a lag in samples."""


class LaggedSum:
    """The sum of features, each at its lags.

    Args:
        numbers: of the features that there are.
        lags: a feature and a lag for each weight; those of other features are passed over.
    """

    def __init__(self, numbers: Sequence[int], lags: Sequence[Lag]) -> None:
        columns = {number: column for column, number in enumerate(numbers)}
        used = [place for place, (number, _) in enumerate(lags) if number in columns]
        self._distinct = sorted({lags[place][1] for place in used})
        row = {lag: number for number, lag in enumerate(self._distinct)}
        width = len(numbers)
        self._used = torch.tensor(used, dtype=torch.long)
        self._places = torch.tensor(
            [row[lags[place][1]] * width + columns[lags[place][0]] for place in used],
            dtype=torch.long,
        )

    def __call__(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return the sum, `(batch, samples)`.

        Args:
            features: `(batch, features, samples)`.
            weights: one for each of all lags.
        """
        batch, _, count = features.shape
        if not self._distinct:
            return features.new_zeros(batch, count)
        matrix = self._matrix(features, weights)
        before, after = max(0, -self._distinct[0]), max(0, self._distinct[-1])
        padded = functional.pad(matrix @ features, (before, after))
        total = padded[:, 0, before + self._distinct[0] :][:, :count]
        for row, lag in enumerate(self._distinct[1:], start=1):
            total = total + padded[:, row, before + lag : before + lag + count]
        return total

    def parts(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return what each feature adds to the sum, `(batch, features, samples)`.

        Args:
            features: as of the sum.
            weights: as of the sum.
        """
        count = features.shape[-1]
        total = torch.zeros_like(features)
        if not self._distinct:
            return total
        matrix = self._matrix(features, weights)
        before, after = max(0, -self._distinct[0]), max(0, self._distinct[-1])
        padded = functional.pad(features, (before, after))
        for row, lag in zip(matrix, self._distinct, strict=True):
            some = row.nonzero()[:, 0]
            shifted = padded[:, some, before + lag : before + lag + count]
            total[:, some] += row[some, None] * shifted
        return total

    def _matrix(self, features: Tensor, weights: Tensor) -> Tensor:
        """Return the weight of each distinct lag and feature, shape `(lags, features)`."""
        device, rows, width = features.device, len(self._distinct), features.shape[1]
        matrix = features.new_zeros(rows * width)
        matrix[self._places.to(device)] = weights[self._used.to(device)]
        return matrix.reshape(rows, width)
