"""What the benchmarks share: facts of the machine, statistics, tables, and the file of a run."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return what a figure depends on beside the code: to be called before the work."""
    import torch

    from deepclean import __version__

    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "deepclean": __version__,
        "load_before": os.getloadavg()[0],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def document(
    bench: str, before: dict[str, Any], settings: dict[str, Any], figures: dict[str, Any]
) -> dict[str, Any]:
    """Return a run as its file holds it.

    Args:
        bench: which benchmark.
        before: `machine()`, from before the work.
        settings: what was asked for.
        figures: what was measured; nested by case.
    """
    after = {"load_after": os.getloadavg()[0], "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    return {"bench": bench, "machine": before | after, "settings": settings, "figures": figures}


def save(path: Path, run: dict[str, Any]) -> None:
    """Write a run's file."""
    path.write_text(json.dumps(run, indent=2) + "\n")


def load_of(run: dict[str, Any]) -> str:
    """Return in words where a run was made and how busy the machine was."""
    facts = run["machine"]
    return (
        f"{facts['cores']} cores ({facts['processor']}), load {facts['load_before']:.1f} before "
        f"and {facts['load_after']:.1f} after, torch {facts['torch']}"
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest of the values that at least so many percent do not exceed.

    Raises:
        ValueError: there are none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values, so no percentile")
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, p99 and worst of some values."""
    return {
        "median": percentile(values, 50),
        "p99": percentile(values, 99),
        "worst": max(values),
    }


@dataclass(frozen=True, slots=True)
class Fit:
    """A straight line through points.

    Args:
        slope: of it.
        intercept: of it.
        r2: share of the variance that it explains.
        worst: largest distance of a point from it, of the largest value.
    """

    slope: float
    intercept: float
    r2: float
    worst: float


def line_fit(x: Sequence[float], y: Sequence[float]) -> Fit:
    """Return the line of least squares through points of at least two different `x`."""
    import numpy as np

    at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    slope, intercept = np.polyfit(at, values, 1)
    rest = values - (slope * at + intercept)
    total = float(((values - values.mean()) ** 2).sum())
    r2 = 1 - float((rest**2).sum()) / total if total else 1.0
    worst = float(np.abs(rest).max() / np.abs(values).max())
    return Fit(float(slope), float(intercept), r2, worst)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def flat(figures: Any, name: str = "") -> dict[str, float]:
    """Return all numbers of nested figures, by their names joined with ` / `; lists by number."""
    if isinstance(figures, bool) or figures is None or isinstance(figures, str):
        return {}
    if isinstance(figures, int | float):
        return {name: float(figures)}
    items = figures.items() if isinstance(figures, dict) else enumerate(figures)
    found: dict[str, float] = {}
    for key, value in items:
        found |= flat(value, f"{name} / {key}" if name else str(key))
    return found
