"""What all figures of a report share: their colours, axes of time, bands and legends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

BEFORE, AFTER, UNGATED, OTHER = "#c2410c", "#1d4ed8", "#0d9488", "#7c3aed"
"""Of raw strain, OUT_DQ, PRODUCTION, and what is compared; apart for the colour-blind too."""

_UNITS = (("s", 1), ("min", 60), ("h", 3600), ("d", 86400))


def legend(axes: Any, **options: Any) -> None:
    """Draw a legend with lines, where gwpy's axes would draw squares."""
    from matplotlib.axes import Axes

    Axes.legend(axes, **options)


def shade(axes: Any, bands: Any) -> None:
    """Mark bands."""
    for low, high in bands:
        axes.axvspan(low, high, color="0.5", alpha=0.12, linewidth=0)


def since(starts: Any, start: int) -> tuple[Any, str]:
    """Return times in a fitting unit after the start, and how the axis is to be called."""
    from gwpy.time import from_gps

    times = np.asarray(starts, dtype=np.float64) - start
    last = float(times[-1]) if len(times) else 0.0
    unit, size = next(unit for unit in _UNITS if last < 2 * 60 * unit[1] or unit == _UNITS[-1])
    return times / size, f"Time [{unit}] from GPS {start} ({from_gps(start):%Y-%m-%d %H:%M:%S} UTC)"


def steps(series: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the times between which the rows lie, and what the axis is to be called."""
    starts = series["start"]
    return since([*starts, starts[-1] + series["cadence"]], starts[0])
