"""The structure of a closed form that is there: what a refit keeps of it.

Features, lags, bases and scalers stay; the coefficients are solved anew. A model says which lags
each feature has, not of which ranges they are, but a range's lags follow from the bands alone. So
the groups of parameters, to which the ridges belong, are all ranges whose lags the model has.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.models.closed_form import POWER, ClosedForm
from deepclean.models.tensors import Scalers
from deepclean.train.closed_form.data import Scales
from deepclean.train.closed_form.fitting import Group, Parameters
from deepclean.train.closed_form.lags import RANGES, range_lags
from deepclean.train.closed_form.layout import BandLayout
from deepclean.train.closed_form.outcome import describe, needed
from deepclean.train.closed_form.streams import Base, Feature


class StructureError(Exception):
    """A model that cannot be refitted; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """The structure of a model.

    Args:
        layout: rates, filters and bins.
        parameters: of the model.
        bases: by number.
        architecture: `networks.build`'s argument.
        places: number of each parameter's weight in the model.
        needs: whether a parameter needs a witness, `(parameters, channels)`.
        scales: what standardises witnesses and strain, of all channels.
        channels: the witnesses that any feature needs, ascending.
    """

    layout: BandLayout
    parameters: Parameters
    bases: Mapping[int, Base]
    architecture: Mapping[str, Any]
    places: NDArray[np.int64]
    needs: NDArray[np.bool_]
    scales: Scales
    channels: tuple[int, ...]

    @property
    def own_scales(self) -> Scales:
        """The scales of the needed witnesses."""
        own = list(self.channels)
        return Scales(self.scales.mean[own], self.scales.std[own], self.scales.strain)

    @property
    def own_groups(self) -> tuple[Group, ...]:
        """The groups, with the witnesses numbered among the needed ones."""
        return tuple((self._own(feature), number) for feature, number in self.parameters.groups)

    @property
    def own_bases(self) -> dict[int, Base]:
        """The bases, with the witnesses numbered among the needed ones."""
        return {
            number: Base(
                tuple((self._own(feature), lag) for feature, lag in base.members),
                base.weights,
                base.scale,
            )
            for number, base in self.bases.items()
        }

    def _own(self, feature: Feature) -> Feature:
        return tuple(
            (n if name == POWER else self.channels.index(n), name, shift)
            for n, name, shift in feature
        )


def structure_of(
    architecture: Mapping[str, Any], network: ClosedForm, scalers: Scalers, layout: BandLayout
) -> Structure:
    """Return the structure of a model.

    Args:
        architecture: `networks.build`'s argument for the network.
        network: the model's.
        scalers: of its channels.
        layout: of the coupling as it is configured.

    Raises:
        StructureError: the model was made for other bands, or lags of another grid.
    """
    for name in ("wide", "slow", "out"):
        taps = np.asarray(getattr(layout, name), dtype=np.float32)
        if not np.array_equal(taps, getattr(network, name).cpu().numpy()):
            raise StructureError("its filters are those of other bands")
    bases = _bases(network)
    groups = [
        (tuple(feature), number)
        for index, feature in enumerate(network.features)
        for number in _ranges(network, index, layout)
    ]
    parameters = Parameters.of(layout, groups)
    found, places, _ = describe(layout, parameters, bases)
    if _plain(found) != _plain(architecture):
        raise StructureError("its lags are not those of the configured band and edge")
    channels = {n for feature in network.features for n, name, _ in feature if name != POWER}
    return Structure(
        layout,
        parameters,
        bases,
        architecture,
        places,
        needed(parameters, bases, len(scalers.witness_mean)),
        Scales(scalers.witness_mean, scalers.witness_std, scalers.strain_std),
        tuple(sorted(channels)),
    )


def _bases(network: ClosedForm) -> dict[int, Base]:
    """Return the bases of a network."""
    weights, scales = (
        np.asarray(tensor.cpu().numpy(), dtype=np.float64)
        for tensor in (network.base_weights, network.base_scales)
    )
    ends = [0, *itertools.accumulate(map(len, network.bases))]
    return {
        number: Base(
            tuple((tuple(network.features[index]), lag) for index, lag in members),
            weights[first:stop],
            float(scales[number]),
        )
        for number, (members, (first, stop)) in enumerate(
            zip(network.bases, itertools.pairwise(ends), strict=True)
        )
    }


def _ranges(network: ClosedForm, index: int, layout: BandLayout) -> list[int]:
    """Return the numbers of the ranges all of whose lags a feature has."""
    held = {lag for feature, lag in network.lags if feature == index}
    found = [(number, range_lags(layout, number)) for number in RANGES]
    return [number for number, lags in found if lags and held.issuperset(lags)]


def _plain(tree: Any) -> Any:
    """Return a tree with lists for all sequences, as JSON has it."""
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(each) for each in tree] if isinstance(tree, list | tuple) else tree
