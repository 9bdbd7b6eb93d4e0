#!/usr/bin/env python3
"""Measure the cold start: from the start of `deepclean run` to its first fully cleaned frame.

Simulated frames, 21 witnesses, strain at 16384 Hz, one coupling with its gate; two minutes of them
lie there when the daemon starts, and one a second goes on arriving. A frame is fully cleaned where
every sample has its estimate subtracted, with the gate's window full.

    scripts/bench_start.py                  five starts
    scripts/bench_start.py --json FILE      the figures as JSON beside the table
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import json
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.bench_engine import prepare

THERE, COMING = 120, 20
"""Seconds of data that lie there at the start, and that come after it."""

CONFIG = """
extends: {root}/config/H1.yaml
input:
  strain: {{directory: {place}/live/strain, description: H1_llhoft}}
  witnesses: [{{directory: {place}/live/witnesses, description: H1_lldetchar}}]
output: {{directory: {place}/live/cleaned}}
models: {{directory: {place}/live/models}}
metrics: {{port: {port}}}
"""


def main() -> int:
    """Start some times, print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5, help="how many")
    parser.add_argument("--limit", type=float, default=6.0, help="seconds; longer is status 1")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-", dir="/dev/shm") as scratch:
        place = Path(scratch)
        _, models = prepare("21", place, THERE + COMING)
        starts = [start(place, models) for _ in range(options.starts)]
    seconds = [each["seconds"] for each in starts]
    figures = {
        "starts": starts,
        "median_s": statistics.median(seconds),
        "worst_s": max(seconds),
        "load": os.getloadavg()[0],
    }
    print("| start to first fully cleaned frame (s) | CPU until it has ended (s) | peak MB |")
    print("|---|---|---|")
    for each in starts:
        print(f"| {each['seconds']:.2f} | {each['cpu_s']:.2f} | {each['peak_rss_mb']:.0f} |")
    print(f"load of the machine {figures['load']:.1f}; ", end="")
    print(f"median {figures['median_s']:.2f} s, worst {figures['worst_s']:.2f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if max(seconds) < options.limit else 1


def start(place: Path, models: Any) -> dict[str, float]:
    """Start the daemon once over a fresh site; return what it took."""
    live = place / "live"
    shutil.rmtree(live, ignore_errors=True)
    frames = {stream: sorted((place / stream).glob("*.gwf")) for stream in ("witnesses", "strain")}
    for stream, files in frames.items():
        (live / stream).mkdir(parents=True)
        for path in files[:THERE]:
            shutil.copy(path, live / stream / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "site.yaml").write_text(CONFIG.format(root=ROOT, place=place, port=port))
    command = [sys.executable, "-m", "deepclean", "run", "-c", str(place / "site.yaml")]
    for override in overrides(models):
        command += ["--set", override]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    daemon = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.DEVNULL)
    try:
        took, coming = None, THERE
        while took is None:
            now = time.perf_counter() - began
            if daemon.poll() is not None or coming == THERE + COMING:
                raise SystemExit("no frame was fully cleaned: run the command by hand")
            if now >= coming - THERE + 1:
                for stream, files in frames.items():
                    hidden = live / stream / f".{files[coming].name}.tmp"
                    shutil.copy(files[coming], hidden)
                    hidden.rename(live / stream / files[coming].name)
                coming += 1
            if any(map(fully_cleaned, sorted((live / "cleaned").glob("*.gwf")))):
                took = time.perf_counter() - began
            time.sleep(0.002)
    finally:
        daemon.terminate()
        daemon.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": took,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_rss_mb": after.ru_maxrss / 1024,
    }


def overrides(models: Any) -> list[str]:
    """Return what the configuration is to say of the couplings: one is enabled."""
    from deepclean.config import load

    ((name, model),) = models.items()
    others = [other for other in load(ROOT / "config/H1.yaml").couplings if other != name]
    return [
        f"couplings.{name}.model={model.path}",
        *(f"couplings.{other}.enabled=false" for other in others),
    ]


def fully_cleaned(path: Path) -> bool:
    """Return whether every sample of a frame is cleaned, with a gate that has settled."""
    from deepclean.core.products import State
    from deepclean.edge import gwf

    wanted = int(State.CLEANED | State.STEADY | State.SETTLED)
    name = "H1:DEEPCLEAN-STATE_VECTOR"
    held: Any = gwf.read(path, [name])[name]
    return bool((held.samples & wanted == wanted).all())


if __name__ == "__main__":
    sys.exit(main())
