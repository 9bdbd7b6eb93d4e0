"""A closed form whose output is the parts of its estimate instead of their sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepclean.models.closed_form import ClosedForm


class EstimateParts(nn.Module):
    """A network that gives a closed form's estimate in parts, whose sum is the estimate.

    Args:
        network: the closed form.
        groups: the number of the part to which each of its features belongs (`part_groups`).
    """

    def __init__(self, network: ClosedForm, groups: Sequence[int]) -> None:
        super().__init__()
        self._network, self._groups = network, list(groups)

    def forward(self, witnesses: Tensor) -> Tensor:
        """Return the parts, `(batch, parts, time)`, for `(batch, channels, time)`."""
        added = self._network.added(witnesses)
        groups = functional.one_hot(torch.tensor(self._groups, device=added.device))
        parts = groups.T.to(added.dtype) @ added
        noise = self._network.interpolated(parts.flatten(0, 1))
        return noise.reshape(*parts.shape[:2], -1)


def part_groups(network: ClosedForm, most: int) -> list[int]:
    """Return the number of the part to which each feature of a closed form belongs.

    Each feature that has lags is a part of its own. Where these are too many, the smallest of them
    share the last part. Witnesses are standardised, so the sum of a feature's squared weights says
    how large it is.

    Args:
        network: the closed form.
        most: the number of parts that there may be, at least 1.
    """
    sizes: dict[int, float] = {}
    for (index, _), weight in zip(network.lags, network.weights.tolist(), strict=True):
        sizes[index] = sizes.get(index, 0.0) + weight**2
    largest = sorted(sizes, key=lambda index: (-sizes[index], index))
    own = sorted(largest if len(largest) <= most else largest[: most - 1])
    numbers = {index: number for number, index in enumerate(own)}
    # A feature without lags is only part of a base: it adds nothing, wherever it belongs.
    return [numbers.get(i, len(own) if i in sizes else 0) for i in range(len(network.features))]
