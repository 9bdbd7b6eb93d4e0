"""What the benchmarks share: options, facts of the machine, statistics, tables, files of runs."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATIONS = ROOT / "config"

Figures = dict[str, Any]

_OUTPUTS = ("json", "figure", "inside")
"""Options that say where results go, not what is measured."""


def limit_threads() -> None:
    """Let numpy and torch, which are imported later, compute in one thread."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that is described by a docstring's first line and knows `--json FILE`."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return made


def run_inside(
    module: str, *arguments: str, under: str = "", env: Mapping[str, str] | None = None
) -> Figures:
    """Return the JSON that a module prints, run as a process, under another command (taskset)."""
    command = [*shlex.split(under), sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=env)
    figures: Figures = json.loads(done.stdout)
    return figures


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Give an empty directory that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-", dir=parent) as place:
        yield Path(place)


def listing(run: Figures) -> str:
    """Return a run as text: what was asked for, and every figure by name and unit."""
    rows = [(name, f"{value:.6g}") for name, value in flat(run["figures"]).items()]
    asked = ", ".join(f"{name} {value}" for name, value in run["settings"].items() if value)
    return f"{asked}; {load_of(run)}\n\n{table(('figure', 'value'), rows)}"


def run(
    bench: str,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Figures],
    markdown: Callable[[Figures], str] = listing,
) -> Figures:
    """Measure, print the run as text, write its file where that is asked for.

    A run has the name of its benchmark, the facts of the machine, the settings that were asked
    for, and the figures, nested by case. The figures are returned.
    """
    facts = machine()
    figures = measure(options)
    facts |= {"load_after": os.getloadavg()[0], "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    settings = {name: value for name, value in vars(options).items() if name not in _OUTPUTS}
    made = {"bench": bench, "machine": facts, "settings": settings, "figures": figures}
    print(markdown(made))
    if options.json:
        options.json.write_text(json.dumps(made, indent=2, default=str) + "\n")
    return figures


def machine() -> Figures:
    """Return what a figure depends on beside the code. It is called before the work."""
    import torch

    from deepclean import __version__

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "deepclean": __version__,
        "load_before": os.getloadavg()[0],
    }


def load_of(run: Figures) -> str:
    """Return in words where a run was made and how busy the machine was."""
    facts = run["machine"]
    return (
        f"{facts['cores']} cores ({facts['processor']}), load {facts['load_before']:.1f} before "
        f"and {facts['load_after']:.1f} after, torch {facts['torch']}"
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest of the values that at least so many percent do not exceed."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values, so no percentile")
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, p99 and worst of some values."""
    return {"median": percentile(values, 50), "p99": percentile(values, 99), "worst": max(values)}


def line_fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Return the straight line of least squares through points of at least two different `x`.

    `r2` is the share of the variance that it explains, `worst` the largest distance of a point
    from it in units of the largest |y|.
    """
    import numpy as np

    slope, intercept = np.polyfit(x, y, 1)
    rest = np.asarray(y) - (slope * np.asarray(x) + intercept)
    total, worst = float(np.var(y)), float(np.abs(rest).max() / np.abs(y).max())
    r2 = 1 - float(np.mean(rest**2)) / total if total else 1.0
    return {"slope": float(slope), "intercept": float(intercept), "r2": r2, "worst": worst}


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


def pyplot() -> Any:
    """Return matplotlib's pyplot, which draws into files."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
