#!/usr/bin/env python3
"""Measure the cleaning: milliseconds per second of data by stage, replay speed, memory.

Each case runs in a process of its own over simulated frames on disk, through the very code of
`deepclean replay`: read, align, resample, predict, bandpass, interpolate, subtract, render, write.
The networks have the published architecture with random weights, which cost what trained ones do.

    scripts/bench_engine.py                 all cases, a table
    scripts/bench_engine.py --case 21       one case
    scripts/bench_engine.py --hour          resident memory over an hour of data as well
    scripts/bench_engine.py --json FILE     the figures as JSON beside the table
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START = 1_400_000_000
CASES = {
    "1": ("H1", "60Hz_mains_only", 0),
    "21": ("H1", "60Hz", 0),
    "21 of 2000": ("H1", "60Hz", 2000 - 21),
    "266": ("V1", None, 0),
}
"""By name: configuration, the one coupling that is enabled (None: its own), channels not wanted."""


def main() -> None:
    """Run the cases and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append", help="only this case")
    parser.add_argument("--seconds", type=int, default=60, help="of data per case")
    parser.add_argument("--hour", action="store_true", help="watch the memory for an hour of data")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.inside, options.seconds, hour=options.hour)))
        return
    results = {}
    for case in options.case or CASES:
        command = [sys.executable, __file__, "--inside", case, "--seconds", str(options.seconds)]
        watched = options.hour and case == "21"
        done = subprocess.run(
            command + ["--hour"] * watched, check=True, stdout=subprocess.PIPE, text=True
        )
        results[case] = json.loads(done.stdout)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(case: str, seconds: int, *, hour: bool) -> dict[str, Any]:
    """Return the figures of one case."""
    import torch

    from deepclean.build import make_engine
    from deepclean.cleaning import Cleaning, channels_of, sink_of
    from deepclean.core.time import NS, Span
    from deepclean.edge.history import History
    from deepclean.edge.source import HistorySource

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-") as scratch:
        place = Path(scratch)
        config, models = prepare(case, place, seconds)
        source = HistorySource(
            channels_of(config), History([place / "strain"]), History([place / "witnesses"])
        )
        engine = make_engine(config, models)
        sink = replace(sink_of(config, models, place / "cleaned"), keep_count=300)
        cleaning = Cleaning(config, engine, sink, duration=NS)
        span, there = Span.of_seconds(START + 4, seconds - 8), Span.of_seconds(START, seconds)
        # Warm up: first calls build filters and pages.
        warm = Cleaning(config, make_engine(config, models), sink, duration=NS)
        for frame in source.frames(Span.of_seconds(START + 4, 2), there):
            if frame.span.start >= (START + 6) * NS:
                break
            warm.take(frame)
        with stages() as spent:
            per_frame = []
            began = time.perf_counter()
            mark = began
            for frame in source.frames(span, there):
                cleaning.take(frame)
                now = time.perf_counter()
                per_frame.append(now - mark)
                mark = now
            cleaning.release()
            elapsed = time.perf_counter() - began
        figures = {
            "witnesses": sum(len(c.witnesses) for c in engine.couplings),
            "channels": len(engine.witnesses),
            "couplings": len(engine.couplings),
            "stages_ms_per_s": {k: 1e3 * v / len(per_frame) for k, v in spent.items()},
            "frame_ms_median": 1e3 * statistics.median(per_frame),
            "frame_ms_p99": 1e3 * statistics.quantiles(per_frame, n=100)[98],
            "replay_times_real_time": (span.duration / NS) / elapsed,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if hour:
            figures["hour_rss_mb"] = watch_memory(source, cleaning, span)
        return figures


def prepare(case: str, place: Path, seconds: int, length: int = 1) -> tuple[Any, Any]:
    """Write the frames, of a length in s, and make the models; return configuration and models."""
    import numpy as np
    import torch

    from deepclean.config import load
    from deepclean.core.time import Span
    from deepclean.edge import models
    from deepclean.edge.manifest import Channel, Description
    from deepclean.edge.tensors import Scalers
    from deepclean.networks import build
    from deepclean.simulate.configured import site_of
    from deepclean.simulate.files import Layout
    from deepclean.simulate.history import write_history
    from deepclean.simulate.simulator import Simulator
    from deepclean.simulate.variants import with_dummies

    ifo, chosen, dummies = CASES[case]
    path = ROOT / "config" / f"{ifo}.yaml"
    overrides = []
    if chosen is not None:
        overrides = [
            f"couplings.{name}.enabled={str(name == chosen).lower()}"
            for name in load(path).couplings
        ]
    config = load(path, overrides)
    simulator = Simulator(with_dummies(site_of(config), dummies))
    layout = Layout(
        strain=place / "strain",
        witnesses=place / "witnesses",
        strain_length=length,
        witness_length=length,
    )
    for _ in write_history(simulator, layout, Span.of_seconds(START, seconds)):
        pass
    loaded = {}
    for name, coupling in config.enabled_couplings.items():
        torch.manual_seed(0)
        count = len(coupling.witnesses)
        description = Description(
            interferometer=ifo,
            coupling=name,
            version=1,
            architecture={"name": "autoencoder"},
            strain=Channel(name=config.strain.channel, rate=config.strain.rate),
            channels=[Channel(name=w, rate=simulator.rates[w]) for w in coupling.witnesses],
            sample_rate=config.engine.rate,
            bands=coupling.bands,
            kernel=config.engine.rate,
            edge=128,
        )
        scalers = Scalers(
            witness_mean=np.zeros(count),
            witness_std=np.ones(count),
            strain_mean=0.0,
            strain_std=1e-23,
        )
        network = build({"name": "autoencoder"}, count)
        loaded[name] = models.load(
            models.write_model(place / "models", network, scalers, description)
        )
    return config, loaded


@contextmanager
def stages() -> Iterator[dict[str, float]]:
    """Time the stages while entered; a stage that contains another is charged for the rest."""
    from deepclean import cleaning
    from deepclean.core.bandpass import FirBandpass
    from deepclean.core.engine import Engine
    from deepclean.core.hops import Hops
    from deepclean.core.intake import Intake
    from deepclean.core.runner import Runner
    from deepclean.core.supervise import Supervisor
    from deepclean.edge.sink import FrameSink
    from deepclean.edge.source import HistorySource

    spent: dict[str, float] = defaultdict(float)
    stack: list[str] = []

    def timed(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            stack.append(stage)
            try:
                return call(*args, **kwargs)
            finally:
                stack.pop()
                took = time.perf_counter() - began
                spent[stage] += took
                if stack:
                    spent[stack[-1]] -= took

        return wrapper

    places: list[tuple[Any, str, str]] = [
        (HistorySource, "_block", "read"),
        (Engine, "push", "take in"),
        (Hops, "_compute", "standardise"),
        (Intake, "resample", "resample"),
        (Intake, "foresee", "forecast, resample"),
        (Runner, "_predict", "predict"),
        (FirBandpass, "apply", "bandpass"),
        (Runner, "_interpolate", "interpolate"),
        (Supervisor, "advance", "quality, gate"),
        (Engine, "_finish", "gain, subtract"),
        (cleaning, "render", "render"),
        (FrameSink, "write", "write"),
    ]
    originals = [getattr(owner, name) for owner, name, _ in places]
    for (owner, name, stage), original in zip(places, originals, strict=True):
        setattr(owner, name, timed(stage, original))
    try:
        yield spent
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


def watch_memory(source: Any, cleaning: Any, span: Any) -> list[float]:
    """Clean an hour of data, the frames of `span` over and over; return the memory by minute."""
    from deepclean.core.assemble import InputFrame
    from deepclean.core.block import Block, Series
    from deepclean.core.time import NS, Span

    frames = list(source.frames(span, span))
    now, sizes = span.end + 100 * NS, []
    for second in range(3600):
        (block,) = frames[second % len(frames)].blocks
        here = Span(now, now + NS)
        moved = {
            name: Series(here, channel.rate, channel.samples)
            for name, channel in block.witnesses.items()
        }
        strain = Series(here, block.strain.rate, block.strain.samples)
        cleaning.take(InputFrame(here, [Block(here, strain, moved)]))
        now = here.end
        if second % 60 == 59:
            sizes.append(resident_mb())
    return sizes


def resident_mb() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="One thread; milliseconds of compute per second of data")
    table.add_column("")
    for case in results:
        table.add_column(f"{case} witnesses", justify="right")
    names = dict.fromkeys(stage for r in results.values() for stage in r["stages_ms_per_s"])
    for stage in names:
        table.add_row(
            stage, *(f"{r['stages_ms_per_s'].get(stage, 0.0):.2f}" for r in results.values())
        )
    table.add_section()
    for key, label, form in (
        ("frame_ms_median", "1-s frame, median", "{:.1f}"),
        ("frame_ms_p99", "1-s frame, p99", "{:.1f}"),
        ("replay_times_real_time", "replay, times real time", "{:.0f}"),
        ("peak_rss_mb", "peak memory, MB", "{:.0f}"),
        ("channels", "channels", "{}"),
        ("couplings", "couplings", "{}"),
    ):
        table.add_row(label, *(form.format(r[key]) for r in results.values()))
    console = Console()
    console.print(table)
    for case, result in results.items():
        if "hour_rss_mb" in result:
            sizes = result["hour_rss_mb"]
            console.print(
                f"{case} witnesses, an hour of data: resident {sizes[0]:.1f} MB after a minute, "
                f"{sizes[29]:.1f} after 30, {sizes[-1]:.1f} after 60"
            )


if __name__ == "__main__":
    main()
