"""What mattered in a search: how much of the results' scatter goes with each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepclean.core.block import Float64

_LEVELS = 4
"""Groups of values into which a range of numbers is cut."""

_RIDGE = 1e-3
"""Relative to a column's power: parameters that always changed together share what they did."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What goes with a parameter, as shares of the results' variance.

    Args:
        alone: what its values explain by themselves, less what as many values explain by chance.
        beyond: what a fit of all parameters loses without it. Of two that always changed together
            neither has much of it; interactions are in none.
    """

    alone: float
    beyond: float


def effects(points: Sequence[Mapping[str, Any]], results: Sequence[float]) -> dict[str, Effect]:
    """Return what mattered, by parameter, the largest effect first.

    The results are fitted by a sum of one term for each value of each parameter. A parameter that a
    point does not have counts as a value of its own. By chance, `k` values explain
    `(k - 1) / (n - 1)` of the variance of `n` results: the adjusted share is
    `1 - (left / (n - k)) / (total / (n - 1))`.

    Args:
        points: the parameters of each trial.
        results: of each trial.
    """
    values = np.asarray(results, dtype=np.float64)
    names = list(dict.fromkeys(name for point in points for name in point))
    total = float(np.sum((values - values.mean()) ** 2)) if len(values) else 0.0
    if len(values) < 2 or total == 0:
        return dict.fromkeys(names, Effect(0.0, 0.0))
    columns = {name: _columns([point.get(name) for point in points]) for name in names}
    whole = _left(columns, values)
    found = {}
    for name in names:
        others = {other: made for other, made in columns.items() if other != name}
        free = max(len(values) - columns[name].shape[1], 1)
        alone = 1 - _left({name: columns[name]}, values) / free * (len(values) - 1) / total
        beyond = (_left(others, values) - whole) / total
        found[name] = Effect(max(alone, 0.0), max(beyond, 0.0))
    return dict(sorted(found.items(), key=lambda each: (-each[1].alone, -each[1].beyond)))


def _columns(column: Sequence[Any]) -> Float64:
    """Return a column for each level of a parameter, of mean 0, shape `(trials, levels)`."""
    numbers = [v for v in column if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(set(numbers)) > _LEVELS:
        edges = np.quantile(numbers, np.arange(1, _LEVELS) / _LEVELS)
        levels: list[Any] = [None if v is None else int(np.searchsorted(edges, v)) for v in column]
    else:
        levels = list(column)
    kinds = list(dict.fromkeys(levels))
    made = np.array([[float(level == kind) for kind in kinds] for level in levels])
    return np.asarray(made - made.mean(axis=0), dtype=np.float64)


def _left(columns: Mapping[str, Float64], values: Float64) -> float:
    """Return the sum of squares that a fit of the columns leaves of the values."""
    centred = values - values.mean()
    if not columns:
        return float(centred @ centred)
    design = np.concatenate(list(columns.values()), axis=1)
    gram = design.T @ design
    ridge = _RIDGE * np.maximum(np.diag(gram), 1e-12)
    left = centred - design @ np.linalg.solve(gram + np.diag(ridge), design.T @ centred)
    return float(left @ left)
