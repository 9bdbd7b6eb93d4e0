#!/usr/bin/env python3
"""Measure the cleaning: milliseconds per second of data by stage, replay speed, memory.

Each case runs in a process of its own over simulated frames on disk, through the very code of
`deepclean replay`: read, align, resample, predict, bandpass, interpolate, subtract, render, write.
The networks have the published architecture with random weights, which cost what trained ones do.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common

common.limit_threads()

import torch

from benchmarks.blocks import BlockSink, block_sink, cut
from benchmarks.common import CONFIGURATIONS, Figures, percentile
from benchmarks.site import (
    SIXTEENTHS,
    START,
    SiteDirectory,
    lay_out,
    only,
    wide_site,
    write_random_models,
)
from deepclean.config import load
from deepclean.core.block import Block
from deepclean.core.engine import adaptation, pipeline
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.intake import Intake
from deepclean.core.engine.pipeline import Pipeline
from deepclean.core.frame import InputFrame
from deepclean.core.gate.monitor import GateMonitor
from deepclean.core.output.products import render
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.sink import FrameSink
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_models
from deepclean.models.model import Model
from deepclean.run import cleaner
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.simulate import Simulator, with_dummies
from deepclean.system import malloc

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

BLOCKS = {
    "blocks of 1 s, 21": (CONFIGURATIONS / "H1.yaml", NS),
    "blocks of 1/16 s, 21": (SIXTEENTHS, NS // 16),
}
"""By name: configuration and ns of a block. Their site is that of the live benchmarks, where the
gate is open."""

ROWS = (
    ("computing_ms_per_s", "all but read, write", ".1f"),
    ("frame_ms_median", "1-s frame, median", ".1f"),
    ("frame_ms_p99", "1-s frame, p99", ".1f"),
    ("processor_ms_median", "processor time of it, median", ".1f"),
    ("replay_times_real_time", "replay, times real time", ".0f"),
    ("peak_rss_mb", "peak memory, MB", ".0f"),
    ("channels", "channels", ""),
    ("couplings", "couplings", ""),
)
"""The table's lines below the stages: figure, label, format."""


def main() -> None:
    """Run the cases and print what they measured."""
    parser = common.parser(__doc__)
    parser.add_argument("--case", choices=[*CASES, *BLOCKS], action="append", help="only this case")
    parser.add_argument("--seconds", type=int, default=60, help="of data per case")
    parser.add_argument("--inside", help="measure one case here and print JSON")
    options = parser.parse_args()
    if options.inside:
        with common.scratch() as place:
            _, length = BLOCKS.get(options.inside, (None, NS))
            site, models = prepare(options.inside, place, options.seconds)
            print(json.dumps(clean(site, models, options.seconds, length)))
    else:
        common.run("engine", options, measure, markdown)


def measure(options: argparse.Namespace) -> Figures:
    """Return the figures of the cases, each from a process of its own."""
    asked = ("benchmarks.engine", "--seconds", str(options.seconds), "--inside")
    return {case: common.run_inside(*asked, case) for case in options.case or [*CASES, *BLOCKS]}


def prepare(
    case: str, place: Path, seconds: int, length: int = 1
) -> tuple[SiteDirectory, dict[str, Model]]:
    """Write the frames, of a length in s, and the models of a case; return the site and these."""
    if case in BLOCKS:
        site = wide_site(place, path=BLOCKS[case][0])
        site.write(Span.of_seconds(START, seconds), length)
        return site, load_models(site.config)
    ifo, chosen, dummies, wait = CASES[case]
    path = CONFIGURATIONS / f"{ifo}.yaml"
    overrides = [f"couplings.{name}.wait={wait}" for name in load(path, environ={}).couplings]
    overrides += only(path, chosen) if chosen else []
    site = lay_out(place, path, overrides, simulator=lambda s: Simulator(with_dummies(s, dummies)))
    site.write(Span.of_seconds(START, seconds), length)
    return site, write_random_models(site.config, place / "models")


