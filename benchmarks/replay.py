#!/usr/bin/env python3
"""Measure bulk replay: one process and several, the live hop and a larger one, in one run.

Simulated frames on disk, 21 witnesses, strain at 16384 Hz, one coupling with its gate; every case
is the command `deepclean replay`, from its start to its end. The samples of several processes must
be those of one, bit for bit; those of a larger hop equal to rounding: otherwise the status is 1.
"""

from __future__ import annotations

import argparse
import ctypes
import filecmp
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

common.limit_threads()

import numpy as np

from benchmarks.common import Figures
from benchmarks.engine import prepare
from benchmarks.site import START, SiteDirectory
from deepclean.core.block import Series
from deepclean.core.channels import product_names
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.io.history import History

MARGIN = 128
"""Seconds of data before the span, for the gate's history, and after it."""

_PR_SET_CHILD_SUBREAPER = 36
"""Number in Linux's prctl.h."""

ROUNDING = 1e-5
"""Largest difference between hops that is rounding, in units of the largest noise estimate: the
network sums thousands of products in single precision, in another order for another hop."""


def main() -> int:
    """Run the cases, compare what they wrote, print the figures; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=1800, help="of data")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--hop", type=float, default=16, help="the larger hop, seconds")
    parser.add_argument("--length", type=int, default=64, help="of input files, seconds")
    parser.add_argument("--duration", type=int, default=64, help="of output files, seconds")
    options = parser.parse_args()
    # The command's workers are children of a server that ends after it; their times count as well.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with common.scratch() as place:
        figures = common.run("replay", options, lambda asked: measure(place, asked))
    for what in ("exact", "equal_to_rounding"):
        print(f"{what}: {'yes' if figures[what] else 'NO'}")
    return 0 if figures["exact"] and figures["equal_to_rounding"] else 1


def measure(place: Path, options: argparse.Namespace) -> Figures:
    """Return the figures of all cases."""
    site, models = prepare("21", place, options.seconds + 2 * MARGIN, options.length)
    live = site.config.engine.hop / NS
    chosen = [f"couplings.{name}.model={model.path}" for name, model in models.items()]
    results: dict[str, dict[str, float]] = {}
    places: list[Path] = []
    for hop in (live, options.hop):
        for jobs in (1, options.jobs):
            places.append(place / str(len(places)))
            overrides = (*chosen, f"engine.hop={hop}")
            taken = replay(site, overrides, jobs, options, places[-1])
            results[f"jobs {jobs}, hop {hop:g} s"] = taken
    one, several, larger, both = places
    apart = max(largest_difference(site, one, other) for other in (larger, both))
    return {
        **results,
        "exact": same_files(one, several) and same_files(larger, both),
        "equal_to_rounding": apart <= ROUNDING,
        "largest difference between hops, of the largest noise estimate": apart,
    }


def replay(
    site: SiteDirectory,
    overrides: tuple[str, ...],
    jobs: int,
    options: argparse.Namespace,
    into: Path,
) -> dict[str, float]:
    """Run one case; return what it took."""
    command = [sys.executable, "-m", "deepclean", "replay", "--config", str(site.path)]
    command += ["--start", str(START + MARGIN), "--end", str(START + MARGIN + options.seconds)]
    command += ["--strain", str(site.root / "strain"), "--witnesses", str(site.root / "witnesses")]
    command += ["--output", str(into), "--duration", str(options.duration), "--jobs", str(jobs)]
    for override in (*site.overrides, *overrides):
        command += ["--set", override]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=common.ROOT)
    elapsed = time.perf_counter() - began
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "elapsed_s": elapsed,
        "times_real_time": options.seconds / elapsed,
        "cpu_ms_per_s": 1e3 * busy / options.seconds,
        "cores_had": busy / elapsed,
    }


def same_files(one: Path, other: Path) -> bool:
    """Return whether two directories hold the same files, byte for byte."""
    names, others = (sorted(path.name for path in place.iterdir()) for place in (one, other))
    same, _, _ = filecmp.cmpfiles(one, other, names, shallow=False)
    return bool(names) and names == others == sorted(same)


def largest_difference(site: SiteDirectory, one: Path, other: Path) -> float:
    """Return the largest difference between two replays, in units of the largest noise estimate."""
    name = site.config.strain.channel
    products = list(product_names(name, site.config.output.products).values())
    raw = History([site.root / "strain"])
    largest, scale = 0.0, 0.0
    for path in sorted(one.glob("*.gwf")):
        strain = raw.read([name], gwf.span(path))[name]
        ours, theirs = gwf.read(path, products), gwf.read(other / path.name, products)
        for product in products:
            cleaned, again = ours[product], theirs[product]
            assert isinstance(strain, Series)
            assert isinstance(cleaned, Series)
            assert isinstance(again, Series)
            scale = max(scale, float(np.abs(cleaned.samples - strain.samples).max()))
            largest = max(largest, float(np.abs(cleaned.samples - again.samples).max()))
    return largest / scale if scale else float("inf")


if __name__ == "__main__":
    sys.exit(main())
