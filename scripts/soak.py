#!/usr/bin/env python3
"""Run the daemon over a day of data with random faults, as fast as it goes, and watch it.

Frames of the demo's site come as fast as the daemon takes them; some are missing, late, damaged,
doubled, or hold what they should not, and now and then the stream stops for minutes or brings more
than can be cleaned. In the end every second of strain that could be read must have had one frame,
the ledger must balance, and neither memory nor descriptors nor threads may have grown.

    python -m scripts.soak                              24 hours
    python -m scripts.soak --hours 1 --fault-rate 0.05 --json soak.json
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import random
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepclean.core.ledger import Ledger
from deepclean.edge import account
from scripts import soak_faults
from scripts.soak_site import START, Daemon, Site, ends_on_sigterm, running
from scripts.soak_stream import KEPT, Stream

DEADLINE = 0.2
"""Seconds that what is missing is waited for, in real time, however fast the data come."""
AHEAD = 32
"""Frames that the stream is before the daemon at most; it waits until half of them are out."""
BURST = 100
"""Frames that a burst brings at once: more than `input.max_lag` allows."""
STEEPEST = 5.0
"""MB per day of data by which memory may seem to grow."""
LEAST = 6 * 3600
"""Seconds of data that it takes to tell a slope from settling."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How the daemon is at a moment at which it has nothing to do.

    Args:
        frames: seconds of data streamed so far.
        wall: seconds since the start of the stream.
        cpu: seconds of a core that the daemon has used.
        rss: resident memory, MB.
        descriptors: open files.
        threads: of the process.
        outputs: cleaned frames in the output directory.
        balanced: whether the ledger is.
    """

    frames: int
    wall: float
    cpu: float
    rss: float
    descriptors: int
    threads: int
    outputs: int
    balanced: bool


@dataclass(slots=True)
class Report:
    """What came of it.

    Args:
        frames: seconds of data streamed.
        samples: of the daemon, in order.
        happened: faults that were made, by kind.
        ledger: of the daemon at its end.
        checked: frames that were read back whole.
        lines: that the daemon logged.
        slope: growth of the resident memory after the first fifth, MB per day of data; None where
            there is too little to tell.
        faults: what should not be; empty where all is well.
    """

    frames: int = 0
    samples: list[Sample] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    ledger: dict[str, Any] = field(default_factory=dict)
    checked: int = 0
    lines: int = 0
    slope: float | None = None
    faults: list[str] = field(default_factory=list)


def soak(
    place: Path,
    frames: int,
    fault_rate: float,
    every: int,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Report:
    """Run it below an empty directory.

    Args:
        place: the directory.
        frames: seconds of data to stream; an outage's are not counted.
        fault_rate: share of the seconds that have a fault.
        every: seconds of data from one sample to the next.
        seed: of the faults.
        say: told of every sample.

    Raises:
        RuntimeError: the daemon ended by itself, or hung.
    """
    port = _free_port()
    overrides = (f"input.deadline={DEADLINE}", f"metrics.port={port}")
    site = Site(place, *overrides, f"output.retention={{age: null, count: {KEPT}}}")
    report, chance = Report(), random.Random(seed)
    deck = soak_faults.deck(chance)
    log = place / "log"
    with running(site, log) as daemon:
        stream = Stream(site, daemon, chance)
        number = START
        stream.show(soak_faults.make(site, number, "", chance))
        daemon.until(lambda: daemon.reads)
        began = time.monotonic()
        report.frames = 1
        while report.frames < frames:
            number += 1
            fault = next(deck) if chance.random() < fault_rate else ""
            if fault:
                report.happened[fault] += 1
            if fault == "outage":
                stream.finish()
                number += chance.randint(10, 900)
            if fault == "burst":
                # Made ahead: they are to come faster than they can be made.
                seconds = [soak_faults.make(site, number + n, "", chance) for n in range(BURST)]
                number += BURST - 1
            else:
                seconds = [soak_faults.make(site, number, fault, chance)]
            before = report.frames // every
            for second in seconds:
                stream.show(second)
                report.frames += 1
            if stream.ahead > AHEAD:
                stream.follow(AHEAD // 2)
            if report.frames // every > before:
                stream.finish()
                _scrape(port)
                report.samples.append(_sample(site, daemon, report.frames, began))
                say(_line(report.samples[-1]))
        stream.finish()
        if (status := daemon.stop()) != 0:
            report.faults.append(f"the daemon ended with status {status}")
    report.ledger = account.facts(_ledger(site))
    report.lines = len(log.read_text().splitlines())
    _judge(report, stream)
    return report


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _scrape(port: int) -> None:
    """Ask for the metrics, as Prometheus does all the time."""
    url = f"http://127.0.0.1:{port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        answer.read()


def _sample(site: Site, daemon: Daemon, frames: int, began: float) -> Sample:
    process = Path(f"/proc/{daemon.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    # The account's file is open for a moment every second: the least of a few looks is what stays.
    descriptors = []
    for _ in range(5):
        descriptors.append(len(list((process / "fd").iterdir())))
        time.sleep(0.002)
    return Sample(
        frames=frames,
        wall=time.monotonic() - began,
        cpu=_cpu(process),
        rss=int(status["VmRSS"].split()[0]) / 1024,
        descriptors=min(descriptors),
        threads=int(status["Threads"]),
        outputs=len(site.outputs()),
        balanced=_ledger(site).balanced,
    )


def _cpu(process: Path) -> float:
    """Return the seconds of a core that a process has used, in itself and in the kernel."""
    times = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def _ledger(site: Site) -> Ledger:
    output = site.config.output
    path = account.path_in(output.directory, output.description)
    return account.read(path, time.time()).ledger


def _judge(report: Report, stream: Stream) -> None:
    """Note what should not be."""
    faults = report.faults = report.faults + stream.faults
    report.checked = stream.checked
    lost = stream.wanted - stream.seen
    invented = stream.seen - stream.wanted - stream.possible
    for seconds, what in ((lost, "have no frame"), (invented, "have a frame without strain")):
        if seconds:
            faults.append(f"{len(seconds)} seconds {what}, the first GPS {min(seconds)}")
    ledger = report.ledger
    out = sum(ledger["written"].values())
    if ledger["frames_in"] != out or ledger["inside"] or ledger["lost"]:
        faults.append(f"the ledger does not balance: {ledger}")
    if out != len(stream.seen):
        faults.append(f"{out} frames in the ledger, {len(stream.seen)} in the directory")
    samples = report.samples
    if not all(sample.balanced for sample in samples):
        faults.append("the ledger did not balance at some sample")
    if max(sample.outputs for sample in samples) > KEPT:
        faults.append("more outputs than the retention allows")
    for name in ("descriptors", "threads"):
        found = {getattr(sample, name) for sample in samples}
        if len(found) > 1:
            faults.append(f"{name} are not constant: {sorted(found)}")
    report.slope = _slope(samples)
    if report.slope is not None and report.slope > STEEPEST:
        faults.append(f"memory grows by {report.slope:.1f} MB per day of data")


def _slope(samples: list[Sample]) -> float | None:
    """Return the growth of memory in MB per day of data, by the median slope of all pairs."""
    from scipy.stats import theilslopes

    settled = [sample for sample in samples if sample.frames > samples[-1].frames / 5]
    if len(settled) < 10 or settled[-1].frames < LEAST:
        return None
    days = [sample.frames / 86_400 for sample in settled]
    return float(theilslopes([sample.rss for sample in settled], days).slope)


def _line(sample: Sample) -> str:
    return (
        f"{sample.frames / 3600:6.2f} h of data, {sample.wall:6.0f} s: {sample.rss:6.1f} MB, "
        f"{sample.descriptors} descriptors, {sample.threads} threads, {sample.outputs} outputs, "
        f"ledger {'balanced' if sample.balanced else 'NOT BALANCED'}"
    )


def show(report: Report) -> None:
    """Print what came of it."""
    samples, ledger = report.samples, report.ledger
    memory = [sample.rss for sample in samples]
    first, last = samples[0], samples[-1]
    per_frame = 1000 * (last.cpu - first.cpu) / max(last.frames - first.frames, 1)
    slope = "-" if report.slope is None else f"{report.slope:+.2f} MB per day of data"
    rows = {
        "data": f"{report.frames} s in {samples[-1].wall:.0f} s",
        "compute of the daemon": f"{per_frame:.1f} ms per second of data",
        "faults made": f"{report.happened.total()} of {len(report.happened)} kinds",
        "frames in, out, lost": f"{ledger['frames_in']}, {sum(ledger['written'].values())}, "
        f"{sum(ledger['lost'].values())}",
        "out, by reason": ", ".join(f"{n} {word}" for word, n in ledger["written"].items()),
        "seconds without strain": ", ".join(f"{n} {word}" for word, n in ledger["gaps"].items()),
        "files passed over": ", ".join(f"{n} {word}" for word, n in ledger["ignored"].items()),
        "read back whole": str(report.checked),
        "memory, least and most": f"{min(memory):.1f}, {max(memory):.1f} MB",
        "memory, slope": slope,
        "descriptors": str(sorted({sample.descriptors for sample in samples})),
        "threads": str(sorted({sample.threads for sample in samples})),
        "lines logged": str(report.lines),
        "what should not be": str(len(report.faults)),
    }
    for label, value in rows.items():
        print(f"| {label:<24} | {value}")
    for fault in report.faults[:20]:
        print(fault)


def main() -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0, help="of data")
    parser.add_argument("--fault-rate", type=float, default=0.01, help="share of the seconds")
    parser.add_argument("--every", type=int, default=600, help="seconds of data between samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where to work; default: the system's own")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    ends_on_sigterm()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        frames = round(options.hours * 3600)
        report = soak(Path(place), frames, options.fault_rate, options.every, options.seed)
    show(report)
    if options.json:
        facts = {name: getattr(report, name) for name in Report.__slots__}
        options.json.write_text(json.dumps(facts, indent=2, default=asdict) + "\n")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
