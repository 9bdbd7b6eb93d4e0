"""Numbers in the JSON of a report: few digits, and null for a value that is not finite."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span


def rounded(value: float) -> float | None:
    """Return a number with seven digits, or None where it is not finite."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def listed(values: Any) -> list[float | None]:
    """Return the numbers of an array with six digits, None where they are not finite."""
    return [float(f"{value:.6g}") if isfinite(value) else None for value in values.tolist()]


def array(values: Any) -> Float64:
    """Return a list that `listed` returned as an array again."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def seconds(span: Span) -> list[int]:
    """Return a span as two whole GPS seconds."""
    return [span.start // NS, span.end // NS]
