#!/usr/bin/env python3
"""Measure what the page, the estimates and the segments cost, and what five open pages do.

Two daemons clean the same stream in real time, with 21 witnesses: one with the page, the estimate
of the coupling, the sum of what was subtracted and the segments, one with none of these. So both
meet the same load of the machine. In every other window five pages are open.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common
from benchmarks.common import Figures
from benchmarks.processes import Daemon, free_port, processor, resident, service_env
from benchmarks.site import START, wide_site
from benchmarks.stream import InputMoment, OutputMoment, Watcher, Writer
from deepclean.core.channels import state_vector
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models

SETTLE = 15
"""Seconds of the stream before anything is measured."""

VISITORS = 5

EDGE = 2
"""Seconds at the beginning of a window whose frames do not count: the pages open or close."""


class Window(NamedTuple):
    """A stretch of the stream in which the pages are open or not."""

    begin: int  # Unix nanoseconds
    end: int  # Unix nanoseconds
    open: bool  # whether they are
    used: tuple[float, float]  # ms of processor time per second, with everything and with nothing


def main() -> None:
    """Run the stream; print what was measured."""
    parser = common.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="that are measured")
    parser.add_argument("--window", type=float, default=20.0, help="seconds with pages, or without")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with common.scratch(memory if memory.is_dir() else None) as place:
        common.run("page", options, lambda options: measure(place, options))


def measure(place: Path, options: argparse.Namespace) -> Figures:
    """Return the figures of both daemons."""
    site = wide_site(place, options.set)
    config = site.config
    engine = make_engine(config, load_models(config))
    begin = START + -(-(engine.history + engine.settings.hop) // NS) + 1
    windows = 2 * math.ceil(30 * options.minutes / options.window)
    seconds = SETTLE + round(windows * options.window) + 8
    site.write(Span(START * NS, begin * NS))
    site.write(Span.of_seconds(begin, seconds), into=place / "store")
    ports, bare = (free_port(), free_port()), place / "bare"
    bare.mkdir()
    everything = (
        *site.overrides,
        f"metrics.port={ports[0]}",
        "output.estimates=[all]",
        "output.subtracted=true",
        f"output.segments.directory={place / 'segments'}",
    )
    nothing = (
        *site.overrides,
        f"metrics.port={ports[1]}",
        "metrics.page=false",
        f"output.directory={bare}",
    )
    state, description = state_vector(config.interferometer), config.output.description
    watchers = [Watcher(where, description, state) for where in (place / "cleaned", bare)]
    began, env = time.time_ns() + 2 * NS, service_env([])
    with ExitStack() as stack:
        writer = stack.enter_context(Writer(place, began))
        daemons = [
            stack.enter_context(Daemon(site.path, asked, place / name, env=env))
            for name, asked in (("log", everything), ("bare.log", nothing))
        ]
        for daemon in daemons:
            daemon.until(lambda: daemon.says("first frame written"), pause=0.2)  # noqa: B023
        time.sleep(max(began + SETTLE * NS - time.time_ns(), 0) / NS)
        pids = [daemon.pid for daemon in daemons]
        seen = [window(pids, ports[0], options.window, bool(n % 2)) for n in range(windows)]
        memory = [resident(pid) for pid in pids]
        published = writer.published()
        for daemon in daemons:
            daemon.stop()
    return {
        "latency_ms": latency(seen, published, watchers[0].seen, watchers[1].seen),
        "cpu_ms_per_s": used(seen),
        "resident_mb": dict(zip(("everything", "nothing"), memory, strict=True)),
        "not_cleaned": [sum(not one.cleaned for one in each.seen) for each in watchers],
    }


def window(pids: Sequence[int], port: int, seconds: float, with_pages: bool) -> Window:
    """Let a window pass; return it."""
    command = [sys.executable, "-m", "benchmarks.visitors", str(port), str(VISITORS)]
    visitors = subprocess.Popen(command, cwd=common.ROOT) if with_pages else None
    begin, before = time.time_ns(), [processor(pid) for pid in pids]
    time.sleep(seconds)
    spent = [processor(pid) - one for pid, one in zip(pids, before, strict=True)]
    end = time.time_ns()
    if visitors is not None:
        visitors.kill()
        visitors.wait()
    first, second = (1e3 * one * NS / (end - begin) for one in spent)
    return Window(begin, end, with_pages, (first, second))


def used(windows: Sequence[Window]) -> Figures:
    """Return the processor time of both daemons, and the ratio window by window."""

    def mean(which: int, pages: bool) -> float:
        found = [one.used[which] for one in windows if one.open is pages]
        return sum(found) / len(found)

    found: Figures = {}
    for name, pages in (("no page open", False), (f"{VISITORS} open", True)):
        ours, bare = mean(0, pages), mean(1, pages)
        found[name] = {"everything": ours, "nothing": bare, "ratio": ours / bare}
    return found


def latency(
    windows: Sequence[Window],
    published: Sequence[InputMoment],
    everything: Sequence[OutputMoment],
    nothing: Sequence[OutputMoment],
) -> Figures:
    """Return the medians in ms with the pages open and closed, and of the differences of both."""
    ours, bare = ({one.start: one.moment for one in seen} for seen in (everything, nothing))
    found: Figures = {}
    for name, pages in (("no page open", False), (f"{VISITORS} open", True)):
        raws = [
            raw
            for raw in published
            if raw.start in ours and raw.start in bare
            for one in windows
            if one.open is pages and one.begin + EDGE * NS <= raw.moment < one.end
        ]
        found[name] = {
            "frames": len(raws),
            "everything": median((ours[raw.start] - raw.moment) / 1e6 for raw in raws),
            "nothing": median((bare[raw.start] - raw.moment) / 1e6 for raw in raws),
            "difference": median((ours[raw.start] - bare[raw.start]) / 1e6 for raw in raws),
        }
    return found


if __name__ == "__main__":
    main()
