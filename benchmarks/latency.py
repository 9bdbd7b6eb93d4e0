#!/usr/bin/env python3
"""Measure the latency of the daemon under a stream in real time, its start, and its memory.

`deepclean run` with config/H1.yaml, one coupling of 21 witnesses, gate and metrics on, tails real
directories. A writer's process lets frames that were made before appear at their time. From the
raw strain frame's rename to the cleaned frame's: median, p99, worst, frames missing.

    benchmarks/latency.py                              15 minutes of 1-s frames
    benchmarks/latency.py --minutes 2 --busy           with a process that spins beside it
    benchmarks/latency.py --set couplings.60Hz.wait=0  any key of the configuration
    benchmarks/latency.py --frame 1/16 --short         1/16-s blocks, with a short look-ahead
    benchmarks/latency.py --busy 2 --under "chrt --fifo 10" --env OMP_WAIT_POLICY=active
    benchmarks/latency.py --table a.json b.json        runs that --json wrote, one a line

What is printed is Markdown, as documents have it.

Frames shorter than a second have no file names (LIGO-T050017 counts whole seconds), so the daemon
cannot tail them: with such a `--frame` the daemon's step, from reading a file to the rename of the
cleaned one, is fed in real time by benchmarks/blocks.py, and only the tailing is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import report as bench_report
from benchmarks.compare import read
from benchmarks.site import CONFIG, SHORT, START, Made, make
from benchmarks.stream import Appeared, Published, Watcher, Writer, busy, environment, render
from deepclean.core.channels import state_vector
from deepclean.core.time import NS, Span

SETTLE = 15
"""Seconds of the stream that the daemon has to start; what comes then is measured."""

PATIENCE = 10.0
"""Seconds that the last frames are waited for."""


def main() -> None:
    """Run the stream; print what was measured."""
    options = _options()
    if options.table:
        print(rows([read(path) for path in options.table]))
        return
    before = bench_report.machine()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="deepclean-bench-", dir=options.directory or (shared if shared.is_dir() else None)
    ) as place:
        measured = measure if options.frame >= 1 else measure_blocks
        figures = measured(Path(place), options)
    settings = {
        "frame": str(options.frame),
        "minutes": options.minutes,
        "busy": options.busy,
        "busy_under": options.busy_under,
        "under": options.under,
        "env": options.env,
        "set": options.set,
    }
    run = bench_report.document("latency", before, settings, figures)
    print(markdown(run))
    if options.json:
        bench_report.save(options.json, run)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=15.0, help="of the stream that are measured")
    add("--frame", type=Fraction, default=Fraction(1), help="seconds a frame: 1, 4, 1/2 ... 1/16")
    add("--busy", type=int, nargs="?", const=1, default=0, help="processes that spin beside it")
    add("--busy-under", default="", metavar="COMMAND", help="that they run under")
    add("--under", default="", metavar="COMMAND", help="that the daemon runs under: chrt, taskset")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="of the daemon")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    add("--short", action="store_true", help="as --set, with what shortens the look-ahead")
    add("--directory", type=Path, help="where to work; default: /dev/shm")
    add("--json", type=Path, help="write the figures here")
    add("--table", type=Path, nargs="+", metavar="FILE", help="only show these runs")
    options = parser.parse_args()
    options.set = [*(SHORT if options.short else ()), *options.set]
    whole = options.frame.denominator == 1
    if options.frame <= 0 or not (whole or (16 % options.frame.denominator == 0)):
        parser.error(f"--frame {options.frame}: whole seconds, or a multiple of 1/16")
    return options


def lookahead_and_history(made: Made) -> tuple[int, int]:
    """Return both in nanoseconds, the history with the hop that a start reads beside it."""
    from deepclean.factory import make_engine
    from deepclean.models.loading import load_models

    engine = make_engine(made.config, load_models(made.config))
    return engine.lookahead, engine.history + engine.settings.hop


def measure(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the daemon over frames of whole seconds.

    Raises:
        RuntimeError: the daemon ended, or cleaned nothing in time.
    """
    made, frame = make(place, options.set), int(options.frame)
    lookahead, history = lookahead_and_history(made)
    history_s = -(-math.ceil(history / NS) // frame) * frame + frame
    wanted = math.ceil(options.minutes * 60 / frame)
    settle, tail = -(-SETTLE // frame), math.ceil(lookahead / NS / frame) + 1
    begin = START + history_s
    render(made, Span(START * NS, begin * NS), frame, place)
    seconds = (settle + wanted + tail) * frame
    names = render(made, Span.of_seconds(begin, seconds), frame, place / "store")
    state = state_vector(made.config.interferometer)
    watcher = Watcher(place / "cleaned", made.config.output.description, state)
    with busy(options.busy, options.busy_under):
        writer = Writer(place, names, began := time.time_ns() + 2 * NS)
        try:
            time.sleep(max(began - time.time_ns(), 0) / NS)
            executed = time.time_ns()
            process = start(made, options.under, options.env, place)
            try:
                memory, used = follow(process, writer, place / "log")
                published = writer.published()
                measured = published[settle : settle + wanted]
                await_frames(watcher, measured)
                process.terminate()
                status = process.wait(timeout=30)
            finally:
                process.kill()
                process.wait()
        finally:
            writer.kill()
    if status != 0 or not watcher.seen:
        raise RuntimeError(f"the daemon ended with status {status}:\n{(place / 'log').read_text()}")
    moments = json.loads((place / "notes").read_text())
    return {
        "latency_ms": latencies(measured, watcher.seen),
        "cold_start_s": cold_start(executed, moments, watcher.seen),
        "resident_mb": memory,
        "cpu_ms_per_s": used,
        "lookahead_ms": lookahead / 1e6,
        "writer_late_ms": bench_report.spread([(p.moment - p.due) / 1e6 for p in measured]),
    }


def start(made: Made, under: str, env: Sequence[str], place: Path) -> subprocess.Popen[bytes]:
    """Run the daemon, which notes the moments of its start."""
    command = [*shlex.split(under), sys.executable, str(ROOT / "benchmarks" / "daemon.py")]
    command += [str(place / "notes"), "run", "-c", str(CONFIG)]
    for override in (f"metrics.port={_free_port()}", *made.overrides):
        command += ["--set", override]
    with (place / "log").open("wb") as log:
        return subprocess.Popen(command, stderr=log, env=environment(env))


def follow(
    process: subprocess.Popen[bytes], writer: Writer, log: Path
) -> tuple[dict[str, float], float]:
    """Watch a daemon until the writer has ended.

    Returns:
        Its resident memory in MB when it was running, a minute later, at the end and at most; and
        milliseconds of processor time per second from then on.

    Raises:
        RuntimeError: it ended.
    """
    sizes: list[tuple[float, float]] = []
    began, used = 0.0, 0.0
    while writer.writes:
        time.sleep(0.5)
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended:\n{log.read_text()}")
        now = time.monotonic()
        if "first frame written" not in log.read_text():
            continue
        if not sizes:
            began, used = now, processor(process.pid)
        if not sizes or now - sizes[-1][0] >= 5:
            sizes.append((now, resident(process.pid)))
    if len(sizes) < 2:
        raise RuntimeError(f"the daemon wrote nothing in time:\n{log.read_text()}")
    minute = next((size for when, size in sizes if when >= began + 60), sizes[-1][1])
    spent, lasted = processor(process.pid) - used, time.monotonic() - began
    memory = {"start": sizes[0][1], "minute": minute, "end": sizes[-1][1]}
    return memory | {"most": max(size for _, size in sizes)}, 1e3 * spent / lasted


def resident(pid: int) -> float:
    """Return a process's resident memory in MB (1e6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} is gone")


def processor(pid: int) -> float:
    """Return the seconds of a core that a process has used, to a hundredth."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def await_frames(watcher: Watcher, published: Sequence[Published]) -> None:
    """Wait until all have come out, or long enough."""
    end, wanted = time.monotonic() + PATIENCE, {frame.start for frame in published}
    while time.monotonic() < end and not wanted <= {frame.start for frame in watcher.seen}:
        time.sleep(0.05)


def latencies(published: Sequence[Published], seen: Sequence[Appeared]) -> dict[str, float]:
    """Return median, p99 and worst in ms, how many frames are missing and how many not cleaned.

    Args:
        published: raw frames that are to have a cleaned one.
        seen: cleaned frames.

    Raises:
        RuntimeError: none of them has one.
    """
    out = {frame.start: frame for frame in reversed(seen)}  # the first of each time
    found = [(raw, out[raw.start]) for raw in published if raw.start in out]
    if not found:
        raise RuntimeError("none of the frames came out")
    return {
        **bench_report.spread([(clean.moment - raw.moment) / 1e6 for raw, clean in found]),
        "frames": len(published),
        "missing": len(published) - len(found),
        "not_cleaned": sum(not clean.cleaned for _, clean in found),
    }


def cold_start(
    executed: int, moments: Mapping[str, int], seen: Sequence[Appeared]
) -> dict[str, float | None]:
    """Return how long the stages of the start took, and the whole, in seconds.

    Args:
        executed: Unix nanoseconds at which the process began.
        moments: what it noted.
        seen: cleaned frames, in order.
    """
    steps = {
        "imports": moments["imports"],
        "configuration and models": moments["models"],
        "history": moments["history"],
        "first frame": seen[0].moment,
    }
    stages, before = {}, executed
    for name, moment in steps.items():
        stages[name], before = (moment - before) / NS, moment
    whole = next((frame.moment for frame in seen if frame.cleaned), None)
    total = None if whole is None else (whole - executed) / NS
    return {**stages, "to the first fully cleaned frame": total}


def measure_blocks(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the daemon's step over blocks shorter than a second.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [*shlex.split(options.under), sys.executable, "-m", "benchmarks.blocks"]
    command += [str(place), "--frame", str(options.frame), "--seconds", str(options.minutes * 60)]
    for override in options.set:
        command += ["--set", override]
    with busy(options.busy, options.busy_under):
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=environment(options.env)
        )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def markdown(run: Mapping[str, Any]) -> str:
    """Return a run as a table and what goes with it."""
    figures = run["figures"]
    latency = figures["latency_ms"]
    lines = [(f"{key} (ms)", f"{latency[key]:.1f}") for key in ("median", "p99", "worst")]
    lines += [
        (f"frames {k.replace('_', ' ')}", f"{latency[k]}") for k in ("missing", "not_cleaned")
    ]
    lines.append(("look-ahead (ms)", f"{figures['lookahead_ms']:.1f}"))
    lines.append(("processor (ms per s of data)", f"{figures['cpu_ms_per_s']:.1f}"))
    if late := figures.get("writer_late_ms"):
        shown = f"{late['median']:.1f}, {late['p99']:.1f}"
        lines.append(("the writer itself late: median, p99 (ms)", shown))
    for name, seconds in figures.get("cold_start_s", {}).items():
        lines.append((f"start: {name} (s)", "never" if seconds is None else f"{seconds:.2f}"))
    for name, size in figures["resident_mb"].items():
        lines.append((f"resident, {name} (MB)", f"{size:.0f}"))
    head = ("raw rename to cleaned rename", f"of {latency['frames']} frames")
    said = f"{described(run)}; {bench_report.load_of(dict(run))}"
    return f"{said}\n\n{bench_report.table(head, lines)}"


def described(run: Mapping[str, Any]) -> str:
    """Return in words what was asked for."""
    asked = run["settings"]
    what = f"{asked['frame']}-s frames, {asked['minutes']:g} min, {asked['busy']} busy"
    for name, said in (("under", "under"), ("busy_under", "the busy ones under")):
        what += f", {said} `{asked[name]}`" if asked[name] else ""
    given = [*asked["env"], *(setting for setting in asked["set"] if setting not in SHORT)]
    what += f", `{' '.join(given)}`" if given else ""
    return what + (", short look-ahead" if set(SHORT) <= set(asked["set"]) else "")


def rows(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return runs as a table, one a line."""
    keys = ("median", "p99", "worst")
    lines = [
        (
            described(run),
            *(f"{run['figures']['latency_ms'][key]:.0f}" for key in keys),
            *(f"{run['figures']['latency_ms'][key]}" for key in ("missing", "not_cleaned")),
            f"{run['machine']['load_before']:.1f}, {run['machine']['load_after']:.1f}",
        )
        for run in runs
    ]
    head = ("run", "median (ms)", "p99", "worst", "missing", "not cleaned", "load before, after")
    return bench_report.table(head, lines)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
