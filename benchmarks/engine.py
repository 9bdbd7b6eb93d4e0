#!/usr/bin/env python3
"""Measure the cleaning: milliseconds per second of data by stage, replay speed, memory.

Each case runs in a process of its own over simulated frames on disk, through the very code of
`deepclean replay`: read, align, resample, predict, bandpass, interpolate, subtract, render, write.
The networks have the published architecture with random weights, which cost what trained ones do.

    benchmarks/engine.py                 all cases, a table
    benchmarks/engine.py --case 21       one case
    benchmarks/engine.py --hour          resident memory over an hour of data as well
    benchmarks/engine.py --json FILE     the figures as JSON beside the table
    benchmarks/engine.py --markdown      the table as documents have it
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.report import document, load_of, machine, percentile, save, table
from benchmarks.stages import stages

START = 1_400_000_000
CASES = {
    "1": ("H1", "60Hz_mains_only", 0, 1),
    "21": ("H1", "60Hz", 0, 1),
    "21 of 2000": ("H1", "60Hz", 2000 - 21, 1),
    "266": ("V1", None, 0, 1),
    "no waiting, 21": ("H1", "60Hz", 0, 0),
    "no waiting, 266": ("V1", None, 0, 0),
}
"""By name: configuration, the one coupling that is enabled (None: its own), channels not wanted,
and whether frames wait."""


def main() -> None:
    """Run the cases and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, action="append", help="only this case")
    parser.add_argument("--seconds", type=int, default=60, help="of data per case")
    parser.add_argument("--hour", action="store_true", help="watch the memory for an hour of data")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.inside, options.seconds, hour=options.hour)))
        return
    before, results = machine(), {}
    for case in options.case or CASES:
        command = [sys.executable, __file__, "--inside", case, "--seconds", str(options.seconds)]
        watched = options.hour and case == "21"
        done = subprocess.run(
            command + ["--hour"] * watched, check=True, stdout=subprocess.PIPE, text=True
        )
        results[case] = json.loads(done.stdout)
    run = document("engine", before, {"seconds": options.seconds}, results)
    show(run, markdown=options.markdown)
    if options.json:
        save(options.json, run)


def measure(case: str, seconds: int, *, hour: bool) -> dict[str, Any]:
    """Return the figures of one case."""
    with tempfile.TemporaryDirectory(prefix="deepclean-bench-") as scratch:
        place = Path(scratch)
        config, models = prepare(case, place, seconds)
        return clean(place, config, models, seconds, hour=hour)


