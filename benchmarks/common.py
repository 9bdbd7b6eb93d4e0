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
) -> dict[str, Any]:
    """Return the JSON that a benchmark's module prints, run in a process of its own.

    Args:
        module: name of the module.
        arguments: its command line.
        under: command line that it runs under: chrt, taskset.
        env: its environment; None for this process's.
    """
    command = [*shlex.split(under), sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=env)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Give an empty directory that is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-", dir=parent) as place:
        yield Path(place)


def run(
    bench: str,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    markdown: Callable[[dict[str, Any]], str],
) -> dict[str, Any]:
    """Measure, print the figures, write them where that is asked for; return them.

    Args:
        bench: name of the benchmark.
        options: the command line.
        measure: returns the figures, nested by case.
        markdown: returns a run (`document`) as text to print.
    """
    before = machine()
    figures = measure(options)
    made = document(bench, before, options, figures)
    print(markdown(made))
    save(options.json, made)
    return figures


def machine() -> dict[str, Any]:
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


def document(
    bench: str, before: dict[str, Any], options: argparse.Namespace, figures: dict[str, Any]
) -> dict[str, Any]:
    """Return a run as its file holds it; `before` is `machine()` from before the work."""
    after = {"load_after": os.getloadavg()[0], "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    settings = {name: value for name, value in vars(options).items() if name not in _OUTPUTS}
    return {"bench": bench, "machine": before | after, "settings": settings, "figures": figures}


def save(path: Path | None, run: dict[str, Any]) -> None:
    """Write a run's file, where one is asked for."""
    if path is not None:
        path.write_text(json.dumps(run, indent=2, default=str) + "\n")


def load_of(run: dict[str, Any]) -> str:
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

    Returns:
        `slope` and `intercept`; `r2`, the share of the variance that the line explains; `worst`,
        the largest distance of a point from the line in units of the largest |y|.
    """
    import numpy as np

    at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    slope, intercept = np.polyfit(at, values, 1)
    rest = values - (slope * at + intercept)
    total = float(((values - values.mean()) ** 2).sum())
    return {
        "slope": float(slope),
        "intercept": float(intercept),
        "r2": 1 - float((rest**2).sum()) / total if total else 1.0,
        "worst": float(np.abs(rest).max() / np.abs(values).max()),
    }


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
