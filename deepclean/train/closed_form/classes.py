"""Classes of features that are more than a witness: which of them correlate with what is left.

All products of two sets of streams are tried at once, by matrix products (scan.scan_products).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deepclean.core.block import Float64
from deepclean.train.closed_form.bank import Bank
from deepclean.train.closed_form.fitting import Fit, Fitter
from deepclean.train.closed_form.layout import BandLayout
from deepclean.train.closed_form.scan import raised_gradient, scan_products
from deepclean.train.closed_form.streams import Base, Complex, Factor, Feature, base_values

MOST_CARRIERS = 6
"""Witnesses that are tried as carriers at most."""

DEGREES = (2, 3, 4, 5, 6, 7)
"""Degrees of the polynomials of a base."""

_LIKELY = 0.5
"""Probability of chance at which a product is offered to the closer look, where any may come."""

_OFFERED = 64
"""Products that are offered at once, at most."""

_FEW, _MANY = 3, 8
"""Nodes of the grid of lags in the past at which products are tried, of many streams and of few;
one ahead."""


@dataclass(frozen=True, slots=True)
class Table:
    """All products of two sets of streams, times a carrier where there is one.

    Args:
        left: channels of one side.
        left_stream: their stream.
        right: channels of the other.
        right_stream: their stream.
        carrier: channel of a further, wide factor.
        past: nodes in the past at which they are tried.
    """

    left: Sequence[int]
    left_stream: str
    right: Sequence[int]
    right_stream: str
    carrier: int | None = None
    past: int = _FEW

    def feature(self, a: int, b: int) -> Feature | None:
        """Return a product, or None where the table has it elsewhere or it is none."""
        if self.left_stream == self.right_stream and a > b:
            return None
        if self.left_stream != self.right_stream and a == b:
            return None
        carrier: Feature = () if self.carrier is None else ((self.carrier, "wide", 0),)
        return (*carrier, (a, self.left_stream, 0), (b, self.right_stream, 0))


@dataclass(frozen=True)
class Kind:
    """A class of features.

    Args:
        tables: products.
        listed: features that are named one by one.
    """

    tables: Sequence[Table] = ()
    listed: Sequence[Feature] = ()

    @cached_property
    def members(self) -> frozenset[Feature]:
        """All features of the class."""
        products = (t.feature(a, b) for t in self.tables for a in t.left for b in t.right)
        return frozenset(self.listed) | {feature for feature in products if feature is not None}

    def offer(
        self, bank: Bank, weighted: Complex, fit: Fit, *, beyond: float | None
    ) -> list[Feature]:
        """Return the features worth a closer look, the best first.

        Args:
            bank: the data.
            weighted: `V R` of the fit with the segments' weights in it, `(bins, segments)`.
            fit: the best so far; what it has is not offered.
            beyond: probability that any product is offered by chance; None: each by itself.
        """
        listed = [feature for feature in self.listed if feature not in fit.features]
        if not self.tables:
            return listed
        gradient = raised_gradient(bank, weighted)
        found: dict[Feature, tuple[float, float]] = {}
        for table in self.tables:
            found |= _tried(table, bank, gradient)
        fresh = {feature: one for feature, one in found.items() if feature not in fit.features}
        limit = _LIKELY if beyond is None else beyond / max(len(fresh), 1)
        good = [feature for feature, (_, chance) in fresh.items() if chance < limit]
        return [*listed, *sorted(good, key=lambda feature: -fresh[feature][0])[:_OFFERED]]


def _tried(
    table: Table, bank: Bank, gradient: Sequence[Complex]
) -> dict[Feature, tuple[float, float]]:
    """Return statistic and probability of chance of the products of a table."""
    spacing = bank.layout.spacing
    carrier = table.carrier
    statistic, chance = scan_products(
        bank,
        [getattr(stretch, table.left_stream)[list(table.left)] for stretch in bank.stretches],
        [getattr(stretch, table.right_stream)[list(table.right)] for stretch in bank.stretches],
        gradient,
        [node * spacing for node in range(-table.past, 2)],
        None if carrier is None else [stretch.wide[carrier] for stretch in bank.stretches],
    )
    found = {}
    for row, a in enumerate(table.left):
        for column, b in enumerate(table.right):
            feature = table.feature(a, b)
            if feature is not None:
                found[feature] = (float(statistic[row, column]), float(chance[row, column]))
    return found


def carried(carriers: Sequence[int], slow: Sequence[int]) -> Kind:
    """Return the products of a carrier and a slow witness."""
    return Kind([Table(carriers, "wide", slow, "slow", past=_MANY)] if carriers and slow else [])


def _pairs(fitter: Fitter, fit: Fit, carriers: Sequence[int], slow: Sequence[int]) -> Kind:
    """Return the products of any two witnesses, the second perhaps slow, and squares."""
    everyone = range(len(fitter.bank.stretches[0].wide))
    return Kind([Table(everyone, "wide", everyone, name) for name in ("wide", "slow")])


def _trilinear(fitter: Fitter, fit: Fit, carriers: Sequence[int], slow: Sequence[int]) -> Kind:
    """Return the products of a carrier and two slow witnesses."""
    return Kind([Table(slow, "slow", slow, "slow", carrier) for carrier in carriers if slow])


def _powers(fitter: Fitter, fit: Fit, carriers: Sequence[int], slow: Sequence[int]) -> Kind:
    """Return polynomials of the estimate that there is."""
    members = [(fit.groups[g][0], lag) for g, lag in zip(fit.group_of, fit.lags, strict=True)]
    if not members or any(name == "power" for f, _ in members for _, name, _ in f):
        return Kind()
    # A polynomial's own lags come on top of its base's. What that would reach too far ahead is made
    # up for by a base that is late.
    layout = fitter.bank.layout
    late = max(max(lag for _, lag in members) + 2 * layout.quarter - layout.ahead, 0)
    members = [(feature, lag - late) for feature, lag in members]
    number = _add_base(fitter.bank, members, fit.solution.coefficients)
    return Kind(listed=[((number, "power", degree),) for degree in DEGREES])


def _modulations(fitter: Fitter, fit: Fit, carriers: Sequence[int], slow: Sequence[int]) -> Kind:
    """Return a carrier times polynomials of the motion that its slow partners make together.

    Each partner's coefficients are one complex gain; the motion is the real combination that
    carries most of them.
    """
    offered: list[Feature] = []
    for carrier in carriers:
        factor: Factor = (carrier, "wide", 0)
        turning = np.exp(2j * np.pi * _centre(fitter.bank.layout) * np.array(fit.lags))
        gains: dict[int, complex] = {}
        for index, group in enumerate(fit.group_of):
            feature = fit.groups[group][0]
            if len(feature) == 2 and feature[0] == factor and feature[1][1] == "slow":
                gain = complex(fit.solution.coefficients[index] * turning[index])
                gains[feature[1][0]] = gains.get(feature[1][0], 0) + gain
        if gains:
            both = np.array([[gain.real, gain.imag] for gain in gains.values()]).T
            motion = np.linalg.svd(both, full_matrices=False)[2][0]
            partners: list[tuple[Feature, int]] = [(((c, "slow", 0),), 0) for c in gains]
            number = _add_base(fitter.bank, partners, motion)
            offered += [(factor, (number, "power", degree)) for degree in DEGREES]
    return Kind(listed=offered)


def _add_base(bank: Bank, members: Sequence[tuple[Feature, int]], weights: Float64) -> int:
    """Add a base in units of its standard deviation; return its number."""
    whole = Base(tuple(members), np.asarray(weights, dtype=np.float64), 1.0)
    values = np.concatenate([base_values(stretch, whole, clip=None) for stretch in bank.stretches])
    number = len(bank.bases)
    bank.set_base(number, Base(whole.members, whole.weights, float(values.std()) or 1.0))
    return number


def _centre(layout: BandLayout) -> float:
    """Return the middle of the bands in cycles per internal sample."""
    return float(np.mean(layout.frequencies[layout.inside])) / layout.internal_rate


OPTIONAL: dict[str, Callable[[Fitter, Fit, Sequence[int], Sequence[int]], Kind]] = {
    "pairs": _pairs,
    "powers": _powers,
    "trilinear": _trilinear,
    "modulations": _modulations,
}
"""Optional classes in the order in which they are tried."""