def clean(
    place: Path,
    config: Any,
    models: Any,
    seconds: int,
    *,
    length: int = 1_000_000_000,
    hour: bool = False,
) -> dict[str, Any]:
    """Clean what `fill` wrote; return what it took.

    Args:
        place: where it wrote.
        config: of the cleaning.
        models: of its couplings.
        seconds: of data that are there, from `START` on.
        length: nanoseconds of the blocks.
        hour: watch the memory for an hour of data as well.
    """
    import torch

    from benchmarks.blocks import block_sink
    from deepclean.core.time import NS, Span
    from deepclean.factory import make_engine
    from deepclean.io.history import History
    from deepclean.io.source import HistorySource
    from deepclean.run.cleaner import FrameCleaner, channels_of

    torch.set_num_threads(1)
    source = HistorySource(
        channels_of(config), History([place / "strain"]), History([place / "witnesses"])
    )
    engine = make_engine(config, models)
    sink = block_sink(config, models, place / "cleaned", named=length % NS == 0)
    cleaning = FrameCleaner(config, engine, sink)
    margin = max(4 * NS, length)
    span = Span(START * NS + margin, (START + seconds) * NS - margin)
    # Warm up: first calls build filters and pages.
    warm = FrameCleaner(config, make_engine(config, models), sink)
    for frame in blocks_of(source, Span(span.start, span.start + 2 * max(length, NS)), length):
        warm.push(frame)
    with stages() as spent:
        per_block, busy = [], []
        began = time.perf_counter()
        mark, used = began, time.process_time()
        for frame in blocks_of(source, span, length):
            cleaning.push(frame)
            now, spent_now = time.perf_counter(), time.process_time()
            per_block.append(now - mark)
            busy.append(spent_now - used)
            mark, used = now, spent_now
        cleaning.release()
        elapsed = time.perf_counter() - began
    each = per_second(per_block, length / NS)
    figures = {
        "witnesses": sum(len(c.witnesses) for c in engine.versions.production),
        "channels": len(engine.witnesses),
        "couplings": len(engine.versions.production),
        "stages_ms_per_s": {k: 1e3 * v * NS / span.duration for k, v in spent.items()},
        "frame_ms_median": 1e3 * statistics.median(each),
        "frame_ms_p99": 1e3 * percentile(each, 99),
        "processor_ms_median": 1e3 * statistics.median(per_second(busy, length / NS)),
        "replay_times_real_time": (span.duration / NS) / elapsed,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if hour:
        figures["hour_rss_mb"] = watch_memory(source, cleaning, span)
    return figures


def blocks_of(source: Any, span: Any, length: int) -> Iterator[Any]:
    """Yield a span of whole blocks of `length` ns; shorter ones are cut from whole seconds."""
    from deepclean.core.block import Block
    from deepclean.core.frame import InputFrame
    from deepclean.core.time import NS, Span

    step = max(length, NS)
    for start in range(span.start, span.end - step + 1, step):
        read = source._block(Span(start, start + step))
        if length >= NS:
            yield InputFrame(read.span, [read])
            continue
        for begin in range(start, start + step, length):
            here = Span(begin, begin + length)
            witnesses = {name: channel.cut(here) for name, channel in read.witnesses.items()}
            block = Block(here, read.strain.cut(here), witnesses, read.state.cut(here))
            yield InputFrame(here, [block])


def per_second(per_block: list[float], length: float) -> list[float]:
    """Return what each second of data took, of what each block of `length` seconds took.

    Of shorter blocks those of a second are added up; a longer one's seconds count alike.
    """
    if length >= 1:
        return [took / length for took in per_block]
    count = round(1 / length)
    whole = len(per_block) // count * count
    return [sum(per_block[first : first + count]) for first in range(0, whole, count)]


def prepare(case: str, place: Path, seconds: int, length: int = 1) -> tuple[Any, Any]:
    """Write the frames, of a length in s, and make the models; return configuration and models."""
    from deepclean.config import load
    from deepclean.simulate.configured import site_of
    from deepclean.simulate.variants import with_dummies

    ifo, chosen, dummies, wait = CASES[case]
    path = ROOT / "config" / f"{ifo}.yaml"
    names = load(path).couplings
    overrides = [f"couplings.{name}.wait={wait}" for name in names]
    if chosen is not None:
        overrides += [f"couplings.{name}.enabled={str(name == chosen).lower()}" for name in names]
    config = load(path, overrides)
    return config, fill(place, config, with_dummies(site_of(config), dummies), seconds, length)


def fill(place: Path, config: Any, site: Any, seconds: int, length: int = 1) -> dict[str, Any]:
    """Write a site's frames, of a length in s, and make the models of a configuration."""
    import numpy as np
    import torch

    from deepclean.core.time import Span
    from deepclean.models import load as models
    from deepclean.models.manifest import Channel, Description
    from deepclean.models.networks import build
    from deepclean.models.tensors import Scalers
    from deepclean.simulate.files import Layout
    from deepclean.simulate.history import write_history
    from deepclean.simulate.simulator import Simulator

    simulator = Simulator(site)
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
            interferometer=config.interferometer,
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
    return loaded


def watch_memory(source: Any, cleaning: Any, span: Any) -> list[float]:
    """Clean an hour of data, the frames of `span` over and over; return the memory by minute."""
    from deepclean.core.block import Block, Series
    from deepclean.core.frame import InputFrame
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


def show(run: dict[str, Any], *, markdown: bool) -> None:
    """Print the table."""
    results = run["figures"]
    names = dict.fromkeys(stage for r in results.values() for stage in r["stages_ms_per_s"])
    rows = [
        [stage, *(f"{r['stages_ms_per_s'].get(stage, 0.0):.2f}" for r in results.values())]
        for stage in names
    ]
    for key, label, form in (
        ("frame_ms_median", "1-s frame, median", "{:.1f}"),
        ("frame_ms_p99", "1-s frame, p99", "{:.1f}"),
        ("processor_ms_median", "processor time of it, median", "{:.1f}"),
        ("replay_times_real_time", "replay, times real time", "{:.0f}"),
        ("peak_rss_mb", "peak memory, MB", "{:.0f}"),
        ("channels", "channels", "{}"),
        ("couplings", "couplings", "{}"),
    ):
        rows.append([label, *(form.format(r[key]) for r in results.values())])
    print(f"One thread; milliseconds of compute per second of data; {load_of(run)}\n")
    header = ["", *(f"{case} witnesses" for case in results)]
    if markdown:
        print(table(header, rows))
    else:
        _print_rich(header, rows)
    for case, result in results.items():
        if "hour_rss_mb" in result:
            sizes = result["hour_rss_mb"]
            print(
                f"{case} witnesses, an hour of data: resident {sizes[0]:.1f} MB after a minute, "
                f"{sizes[29]:.1f} after 30, {sizes[-1]:.1f} after 60"
            )


def _print_rich(header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    drawn = Table()
    for name in header:
        drawn.add_column(name, justify="right" if name else "left")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)


if __name__ == "__main__":
    main()
