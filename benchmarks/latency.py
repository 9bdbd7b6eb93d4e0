#!/usr/bin/env python3
"""Measure the latency of the daemon under a stream in real time, its start, and its memory.

`deepclean run` with config/H1.yaml, one coupling of 21 witnesses, gate and metrics on, tails real
directories. A writer's process lets frames that were made before appear at their time. From the
raw strain frame's rename to the cleaned frame's: median, p99, worst, frames missing.

Frames shorter than a second have no file names (LIGO-T050017 counts whole seconds), so the daemon
cannot tail them: with such a `--frame` the daemon's step, from reading a file to the rename of the
cleaned one, is fed in real time by benchmarks/blocks.py, and only the tailing is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import common
from benchmarks.common import CONFIGURATIONS, Figures, run_inside, spread
from benchmarks.processes import Daemon, busy, free_port, processor, resident, service_env
from benchmarks.site import SIXTEENTHS, START, wide_site
from benchmarks.stream import OutputMoment, Watcher, Writer, latencies
from deepclean.core.channels import state_vector
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models

SETTLE = 15
"""Seconds of the stream that the daemon has to start; what comes then is measured."""

PATIENCE = 10.0
"""Seconds that the last frames are waited for."""


def main() -> None:
    """Run the stream; print what was measured."""
    options = _options()
    measured, memory = (measure if options.frame >= 1 else measure_blocks), Path("/dev/shm")
    with common.scratch(options.directory or (memory if memory.is_dir() else None)) as place:
        common.run("latency", options, lambda options: measured(place, options))


def _options() -> argparse.Namespace:
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=15.0, help="of the stream that are measured")
    add("--frame", type=Fraction, default=Fraction(1), help="seconds a frame: 1, 4, 1/2 ... 1/16")
    add("--busy", type=int, nargs="?", const=1, default=0, help="processes that spin beside it")
    add("--busy-under", default="", metavar="COMMAND", help="that they run under")
    add("--under", default="", metavar="COMMAND", help="that the daemon runs under: chrt, taskset")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="of the daemon")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    add(
        "--configuration",
        type=Path,
        help="default: config/H1.yaml, or H1-sixteenths.yaml below 1 s",
    )
    add("--directory", type=Path, help="where to work; default: /dev/shm")
    options = parser.parse_args()
    whole = CONFIGURATIONS / "H1.yaml"
    options.configuration = options.configuration or (whole if options.frame >= 1 else SIXTEENTHS)
    if options.frame <= 0 or 16 % options.frame.denominator:
        parser.error(f"--frame {options.frame}: whole seconds, or a multiple of 1/16")
    return options


def measure(place: Path, options: argparse.Namespace) -> Figures:
    """Return the figures of the daemon over frames of whole seconds."""
    site = wide_site(place, options.set, options.configuration)
    frame = int(options.frame)
    config = site.config
    engine = make_engine(config, load_models(config))
    history = -(-(engine.history + engine.settings.hop) // (frame * NS)) * frame + frame
    wanted = math.ceil(options.minutes * 60 / frame)
    settle, tail = -(-SETTLE // frame), math.ceil(engine.lookahead / NS / frame) + 1
    begin = START + history
    site.write(Span(START * NS, begin * NS), frame)
    span = Span.of_seconds(begin, (settle + wanted + tail) * frame)
    site.write(span, frame, into=place / "store")
    state = state_vector(config.interferometer)
    watcher = Watcher(place / "cleaned", config.output.description, state)
    overrides = (f"metrics.port={free_port()}", *site.overrides)
    command = ("-m", "benchmarks.daemon", str(place / "notes"), "run")
    log, began = place / "log", time.time_ns() + 2 * NS
    with busy(options.busy, options.busy_under), Writer(place, began) as writer:
        time.sleep(max(began - time.time_ns(), 0) / NS)
        executed, env = time.time_ns(), service_env(options.env)
        with Daemon(site.path, overrides, log, command, options.under, env) as daemon:
            memory, used = follow(daemon, writer)
            published = writer.published()[settle : settle + wanted]
            expected = {raw.start for raw in published}
            with suppress(RuntimeError):  # what does not come in time is counted as missing
                daemon.until(
                    lambda: expected <= {one.start for one in watcher.seen}, PATIENCE, pause=0.05
                )
            status = daemon.stop()
    if status != 0 or not watcher.seen:
        raise RuntimeError(f"the daemon ended with status {status}:\n{log.read_text()}")
    moments = json.loads((place / "notes").read_text())
    return {
        "latency_ms": latencies(published, watcher.seen),
        "cold_start_s": cold_start(executed, moments, watcher.seen),
        "resident_mb": memory,
        "cpu_ms_per_s": used,
        "lookahead_ms": engine.lookahead / 1e6,
        "writer_late_ms": spread([(raw.moment - raw.due) / 1e6 for raw in published]),
    }


def follow(daemon: Daemon, writer: Writer) -> tuple[Figures, float]:
    """Watch a daemon from its first frame until the writer has ended.

    Returns its resident memory in MB at first, a minute later, at the end and at most; and
    milliseconds of processor time per second.
    """
    daemon.until(lambda: daemon.says("first frame written"), pause=0.5)
    began, used, sizes = time.monotonic(), processor(daemon.pid), [resident(daemon.pid)]

    def ended() -> bool:
        if time.monotonic() >= began + 5 * len(sizes):
            sizes.append(resident(daemon.pid))
        return not writer.writes

    daemon.until(ended, math.inf, pause=0.5)
    spent, lasted = processor(daemon.pid) - used, time.monotonic() - began
    memory = {"start": sizes[0], "minute": sizes[: 60 // 5 + 1][-1], "end": sizes[-1]}
    return memory | {"most": max(sizes)}, 1e3 * spent / lasted


def cold_start(
    executed: int, moments: Mapping[str, int], seen: Sequence[OutputMoment]
) -> dict[str, float | None]:
    """Return how long the stages of the start took, and the whole, in seconds.

    The process began at `executed` (Unix ns) and noted `moments` (benchmarks/daemon.py).
    """
    names = ("imports", "configuration and models", "history", "first frame")
    noted = [
        executed,
        *(moments[each] for each in ("imports", "models", "history")),
        seen[0].moment,
    ]
    took = [(after - before) / NS for before, after in pairwise(noted)]
    whole = [(frame.moment - executed) / NS for frame in seen if frame.cleaned]
    total = whole[0] if whole else None
    return {**dict(zip(names, took, strict=True)), "to the first fully cleaned frame": total}


def measure_blocks(place: Path, options: argparse.Namespace) -> Figures:
    """Return the figures of the daemon's step over blocks shorter than a second."""
    asked = [str(place), str(options.configuration.resolve()), str(options.frame)]
    asked += [str(options.minutes * 60), *options.set]
    environment = service_env(options.env)
    with busy(options.busy, options.busy_under):
        return run_inside("benchmarks.blocks", *asked, under=options.under, env=environment)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
