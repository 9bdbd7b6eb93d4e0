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
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from deepclean.core.accounting import Ledger
from deepclean.telemetry import status_file
from scripts import soak_faults
from scripts.soak_report import Report, Sample, judge, line, show
from scripts.soak_site import START, Daemon, Site, ends_on_sigterm, running
from scripts.soak_stream import KEPT, Stream

DEADLINE = 0.2
"""Seconds that what is missing is waited for, in real time, however fast the data come."""
AHEAD = 32
"""Frames that the stream is before the daemon at most; it waits until half of them are out."""
BURST = 100
"""Frames that a burst brings at once: more than `input.max_lag` allows."""


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
    report, chance = Report(), random.Random(seed)  # used for nothing that depends on speed
    deck = soak_faults.deck(chance)
    log = place / "log"
    with running(site, log) as daemon:
        stream = Stream(site, daemon)
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
                usual = report.samples[0].descriptors if report.samples else 0
                report.samples.append(_sample(site, daemon, report.frames, began, usual))
                say(line(report.samples[-1]))
        stream.finish()
        if (status := daemon.stop()) != 0:
            report.faults.append(f"the daemon ended with status {status}")
    report.ledger = status_file.facts(_ledger(site))
    report.lines = len(log.read_text().splitlines())
    judge(report, stream)
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


def _sample(site: Site, daemon: Daemon, frames: int, began: float, usual: int) -> Sample:
    process = Path(f"/proc/{daemon.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Sample(
        frames=frames,
        wall=time.monotonic() - began,
        cpu=_cpu(process),
        rss=int(status["VmRSS"].split()[0]) / 1024,
        descriptors=_descriptors(process, usual),
        threads=int(status["Threads"]),
        outputs=len(site.outputs()),
        balanced=_ledger(site).balanced,
    )


def _cpu(process: Path) -> float:
    """Return the seconds of a core that a process has used, in itself and in the kernel."""
    times = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def _descriptors(process: Path, usual: int) -> int:
    """Return how many files a process keeps open.

    The account's file is open for a moment every second: what stays is the least of some looks.
    """
    looks: list[int] = []
    while len(looks) < 20 and usual not in looks:
        looks.append(len(list((process / "fd").iterdir())))
        time.sleep(0.005)
    return min(looks)


def _ledger(site: Site) -> Ledger:
    output = site.config.output
    path = status_file.path_in(output.directory, output.description)
    return status_file.read(path, time.time()).ledger


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
