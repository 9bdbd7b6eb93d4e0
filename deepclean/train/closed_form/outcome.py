"""What a closed-form fit gives: a model's description and tensors, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.models.closed_form import POWER
from deepclean.models.reduced.equations import Equations
from deepclean.train.closed_form.data import Scales
from deepclean.train.closed_form.fitting import Parameters
from deepclean.train.closed_form.judge import Gain
from deepclean.train.closed_form.layout import BandLayout
from deepclean.train.closed_form.selection import ClassTrial
from deepclean.train.closed_form.streams import Base, Feature

NAME = "closed_form"
"""Name of the architecture."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """How a fit does on data that it has not seen.

    Args:
        ratio: mean over the bands' bins of residual ASD over strain ASD.
        ratio_error: its standard error.
        gain: in log-likelihood over no fit at all.
        over_linear: the same over the linear fit.
        parameters: coefficients.
        freedom: as many as the data determines.
    """

    ratio: float
    ratio_error: float
    gain: Gain
    over_linear: Gain
    parameters: int
    freedom: float


@dataclass(frozen=True, slots=True, eq=False)
class ClosedFormFit:
    """A fitted closed-form model.

    Args:
        architecture: `networks.build`'s argument; None where no feature belongs beyond chance.
        tensors: the model's state, by name, float64.
        scales: what standardises witnesses and strain.
        equations: to solve again without a witness.
        figures: on held-out data, of `linear` (witnesses by themselves) and `closed_form`.
        trials: the optional classes of features that were tried.
        features: in words that are for people, with what each carries.
        frequencies: of the spectra, in Hz.
        inside: which of them lie in the bands.
        strain: power spectrum of the strain before, `(bins,)`, any units.
        residual: the same after.
        contributions: power spectrum of each feature's part, `(features, bins)`.
        segments: seconds of data that were used.
        linear: architecture and tensors of the best of witnesses by themselves; None where there is
            none.
    """

    architecture: dict[str, Any] | None
    tensors: Mapping[str, Float64]
    scales: Scales
    equations: Equations
    figures: Mapping[str, Figures]
    trials: Sequence[ClassTrial]
    features: Sequence[Feature]
    frequencies: Float64
    inside: NDArray[np.bool_]
    strain: Float64
    residual: Float64
    contributions: Float64
    segments: int
    linear: tuple[dict[str, Any], Mapping[str, Float64]] | None = None


def describe(
    layout: BandLayout, fit: Parameters, bases: Mapping[int, Base]
) -> tuple[dict[str, Any], NDArray[np.int64], list[int]]:
    """Return a model's architecture, and where each parameter stands among its weights.

    Args:
        layout: rates and filters.
        fit: the features.
        bases: all that there are.

    Returns:
        The architecture; the place of each parameter, some of which share a lag and so a place;
        and the numbers of the bases that the architecture has, in its order.
    """
    used = bases_of(fit.features)
    renumbered = {number: place for place, number in enumerate(used)}
    parameters = [(fit.groups[g][0], lag) for g, lag in zip(fit.group_of, fit.lags, strict=True)]
    taps: dict[Feature, set[int]] = {feature: set() for feature, _ in parameters}
    for feature, lag in parameters:
        taps[feature].add(lag)
    for number in used:
        for feature, _ in bases[number].members:
            taps.setdefault(feature, set())
    order = list(taps)
    slots = [(feature, lag) for feature in order for lag in sorted(taps[feature])]
    place = {slot: number for number, slot in enumerate(slots)}
    architecture = {
        "name": NAME,
        "decimation": layout.decimation,
        "features": [
            [[renumbered[n] if name == POWER else n, name, p] for n, name, p in feature]
            for feature in order
        ],
        "taps": [sorted(taps[feature]) for feature in order],
        "halves": layout.halves,
        "bases": [
            [[order.index(feature), lag] for feature, lag in bases[number].members]
            for number in used
        ],
    }
    return architecture, np.array([place[p] for p in parameters], dtype=np.int64), used


def tensors_of(
    layout: BandLayout,
    places: NDArray[np.int64],
    coefficients: Float64,
    used: Sequence[Base] = (),
) -> dict[str, Float64]:
    """Return a model's state, by name.

    Args:
        layout: with the filters.
        places: of the parameters, as `describe` gives them.
        coefficients: of the parameters.
        used: the bases of the architecture, in its order.
    """
    weights = np.zeros(int(places.max()) + 1 if len(places) else 0)
    np.add.at(weights, places, coefficients)
    return {
        "wide": layout.wide,
        "slow": layout.slow,
        "out": layout.out,
        "weights": weights,
        "base_weights": np.concatenate([np.zeros(0), *(base.weights for base in used)]),
        "base_scales": np.array([base.scale for base in used]),
    }


def bases_of(features: Sequence[Feature]) -> list[int]:
    """Return the numbers of the bases whose powers are in some features."""
    return sorted({n for feature in features for n, name, _ in feature if name == POWER})


def needed(fit: Parameters, bases: Mapping[int, Base], channels: int) -> NDArray[np.bool_]:
    """Return whether each parameter needs each witness, `(parameters, channels)`."""
    found = np.zeros((len(fit.group_of), channels), dtype=bool)
    for parameter, group in enumerate(fit.group_of):
        found[parameter, sorted(needs(fit.groups[group][0], bases))] = True
    return found


def needs(feature: Feature, bases: Mapping[int, Base]) -> frozenset[int]:
    """Return the witnesses that a feature is made of."""
    channels: set[int] = set()
    for number, name, _ in feature:
        if name == POWER:
            for member, _ in bases[number].members:
                channels |= needs(member, bases)
        else:
            channels.add(number)
    return frozenset(channels)