def clean(site: SiteDirectory, models: dict[str, Model], seconds: int, length: int = NS) -> Figures:
    """Clean the data that a site wrote, in blocks of `length` ns; return what it took."""
    torch.set_num_threads(1)
    malloc.retain()  # as the daemon and a replay do
    config = site.config
    source = HistorySource(
        channels_of(config), History([site.root / "strain"]), History([site.root / "witnesses"])
    )
    engine = make_engine(config, models)
    sink = (block_sink if length % NS else sink_of)(config, models)
    cleaning = FrameCleaner(config, engine, sink)
    margin = max(4 * NS, length)
    span = Span(START * NS + margin, (START + seconds) * NS - margin)
    # The first calls build filters and touch pages: they are made by another engine, untimed.
    first = FrameCleaner(config, make_engine(config, models), sink)
    for frame in frames_of(source, Span(span.start, span.start + 2 * max(length, NS)), length):
        first.push(frame)
    with stages() as spent:
        elapsed, busy = [], []
        began = time.perf_counter()
        mark, used = began, time.process_time()
        for frame in frames_of(source, span, length):
            cleaning.push(frame)
            now, used_now = time.perf_counter(), time.process_time()
            elapsed.append(now - mark)
            busy.append(used_now - used)
            mark, used = now, used_now
        cleaning.release()
        lasted = time.perf_counter() - began
    each = per_second(elapsed, length / NS)
    return {
        "witnesses": sum(len(coupling.witnesses) for coupling in engine.versions.production),
        "channels": len(engine.witnesses),
        "couplings": len(engine.versions.production),
        "computing_ms_per_s": 1e3
        * (sum(busy) - spent["read"] - spent["write"])
        * NS
        / span.duration,
        "stages_ms_per_s": {k: 1e3 * v * NS / span.duration for k, v in spent.items()},
        "frame_ms_median": 1e3 * statistics.median(each),
        "frame_ms_p99": 1e3 * percentile(each, 99),
        "processor_ms_median": 1e3 * statistics.median(per_second(busy, length / NS)),
        "replay_times_real_time": span.duration / NS / lasted,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def frames_of(source: HistorySource, span: Span, length: int) -> Iterator[InputFrame]:
    """Yield a span in frames of `length` ns; those shorter than a second are cut from one."""
    step = max(length, NS)
    for start in range(span.start, span.end - step + 1, step):
        whole = Span(start, start + step)
        blocks = [block for frame in source.frames(whole, whole) for block in frame.blocks]
        if length >= NS:
            yield InputFrame(whole, blocks)
            continue
        for part in pieces(blocks, length):
            yield InputFrame(part.span, [part])


def pieces(blocks: list[Block], length: int) -> list[Block]:
    """Return blocks cut into pieces of `length` ns."""
    return [piece for block in blocks for piece in cut(block, length)]


def per_second(per_block: list[float], length: float) -> list[float]:
    """Return what each second of data took, from what each block of `length` seconds took.

    Shorter blocks of one second are added up; a longer one's seconds count alike.
    """
    count = max(round(1 / length), 1)
    whole = range(0, len(per_block) - count + 1, count)
    return [sum(per_block[first : first + count]) / max(length, 1) for first in whole]


@contextmanager
def stages() -> Iterator[dict[str, float]]:
    """Time the stages in place; a stage that contains another is charged for the rest."""
    spent: dict[str, float] = defaultdict(float)
    stack: list[str] = []

    def timed(stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            stack.append(stage)
            try:
                return call(*args, **kwargs)
            finally:
                stack.pop()
                took = time.thread_time() - began
                spent[stage] += took
                if stack:
                    spent[stack[-1]] -= took

        return wrapper

    places: list[tuple[Any, Callable[..., Any], str]] = [
        (HistorySource, HistorySource._read, "read"),
        (sys.modules[__name__], pieces, "read"),
        (Engine, Engine.push, "take in"),
        (Pipeline, Pipeline._compute, "standardise"),
        (Intake, Intake.resample, "resample"),
        (Intake, Intake.extrapolate, "forecast, resample"),
        (Intake, Intake.refit, "after a frame: fit forecasts"),
        (CouplingPipeline, CouplingPipeline._predict, "predict"),
        (CouplingPipeline, CouplingPipeline._bandpass, "bandpass"),
        (adaptation, adaptation.learn_together, "adapt: learn"),
        (pipeline, adaptation.learn_together, "adapt: learn"),
        (CouplingPipeline, CouplingPipeline._adapted, "adapt: apply"),
        (CouplingPipeline, CouplingPipeline._interpolate, "interpolate"),
        (GateMonitor, GateMonitor.advance, "quality, gate"),
        (GateMonitor, GateMonitor.look, "quality, gate"),
        (Engine, Engine._finish, "gain, subtract"),
        (cleaner, render, "render"),
        (FrameSink, FrameSink.write, "write"),
        (BlockSink, BlockSink.write, "write"),
    ]
    for owner, call, stage in places:
        setattr(owner, call.__name__, timed(stage, call))
    try:
        yield spent
    finally:
        for owner, call, _ in places:
            setattr(owner, call.__name__, call)


def markdown(run: Figures) -> str:
    """Return a run as a table."""
    results = run["figures"]
    names = dict.fromkeys(stage for r in results.values() for stage in r["stages_ms_per_s"])
    rows = [
        [stage, *(f"{r['stages_ms_per_s'].get(stage, 0.0):.2f}" for r in results.values())]
        for stage in names
    ]
    rows += [
        [label, *(format(r[key], form) for r in results.values())] for key, label, form in ROWS
    ]
    shown = common.table(["", *(f"{case} witnesses" for case in results)], rows)
    head = f"One thread; milliseconds of compute per second of data; {common.load_of(run)}"
    return f"{head}\n\n{shown}"


if __name__ == "__main__":
    main()
