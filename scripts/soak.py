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

import random
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import common

common.limit_threads()

from benchmarks.processes import Daemon, exit_on_sigterm, free_port, processor, resident, status
from benchmarks.site import START, SiteDirectory, demo_site
from deepclean.core.accounting import Ledger
from deepclean.core.time import NS, Span
from deepclean.simulate import Fault, Pace, random_faults, stream
from deepclean.simulate.faults import KINDS
from deepclean.telemetry import status_file as account
from scripts.soak_report import Report, Sample, judge, line, show
from scripts.soak_stream import BURST, KEPT, LATE, RATE, DaemonClock

DEADLINE = 0.2
"""Seconds that what is missing is waited for, in real time, however fast the data come."""


def soak(
    place: Path,
    seconds: int,
    fault_rate: float,
    every: int,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Report:
    """Run it below an empty directory.

    Args:
        place: the directory.
        seconds: of data to stream.
        fault_rate: faults a second of data.
        every: seconds of data from one sample to the next.
        seed: of the faults.
        say: told of every sample.

    Raises:
        RuntimeError: the daemon ended by itself, or hung.
    """
    port = free_port()
    overrides = (RATE, f"input.deadline={DEADLINE}", f"metrics.port={port}")
    site = demo_site(place, (*overrides, f"output.retention={{age: null, count: {KEPT}}}"))
    span, chance, report = Span.of_seconds(START, seconds), random.Random(seed), Report(seconds)
    faults = faults_of(site, span, fault_rate, chance)
    often = fault_rate * BURST / len(KINDS)  # as often as any kind of fault
    bursts = {second for second in range(BURST, seconds, BURST) if chance.random() < often}
    report.happened = Counter(fault.kind for fault in faults) + Counter(burst=len(bursts))
    with Daemon(site.path, site.overrides, place / "log") as daemon:
        began = time.monotonic()

        def sample() -> None:
            _scrape(port)
            report.samples.append(_sample(site, daemon, clock.second, began, report.samples))
            say(line(report.samples[-1]))

        clock = DaemonClock(site, daemon, span, faults, bursts, every, sample)
        pace = Pace(retention=KEPT, ahead=BURST + 16)
        for _ in stream(site.simulator, site.layout(), span, clock, pace=pace, faults=faults):
            pass  # the clock does the rest
        clock.finish()
        if (ended := daemon.stop()) != 0:
            report.faults.append(f"the daemon ended with status {ended}")
    report.ledger = account.facts(_ledger(site))
    report.lines = len((place / "log").read_text().splitlines())
    judge(report, clock)
    return report


def faults_of(
    site: SiteDirectory, span: Span, rate: float, chance: random.Random
) -> tuple[Fault, ...]:
    """Return the faults of the stream: of every kind, outages of minutes where it lasts for hours.

    What comes late does so around the deadline or far behind it (`soak_stream.LATE`).
    """
    seconds = span.duration // NS
    longest = min(900, seconds // 10)
    found = []
    later = Span(span.start + 4 * NS, span.end)  # the daemon begins with a frame that is there
    for fault in random_faults(chance.randrange(1 << 32), 1000 * rate, later, site.simulator.site):
        where = fault.span
        if fault.kind == "outage":
            where = Span(where.start, where.start + chance.randint(1, longest) * NS)
        if where.start >= later.start:
            found.append(replace(fault, span=where, delay=chance.choice(LATE)))
    return tuple(found)


def _scrape(port: int) -> None:
    """Ask for the metrics, as Prometheus does all the time."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        answer.read()


def _sample(
    site: SiteDirectory, daemon: Daemon, second: int, began: float, before: list[Sample]
) -> Sample:
    return Sample(
        frames=second,
        wall=time.monotonic() - began,
        cpu=processor(daemon.pid),
        rss=resident(daemon.pid),
        descriptors=_descriptors(daemon.pid, before[0].descriptors if before else 0),
        threads=int(status(daemon.pid)["Threads"]),
        outputs=len(site.outputs()),
        balanced=_ledger(site).balanced,
    )


def _descriptors(pid: int, usual: int) -> int:
    """Return how many files a process keeps open.

    The account's file is open for a moment every second: what stays is the least of some looks.
    """
    looks: list[int] = []
    while len(looks) < 20 and usual not in looks:
        looks.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        time.sleep(0.005)
    return min(looks)


def _ledger(site: SiteDirectory) -> Ledger:
    output = site.config.output
    return account.read(account.path_in(output.directory, output.description), time.time()).ledger


def main() -> None:
    """Run it and print what came of it."""
    parser = common.parser(__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of data")
    parser.add_argument("--fault-rate", type=float, default=0.01, help="faults a second of data")
    parser.add_argument("--every", type=int, default=600, help="seconds of data between samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where to work; default: the system's own")
    options = parser.parse_args()
    exit_on_sigterm()
    seconds = round(options.hours * 3600)
    with common.scratch(options.directory) as place:
        report = soak(place, seconds, options.fault_rate, options.every, options.seed)
    show(report)
    common.save(options.json, vars(report))
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
