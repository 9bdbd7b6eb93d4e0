"""What mattered in a search: how much of the results' scatter goes with each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepclean.core.block import Float64

_LEVELS = 4
"""Groups of values into which a range of numbers is cut."""

_RIDGE = 1e-3
"""Relative to a column's power: parameters that always changed together share what they did."""


def effects(points: Sequence[Mapping[str, Any]], results: Sequence[float]) -> dict[str, float]:
    """Return the share of the results' variance that each parameter explains, largest first.

    The results are fitted by a sum of one term for each value of each parameter. The share of a
    parameter is what the fit loses without it, as a part of the variance. A parameter that a point
    does not have counts as a value of its own. The shares need not add up to 1: interactions are
    nobody's, and what two parameters can both explain is counted for neither.

    Args:
        points: the parameters of each trial.
        results: of each trial.

    >>> points = [{"a": a, "b": b} for a in (0, 1) for b in (True, False)]
    >>> effects(points, [1.0, 1.0, 3.0, 3.0])
    {'a': 0.99..., 'b': 0.0}
    """
    values = np.asarray(results, dtype=np.float64)
    names = list(dict.fromkeys(name for point in points for name in point))
    total = float(np.sum((values - values.mean()) ** 2)) if len(values) else 0.0
    if len(values) < 2 or total == 0:
        return dict.fromkeys(names, 0.0)
    columns = {name: _columns([point.get(name) for point in points]) for name in names}
    whole = _left(columns, values)
    shares = {}
    for name in names:
        rest = {other: made for other, made in columns.items() if other != name}
        shares[name] = round(max(0.0, _left(rest, values) - whole) / total, 6)
    return dict(sorted(shares.items(), key=lambda each: -each[1]))


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
