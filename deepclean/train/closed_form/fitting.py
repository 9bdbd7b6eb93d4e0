"""A set of features with their ranges of lags, and its fit to a bank's data.

The segments' robust weights are found with the fit: `min(1, 2 med(q) / q)^2`, with `q` a segment's
whitened residual power. A segment whose features are far stronger than usual counts less from the
beginning, or the first fit would be the glitch's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.train.closed_form.bank import Bank, Complex64, band_power
from deepclean.train.closed_form.lags import range_lags
from deepclean.train.closed_form.layout import BandLayout
from deepclean.train.closed_form.robust import LEVERAGE, RESIDUAL, robust_weights
from deepclean.train.closed_form.solve import Solution, solve
from deepclean.train.closed_form.statistics import Statistics, measure
from deepclean.train.closed_form.streams import Complex, Feature

Group = tuple[Feature, int]
"""A feature at one range of lags: what one ridge belongs to."""

_NEEDLESS = 1.0
"""Energy that a group explains, in units of a parameter's noise, below which it is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """What the coefficients of a model belong to.

    Args:
        groups: in the order of the parameters.
        lags: of each parameter, internal samples.
        group_of: number of the group of each parameter.
    """

    groups: tuple[Group, ...]
    lags: tuple[int, ...]
    group_of: NDArray[np.int64]

    @classmethod
    def of(cls, layout: BandLayout, groups: Iterable[Group]) -> Parameters:
        """Return the parameters of some groups."""
        chosen = tuple(groups)
        lags = [range_lags(layout, number) for _, number in chosen]
        group_of = np.repeat(np.arange(len(chosen)), [len(part) for part in lags])
        return Parameters(chosen, tuple(lag for part in lags for lag in part), group_of)

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features, each once."""
        return tuple(dict.fromkeys(feature for feature, _ in self.groups))

    @property
    def parameters(self) -> int:
        """How many coefficients."""
        return len(self.lags)


@dataclass(frozen=True, slots=True, eq=False)
class Fit(Parameters):
    """A fit to a bank.

    Args:
        statistics: of the data, weighted.
        solution: the coefficients and what they leave.
        left: the residual's transforms, `(bins, segments)`.
        weights: of the segments, `(segments,)`.
    """

    statistics: Statistics
    solution: Solution
    left: Complex
    weights: Float64


class Fitter:
    """Fits sets of features to a bank, and keeps the transforms that it made.

    Args:
        bank: the data.
        ridge: one number instead of the evidence's.
    """

    def __init__(self, bank: Bank, ridge: float | None = None) -> None:
        self.bank, self.value = bank, bank.layout.value
        self.strain = bank.strain()
        self._ridge = ridge
        self._columns: dict[Group, Complex64] = {}

    def nothing(self) -> Fit:
        """Return the fit of no feature at all."""
        spectrum = np.median(np.abs(self.strain) ** 2, axis=1) / np.log(2)
        power = band_power(self.strain, self.value / spectrum)
        weights = robust_weights(power, 10.0)
        return self._fit((), weights, spectrum, None, 1)

    def fit(self, groups: Iterable[Group], before: Fit, *, rounds: int = 2) -> Fit:
        """Return the fit of a set, beginning where an earlier one ended.

        Args:
            groups: the set; each once.
            before: what whitens the first solution and weighs the segments.
            rounds: solutions.
        """
        chosen = tuple(dict.fromkeys(groups))
        ridges = dict(zip(before.groups, before.solution.ridges, strict=True))
        power = band_power(before.left, self.value / before.solution.residual)
        weights = robust_weights(power, RESIDUAL) * self.leverage(chosen, self.usual(chosen))
        return self._fit(chosen, weights, before.solution.residual, ridges, rounds)

    def needed(self, fit: Fit) -> list[Group]:
        """Return the groups of a fit that explain more than noise does."""
        energy = fit.solution.energy
        return [group for group, one in zip(fit.groups, energy, strict=True) if one >= _NEEDLESS]

    def keep(self, features: Collection[Feature]) -> None:
        """Forget what was made of all other features."""
        self.bank.keep(features)
        for group in [group for group in self._columns if group[0] not in features]:
            del self._columns[group]

    def parts(self, fit: Fit, coefficients: Float64) -> dict[Feature, Complex]:
        """Return each feature's part of an estimate, `(bins, segments)`."""
        parts: dict[Feature, Complex] = {}
        for number, group in enumerate(fit.groups):
            part = predicted(self.columns(group), coefficients[fit.group_of == number])
            parts[group[0]] = parts[group[0]] + part if group[0] in parts else part
        return parts

    def design(self, groups: Iterable[Group]) -> Complex64:
        """Return the transforms of all parameters, `(bins, parameters, segments)`."""
        made = [self.columns(group) for group in groups]
        if not made:
            return np.zeros((*self.strain.shape[:1], 0, self.bank.segments), dtype=np.complex64)
        return np.concatenate(made, axis=1)

    def columns(self, group: Group) -> Complex64:
        """Return a group's transforms, `(bins, lags, segments)`."""
        if group not in self._columns:
            feature, number = group
            lags = range_lags(self.bank.layout, number)
            self._columns[group] = self.bank.columns(feature, lags)
        return self._columns[group]

    def _fit(
        self,
        groups: tuple[Group, ...],
        weights: Float64,
        start: Float64,
        ridges: Mapping[Group, float] | None,
        rounds: int,
    ) -> Fit:
        made = Parameters.of(self.bank.layout, groups)
        design = self.design(groups)
        statistics = measure(design, self.strain, weights)
        held = None
        if ridges:
            usual = float(np.median(list(ridges.values())))
            held = np.array([ridges.get(group, usual) for group in groups])
        solution = solve(
            statistics,
            self.value,
            made.group_of,
            start=start,
            ridges=held,
            ridge=self._ridge,
            rounds=rounds,
        )
        left = self.strain - predicted(design, solution.coefficients)
        return Fit(groups, made.lags, made.group_of, statistics, solution, left, weights)

    def usual(self, groups: Iterable[Group]) -> dict[Group, float]:
        """Return the median power of the segments of each feature."""
        return {group: float(np.median(self._power(group))) for group in groups if group[1] == 0}

    def leverage(self, groups: Iterable[Group], usual: Mapping[Group, float]) -> Float64:
        """Return the weights of the segments by how strong their features are."""
        weights = np.ones(self.bank.segments)
        for group in groups:
            if group in usual:
                unusual = robust_weights(self._power(group), LEVERAGE, usual[group])
                weights = np.minimum(weights, unusual)
        return weights

    def _power(self, group: Group) -> Float64:
        """Return the power of each segment of a feature at its middle lag."""
        columns = self.columns(group)
        return band_power(columns[:, columns.shape[1] // 2], self.value)


def predicted(design: Complex64, coefficients: Float64) -> Complex:
    """Return the estimate's transforms, `(bins, segments)`."""
    return np.asarray(np.einsum("fps,p->fs", design, coefficients), dtype=np.complex128)
