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

import argparse
import random
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import common

common.limit_threads()

from benchmarks.processes import Daemon, exit_on_sigterm, free_port, processor, resident, status
from benchmarks.site import START, SiteDirectory, demo_site
from deepclean.core.time import NS, Span
from deepclean.simulate import Fault, Pace, random_faults, stream
from deepclean.simulate.faults import KINDS
from deepclean.telemetry import status_file
from scripts.soak_stream import BURST, KEPT, LATE, RATE, DaemonClock, ledger

DEADLINE = 0.2
"""Seconds that what is missing is waited for, in real time, however fast the data come."""

STEEPEST = 5.0
"""MB per day of data by which memory may seem to grow."""

LEAST = 6 * 3600
"""Seconds of data that it takes to tell a slope from settling."""


@dataclass(frozen=True)
class Sample:
    """How the daemon is at a moment at which it has nothing to do."""

    second: int  # of the stream
    wall: float  # seconds since its start
    cpu: float  # seconds of a core that the daemon has used
    rss: float  # resident memory, MB
    descriptors: int
    threads: int
    outputs: int  # cleaned frames in the output directory
    balanced: bool  # the ledger

    def __str__(self) -> str:
        return (
            f"{self.second / 3600:6.2f} h of data, {self.wall:6.0f} s: {self.rss:6.1f} MB, "
            f"{self.descriptors} descriptors, {self.threads} threads, {self.outputs} outputs, "
            f"ledger {'balanced' if self.balanced else 'NOT BALANCED'}"
        )


def soak(place: Path, seconds: int, fault_rate: float, every: int, seed: int = 0) -> common.Figures:
    """Run it below an empty directory, and print how the daemon is every so many seconds of data.

    Returns:
        What came of it, by name; `wrong` is what should not be.

    Raises:
        RuntimeError: the daemon ended by itself, or hung.
    """
    port = free_port()
    overrides = (RATE, f"input.deadline={DEADLINE}", f"metrics.port={port}")
    site = demo_site(place, (*overrides, f"output.retention={{age: null, count: {KEPT}}}"))
    span, chance = Span.of_seconds(START, seconds), random.Random(seed)
    faults = faults_of(site, span, fault_rate, chance)
    step = 3 * BURST
    often = step * fault_rate / len(KINDS)  # as often as any kind of fault
    bursts = {second for second in range(BURST, seconds, step) if chance.random() < often}
    samples: list[Sample] = []
    with Daemon(site.path, site.overrides, place / "log") as daemon:
        began = time.monotonic()

        def sample() -> None:
            _scrape(port)
            now = Sample(
                second=clock.second,
                wall=time.monotonic() - began,
                cpu=processor(daemon.pid),
                rss=resident(daemon.pid),
                descriptors=_descriptors(daemon.pid, samples[0].descriptors if samples else 0),
                threads=int(status(daemon.pid)["Threads"]),
                outputs=len(site.outputs()),
                balanced=ledger(site).balanced,
            )
            print(now, flush=True)
            samples.append(now)

        clock = DaemonClock(site, daemon, span, faults, bursts, every, sample)
        pace = Pace(retention=KEPT, ahead=BURST + 16)
        for _ in stream(site.simulator, site.layout(), span, clock, pace=pace, faults=faults):
            pass  # the clock does the rest
        clock.finish()
        ended = daemon.stop()
    facts, memory = status_file.facts(ledger(site)), [sample.rss for sample in samples]
    spent = samples[-1].cpu - samples[0].cpu, samples[-1].second - samples[0].second
    slope = _slope(samples)
    return {
        "data_s": seconds,
        "lasted_s": samples[-1].wall,
        "daemon_ms_per_s": 1000 * spent[0] / max(spent[1], 1),
        "faults made": Counter(fault.kind for fault in faults) + Counter(burst=len(bursts)),
        "ledger": facts,
        "read back whole": clock.checked,
        "memory_mb": {"least": min(memory), "most": max(memory), "slope per day": slope},
        "descriptors": samples[-1].descriptors,
        "threads": samples[-1].threads,
        "lines logged": len((place / "log").read_text().splitlines()),
        "samples": [str(sample) for sample in samples],
        "wrong": [*clock.wrong, *_wrong(facts, samples, slope, clock, ended)],
    }


def faults_of(
    site: SiteDirectory, span: Span, rate: float, chance: random.Random
) -> tuple[Fault, ...]:
    """Return faults of every kind; outages last for minutes where the stream does for hours."""
    longest, found = min(900, span.duration // NS // 10), []
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


def _descriptors(pid: int, usual: int) -> int:
    """Return how many files a process keeps open.

    The account's file is open for a moment every second: what stays is the least of some looks.
    """
    looks: list[int] = []
    while len(looks) < 20 and usual not in looks:
        looks.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        time.sleep(0.005)
    return min(looks)


def _wrong(
    ledger: dict[str, Any],
    samples: list[Sample],
    slope: float | None,
    clock: DaemonClock,
    ended: int,
) -> list[str]:
    """Return what should not be."""
    lost = clock.wanted - clock.seen
    invented = clock.seen - clock.wanted - clock.possible
    out = sum(ledger["written"].values())
    descriptors, threads = ({getattr(s, n) for s in samples} for n in ("descriptors", "threads"))
    found = {
        f"the daemon ended with status {ended}": ended,
        f"no frame of {len(lost)} seconds: {sorted(lost)[:9]}": lost,
        f"a frame of {len(invented)} seconds without strain: {sorted(invented)[:9]}": invented,
        f"{ledger['frames_in']} frames in, {out} out": ledger["frames_in"] != out,
        f"inside or lost: {ledger}": ledger["inside"] or ledger["lost"],
        f"{out} frames in the ledger, {len(clock.seen)} seen": out != len(clock.seen),
        "the ledger did not balance at some sample": not all(s.balanced for s in samples),
        "more outputs than the retention allows": max(s.outputs for s in samples) > KEPT,
        f"descriptors are not constant: {sorted(descriptors)}": len(descriptors) > 1,
        f"threads are not constant: {sorted(threads)}": len(threads) > 1,
        f"memory grows by {slope} MB per day of data": (slope or 0) > STEEPEST,
    }
    return [said for said, so in found.items() if so]


def _slope(samples: list[Sample]) -> float | None:
    """Return the growth of memory in MB per day of data, by the median slope of all pairs.

    The first fifth, in which memory settles, does not count.
    """
    from scipy.stats import theilslopes

    settled = [sample for sample in samples if sample.second > samples[-1].second / 5]
    if len(settled) < 10 or settled[-1].second < LEAST:
        return None
    days = [sample.second / 86_400 for sample in settled]
    return float(theilslopes([sample.rss for sample in settled], days).slope)


def main() -> None:
    """Run it, print what came of it and what of that should not be."""
    parser = common.parser(__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of data")
    parser.add_argument("--fault-rate", type=float, default=0.01, help="faults a second of data")
    parser.add_argument("--every", type=int, default=600, help="seconds of data between samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where to work; default: the system's own")
    options = parser.parse_args()
    exit_on_sigterm()

    def measure(asked: argparse.Namespace) -> common.Figures:
        seconds = round(asked.hours * 3600)
        with common.scratch(asked.directory) as place:
            return soak(place, seconds, asked.fault_rate, asked.every, asked.seed)

    sys.exit("\n".join(common.run("soak", options, measure)["wrong"]) or 0)


if __name__ == "__main__":
    main()
