#!/usr/bin/env python3
"""Kill the daemon many times over a streamed hour; hold what it wrote against an undisturbed run.

Frames of the demo's site stream faster than real time, some of them missing or damaged for good.
One daemon cleans them undisturbed; then one after another does, each ended by SIGKILL at a random
moment: while it starts, reads and computes, writes, or waits. In the end every second of strain
that can be read must have one frame, with the very bytes of the undisturbed run's.

    python -m scripts.soak_kill                          200 kills, 3600 s of data
    python -m scripts.soak_kill --kills 3 --seconds 60
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.telemetry import status_file
from scripts.soak_made import Stream
from scripts.soak_site import START, Site, differences, ends_on_sigterm, running

DEADLINE = 2.0
"""Seconds, of data that never come and of the look-ahead: longer than any pause of the stream."""

OVERRIDES = (
    "input.max_lag=null",  # everything is cleaned, however long nobody was there to do it
    f"input.deadline={DEADLINE}",
    "output.retention.age=null",
    "output.fsync=true",  # the longer a write takes, the more kills fall into one
    "metrics.enabled=false",
)

MOMENTS = ("starting", "working", "writing", "idle")


@dataclass(slots=True)
class Report:
    """What came of it.

    Args:
        seconds: of data streamed.
        readable: seconds whose strain can be read.
        frames: that were there in the end.
        kills: by what the daemon was doing.
        faults: what should not be; empty where all is well.
        start_up: seconds from the start of a process to its first look at the data, median.
        wall: seconds that it all took.
    """

    seconds: int
    readable: int = 0
    frames: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    start_up: float = 0.0
    wall: float = 0.0


def rehearse(
    place: Path, kills: int, seconds: int, seed: int = 0, say: Callable[[str], None] = print
) -> Report:
    """Run it all below an empty directory.

    Raises:
        RuntimeError: the daemon ended by itself, or hung.
    """
    began = time.monotonic()
    stream = Stream(Site(place, *OVERRIDES), place / "store", seconds)
    report = Report(seconds, readable=len(stream.readable))
    say(f"{seconds} s of data are made")
    undisturbed = place / "undisturbed"
    report.start_up = _undisturbed(stream, place / "log")
    stream.site.cleaned.rename(undisturbed)
    say(f"cleaned undisturbed; {time.monotonic() - began:.0f} s so far")
    stream.hide()
    _disturbed(stream, place / "log", kills, random.Random(seed), report, say)
    _compare(stream, undisturbed, report)
    report.wall = time.monotonic() - began
    return report


def _undisturbed(stream: Stream, log: Path) -> float:
    """Clean the stream in one life; return how long the start took, in seconds."""
    stream.show(START + 1)
    with running(stream.site, log) as daemon:
        since = time.monotonic()
        daemon.until(lambda: daemon.reads)
        start_up = time.monotonic() - since
        _finish(stream, daemon.until)
        if daemon.stop() != 0:
            raise RuntimeError(f"the daemon did not end well: {log.read_text()}")
    return start_up


def _finish(stream: Stream, until: Callable[..., None]) -> None:
    """Show the rest; wait until only the last frame is inside."""
    stream.show(stream.end)
    until(lambda: stream.cleaned >= stream.cleanable, limit=600)


def _disturbed(
    stream: Stream,
    log: Path,
    kills: int,
    chance: random.Random,
    report: Report,
    say: Callable[[str], None],
) -> None:
    """Clean the stream in many lives."""
    ends = sorted(chance.sample(range(START + 3, stream.end), kills - 1))
    starts_up: list[float] = [report.start_up]
    stream.show(START + 1)
    # The first life is killed when something is written: where nothing is, a start begins with
    # the newest frame, as it must.
    for number, end in enumerate([START + 3, *ends]):
        aim = "working" if number == 0 else chance.choice(MOMENTS)
        with running(stream.site, log) as daemon:
            since = time.monotonic()
            if aim == "starting":
                _show_slowly(stream, end, chance.uniform(0, median(starts_up)))
            else:
                daemon.until(lambda: daemon.reads)
                starts_up.append(time.monotonic() - since)
                stream.show(end)
                _await(aim, stream, daemon.until, chance)
            daemon.kill()
            report.kills[_found(stream, daemon.reads)] += 1
        _check_account(stream.site, report)
        if number % 20 == 19:
            say(f"{number + 1} kills, GPS {end - START} s: {dict(report.kills)}")
    with running(stream.site, log) as daemon:
        _finish(stream, daemon.until)
        if (status := daemon.stop()) != 0:
            report.faults.append(f"the last life ended with status {status}")
    report.start_up = median(starts_up)


def _show_slowly(stream: Stream, end: int, duration: float) -> None:
    """Let files appear while a process starts, and return in the midst of it."""
    limit = time.monotonic() + duration
    # Never so slowly that a frame would be given out without its look-ahead.
    pause = min(duration / max(end - stream.shown, 1), DEADLINE / 4)
    for second in range(stream.shown, end):
        stream.show(second + 1)
        time.sleep(pause)
    time.sleep(max(limit - time.monotonic(), 0))


def _await(aim: str, stream: Stream, until: Callable[..., None], chance: random.Random) -> None:
    """Return at a random moment of the kind that is aimed at, if one comes."""
    last = stream.cleanable
    if aim == "idle" or stream.cleaned >= last:
        until(lambda: stream.cleaned >= last)
        time.sleep(chance.uniform(0, 0.3))
        return
    some = chance.randrange(stream.cleaned, last)
    if aim == "working":
        until(lambda: stream.cleaned > some)
        time.sleep(chance.uniform(0, 0.02))
        return
    until(lambda: stream.cleaned >= some)
    limit = time.monotonic() + 60
    while not stream.writing and stream.cleaned < last and time.monotonic() < limit:
        pass  # the moment is too short for a pause


def _found(stream: Stream, reads: bool) -> str:
    """Return what a process that is dead now was doing, from what it left."""
    if not reads:
        return "starting"
    if stream.writing:
        return "writing"
    return "working" if stream.cleaned < stream.cleanable else "idle"


def _check_account(site: Site, report: Report) -> None:
    """Whenever a process dies its account can be read, and balances."""
    output = site.config.output
    try:
        kept = status_file.read(
            status_file.path_in(output.directory, output.description), time.time()
        )
    except InputError as fault:
        report.faults.append(str(fault))
        return
    if not kept.ledger.balanced:
        report.faults.append(f"the ledger does not balance: {kept.ledger}")


def _compare(stream: Stream, undisturbed: Path, report: Report) -> None:
    """Note what is not as in the undisturbed run."""
    frames = stream.site.outputs()
    report.frames = len(frames)
    if wrong := differences(stream.readable, frames):
        report.faults.append(wrong)
    for path in frames.values():
        twin = undisturbed / path.name
        if not twin.exists() or path.read_bytes() != twin.read_bytes():
            report.faults.append(f"{path.name} differs")
        try:
            gwf.read(path, list(gwf.channels(path)), checksum=True)
        except InputError as fault:
            report.faults.append(str(fault))
    left = {path.name for path in stream.site.cleaned.iterdir()} - {p.name for p in frames.values()}
    kept = (".lock", ".account.json", ".models.jsonl")
    if strange := {name for name in left if not name.endswith(kept)}:
        report.faults.append(f"left behind: {sorted(strange)}")


def show(report: Report) -> None:
    """Print the table."""
    rows = {
        "seconds of data": str(report.seconds),
        "with strain that can be read": str(report.readable),
        "kills": str(report.kills.total()),
        **{f"  while {moment}": str(report.kills[moment]) for moment in MOMENTS},
        "frames in the end": str(report.frames),
        "faults": str(len(report.faults)),
        "start of a process, median": f"{report.start_up:.1f} s",
        "all of it": f"{report.wall:.0f} s",
    }
    for label, value in rows.items():
        print(f"| {label:<30} | {value:>8} |")
    for fault in report.faults[:20]:
        print(fault)


def main() -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=3600, help="of data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where to work; default: the system's own")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    ends_on_sigterm()
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        report = rehearse(Path(place), options.kills, options.seconds, options.seed)
    show(report)
    if options.json:
        facts = {name: getattr(report, name) for name in Report.__slots__}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
