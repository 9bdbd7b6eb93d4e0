#!/usr/bin/env python3
"""Measure bulk replay: one process and several, the live hop and a larger one, in one run.

Simulated frames on disk, 21 witnesses, strain at 16384 Hz, one coupling with its gate; every case
is the command `deepclean replay`, from its start to its end. The samples of several processes must
be those of one, bit for bit; those of a larger hop equal to rounding: otherwise the status is 1.

    benchmarks/replay.py                 half an hour of data, two processes, hops of 1 and 16 s
    benchmarks/replay.py --json FILE     the figures as JSON beside the table

The table is Markdown, as documents have it.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import ctypes
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.engine import START, prepare
from benchmarks.report import document, machine, save

MARGIN = 128
"""Seconds of data before the span, for the gate's history, and after it."""

_PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's prctl.h."""

ROUNDING = 1e-5
"""Largest difference between hops that is rounding, of the largest noise estimate: the network
sums thousands of products in single precision, in another order for another hop."""


@dataclass(frozen=True)
class Case:
    """One replay.

    Args:
        jobs: processes.
        hop: seconds.
    """

    jobs: int
    hop: float

    def __str__(self) -> str:
        return f"jobs {self.jobs}, hop {self.hop:g} s"


def main() -> int:
    """Run the cases, compare what they wrote, print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=1800, help="of data")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--hop", type=float, default=16, help="the larger hop, seconds")
    parser.add_argument("--length", type=int, default=64, help="of input files, seconds")
    parser.add_argument("--duration", type=int, default=64, help="of output files, seconds")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    # The command's workers are children of a server that ends after it; their times count as well.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    before = machine()
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-") as scratch:
        figures = measure(Path(scratch), options)
    show(figures)
    if options.json:
        asked = ("seconds", "jobs", "hop", "length", "duration")
        settings = {name: getattr(options, name) for name in asked}
        save(options.json, document("replay", before, settings, figures))
    return 0 if figures["exact"] and figures["equal_to_rounding"] else 1


def measure(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of all cases."""
    config, models = prepare("21", place, options.seconds + 2 * MARGIN, options.length)
    live = config.engine.hop / 1e9
    cases = [Case(1, live), Case(options.jobs, live), Case(1, options.hop)]
    cases += [Case(options.jobs, options.hop)]
    results = {}
    for number, case in enumerate(cases):
        results[str(case)] = replay(place, models, case, options, place / str(number))
    one, several, larger, both = (place / str(number) for number in range(4))
    differences = [compare(one, other, config) for other in (larger, both)]
    return {
        "seconds": options.seconds,
        "witnesses": len(config.witness_channels),
        "strain_rate": config.strain.rate,
        "cores": os.cpu_count(),
        "load_before_and_after": [results[str(cases[0])]["load"], os.getloadavg()[0]],
        "cases": results,
        "exact": same_files(one, several) and same_files(larger, both),
        "equal_to_rounding": max(differences) <= ROUNDING,
        "largest_difference_between_hops": max(differences),
    }


def replay(
    place: Path, models: Any, case: Case, options: argparse.Namespace, into: Path
) -> dict[str, float]:
    """Run one case; return what it took."""
    (model,) = models.values()
    (name,) = models
    overrides = [f"engine.hop={case.hop}", f"couplings.{name}.model={model.path}"]
    overrides += [f"couplings.{other}.enabled=false" for other in couplings() if other != name]
    command = [sys.executable, "-m", "deepclean", "replay", "-c", str(ROOT / "config/H1.yaml")]
    command += ["--start", str(START + MARGIN), "--end", str(START + MARGIN + options.seconds)]
    command += ["--strain", str(place / "strain"), "--witnesses", str(place / "witnesses")]
    command += ["--output", str(into), "--duration", str(options.duration)]
    command += ["--jobs", str(case.jobs)]
    for override in overrides:
        command += ["--set", override]
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=place, env=environment)
    elapsed = time.perf_counter() - began
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "elapsed_s": elapsed,
        "times_real_time": options.seconds / elapsed,
        "cpu_s": busy,
        "cpu_ms_per_s": 1e3 * busy / options.seconds,
        "cores_had": busy / elapsed,
        "load": load,
    }


def couplings() -> list[str]:
    """Return the names of the configuration's couplings."""
    from deepclean.config import load

    return list(load(ROOT / "config/H1.yaml").couplings)


def same_files(one: Path, other: Path) -> bool:
    """Return whether two directories hold the same files, byte for byte."""
    names = sorted(path.name for path in one.iterdir())
    if not names or names != sorted(path.name for path in other.iterdir()):
        return False
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def compare(one: Path, other: Path, config: Any) -> float:
    """Return the largest difference between two replays, of the largest noise estimate."""
    import numpy as np

    from deepclean.core.channels import product_names
    from deepclean.io import gwf
    from deepclean.io.history import History

    products = list(product_names(config.strain.channel, config.output.products).values())
    raw = History([one.parent / "strain"])

    def samples(held: Any, name: str) -> Any:
        return held[name].samples

    largest, scale = 0.0, 0.0
    for path in sorted(one.glob("*.gwf")):
        span = gwf.span(path)
        ours, theirs = gwf.read(path, products), gwf.read(other / path.name, products)
        strain = samples(raw.read([config.strain.channel], span), config.strain.channel)
        for name in products:
            cleaned = samples(ours, name)
            scale = max(scale, float(np.abs(cleaned - strain).max()))
            largest = max(largest, float(np.abs(cleaned - samples(theirs, name)).max()))
    return largest / scale if scale else float("inf")


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"{figures['seconds']} s of data, {figures['witnesses']} witnesses, strain at "
        f"{figures['strain_rate']} Hz, {figures['cores']} cores, load of the machine "
        f"{' and '.join(f'{load:.1f}' for load in figures['load_before_and_after'])} "
        "before and after"
    )
    print("| | times real time | elapsed (s) | CPU (ms per s of data) | cores had |")
    print("|---|---|---|---|---|")
    for name, each in figures["cases"].items():
        print(
            f"| {name} | {each['times_real_time']:.0f} | {each['elapsed_s']:.1f} "
            f"| {each['cpu_ms_per_s']:.1f} | {each['cores_had']:.2f} |"
        )
    print(f"several processes, bit for bit those of one: {'yes' if figures['exact'] else 'NO'}")
    said = "yes" if figures["equal_to_rounding"] else "NO"
    apart = figures["largest_difference_between_hops"]
    print(f"hops equal to rounding: {said}, {apart:.1e} of the largest noise estimate")


if __name__ == "__main__":
    sys.exit(main())
