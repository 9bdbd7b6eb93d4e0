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

import argparse
import random
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import common

common.limit_threads()

from benchmarks.processes import Daemon, exit_on_sigterm
from benchmarks.site import START, SiteDirectory, demo_site
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName
from deepclean.simulate import Fault
from scripts.soak_stream import RATE, ledger

DEADLINE = 2.0
"""Seconds, of data that never come and of the look-ahead: longer than any pause of the stream."""

OVERRIDES = (
    RATE,
    "input.max_lag=null",  # everything is cleaned, however long nobody was there to do it
    f"input.deadline={DEADLINE}",
    "output.retention.age=null",
    "output.fsync=true",  # the longer a write takes, the more kills fall into one
    "metrics.enabled=false",
)

MOMENTS = ("starting", "working", "writing", "idle")

FAULTS = (("missing", "strain", 10), ("truncated", "strain", 20), ("missing", "witnesses", 30))
"""Every 900 s: what goes wrong for good, with which files, after how many seconds."""


@dataclass
class Report:
    """What came of it."""

    seconds: int  # of data streamed
    readable: int = 0  # seconds whose strain can be read
    frames: int = 0  # that were there in the end
    kills: Counter[str] = field(default_factory=Counter)  # by what the daemon was doing
    start_up_s: float = 0.0  # from a process's start to its first look at the data, median
    lasted_s: float = 0.0
    wrong: list[str] = field(default_factory=list)  # what should not be


class HeldStream:
    """The site's files with `FAULTS`, made ahead and let appear second by second."""

    def __init__(self, site: SiteDirectory, seconds: int) -> None:
        self.site, self.shown, self.end = site, START, START + seconds
        self.cleaned_frames, self._cleaned = site.config.output.directory, 0
        faults = [
            Fault(kind, Span.of_seconds(start + late, 1), target)
            for start in range(START, self.end, 900)
            for kind, target, late in FAULTS
        ]
        self.readable = [n for n in range(START, self.end) if (n - START) % 900 not in (10, 20)]
        store = site.root / "store"
        self._links: dict[int, list[tuple[Path, Path]]] = defaultdict(list)
        for path in sorted(site.write(Span.of_seconds(START, seconds), into=store, faults=faults)):
            name = FrameName.parse(path.name)
            assert name is not None
            # Witnesses first: what is there with the strain is never a matter of time.
            self._links[name.start].insert(0, (site.root / path.relative_to(store), path))

    def show(self, end: int) -> None:
        """Let the files of the seconds before `end` appear, as far as they have not."""
        for second in range(self.shown, min(end, self.end)):
            for path, held in self._links[second]:
                path.hardlink_to(held)
            self.shown = second + 1

    def hide(self) -> None:
        """Take all away again."""
        for links in self._links.values():
            for path, _ in links:
                path.unlink(missing_ok=True)
        self.shown, self._cleaned = START, 0

    @property
    def cleanable(self) -> int:
        """How many of the readable seconds that appeared have their look-ahead."""
        return max(bisect_left(self.readable, self.shown) - 1, 0)

    @property
    def cleaned(self) -> int:
        """How many of the readable seconds have their frame."""
        while self._cleaned < len(self.readable) and self._next().exists():
            self._cleaned += 1
        return self._cleaned

    @property
    def writing(self) -> bool:
        """Whether the next frame lies there unfinished."""
        if self.cleaned == len(self.readable):
            return False
        return self._next().with_name(f".{self._next().name}.tmp").exists()

    def _next(self) -> Path:
        description = self.site.config.output.description
        name = FrameName("H", description, self.readable[self._cleaned], 1)
        return self.cleaned_frames / str(name)


def rehearse(place: Path, kills: int, seconds: int, seed: int = 0) -> Report:
    """Run it all below an empty directory.

    Raises:
        RuntimeError: the daemon ended by itself, or hung.
    """
    began = time.monotonic()
    stream = HeldStream(demo_site(place, OVERRIDES), seconds)
    report = Report(seconds, readable=len(stream.readable))
    undisturbed = place / "undisturbed"
    stream.show(START + 1)
    with _daemon(stream) as daemon:
        report.start_up_s = _started(daemon)
        _finish(stream, daemon, report)
    stream.cleaned_frames.rename(undisturbed)
    stream.hide()
    _disturb(stream, kills, random.Random(seed), report)
    _compare(stream, undisturbed, report)
    report.lasted_s = time.monotonic() - began
    return report


def _daemon(stream: HeldStream) -> Daemon:
    return Daemon(stream.site.path, stream.site.overrides, stream.site.root / "log")


def _started(daemon: Daemon) -> float:
    """Wait until a daemon reads; return the seconds since."""
    since = time.monotonic()
    daemon.until(lambda: daemon.reads)
    return time.monotonic() - since


def _finish(stream: HeldStream, daemon: Daemon, report: Report) -> None:
    """Show the rest, wait until only the last frame is inside, and end the daemon."""
    stream.show(stream.end)
    daemon.until(lambda: stream.cleaned >= stream.cleanable, limit=600)
    if (status := daemon.stop()) != 0:
        report.wrong.append(f"a daemon that was told to stop ended with status {status}")


def _disturb(stream: HeldStream, kills: int, chance: random.Random, report: Report) -> None:
    """Clean the stream in many lives."""
    ends = sorted(chance.sample(range(START + 3, stream.end), kills - 1))
    starts_up = [report.start_up_s]
    stream.show(START + 1)
    # The first life is killed when something is written: where nothing is, a start begins with
    # the newest frame, as it must.
    for number, end in enumerate([START + 3, *ends]):
        aim = "working" if number == 0 else chance.choice(MOMENTS)
        with _daemon(stream) as daemon:
            if aim == "starting":
                _show_slowly(stream, end, chance.uniform(0, median(starts_up)))
            else:
                starts_up.append(_started(daemon))
                stream.show(end)
                _await(aim, stream, daemon, chance)
            daemon.kill()
            report.kills[_found(stream, daemon)] += 1
        _check_account(stream.site, report)
        if number % 20 == 19:
            print(f"{number + 1} kills, second {end - START}: {dict(report.kills)}", flush=True)
    with _daemon(stream) as daemon:
        _finish(stream, daemon, report)
    report.start_up_s = median(starts_up)


def _show_slowly(stream: HeldStream, end: int, duration: float) -> None:
    """Let files appear while a process starts, and return in the midst of it."""
    limit = time.monotonic() + duration
    # Never so slowly that a frame would be given out without its look-ahead.
    pause = min(duration / max(end - stream.shown, 1), DEADLINE / 4)
    for second in range(stream.shown, end):
        stream.show(second + 1)
        time.sleep(pause)
    time.sleep(max(limit - time.monotonic(), 0))


def _await(aim: str, stream: HeldStream, daemon: Daemon, chance: random.Random) -> None:
    """Return at a random moment of the kind that is aimed at, if one comes."""
    last = stream.cleanable
    if aim == "idle" or stream.cleaned >= last:
        daemon.until(lambda: stream.cleaned >= last)
        time.sleep(chance.uniform(0, 0.3))
        return
    some = chance.randrange(stream.cleaned, last)
    if aim == "working":
        daemon.until(lambda: stream.cleaned > some)
        time.sleep(chance.uniform(0, 0.02))
        return
    daemon.until(lambda: stream.cleaned >= some)
    limit = time.monotonic() + 60
    while not stream.writing and stream.cleaned < last and time.monotonic() < limit:
        pass  # the moment is too short for a pause


def _found(stream: HeldStream, daemon: Daemon) -> str:
    """Return what a process that is dead now was doing, from what it left."""
    if not daemon.reads:
        return "starting"
    if stream.writing:
        return "writing"
    return "working" if stream.cleaned < stream.cleanable else "idle"


def _check_account(site: SiteDirectory, report: Report) -> None:
    """Whenever a process dies its account can be read, and balances."""
    try:
        account = ledger(site)
    except InputError as fault:
        report.wrong.append(str(fault))
    else:
        report.wrong += [] if account.balanced else [f"the ledger does not balance: {account}"]


def _compare(stream: HeldStream, undisturbed: Path, report: Report) -> None:
    """Note what is not as in the undisturbed run."""
    frames, readable = stream.site.outputs(), set(stream.readable)
    report.frames = len(frames)
    for what, seconds in (
        ("missing", readable - frames.keys()),
        ("too many", frames.keys() - readable),
    ):
        if seconds:
            report.wrong.append(f"{len(seconds)} {what}, the first GPS {min(seconds)}")
    for path in frames.values():
        twin = undisturbed / path.name
        if not twin.exists() or path.read_bytes() != twin.read_bytes():
            report.wrong.append(f"{path.name} differs")
        try:
            gwf.read(path, list(gwf.channels(path)), checksum=True)
        except InputError as fault:
            report.wrong.append(str(fault))
    left = {path.name for path in stream.cleaned_frames.iterdir()}
    state = (".lock", ".account.json", ".check.json", ".models.jsonl", ".events.jsonl")
    kept = (*state, ".configuration.json", *(path.name for path in frames.values()))
    left = {name for name in left if ".minutes-" not in name}
    if strange := {name for name in left if not name.endswith(kept)}:
        report.wrong.append(f"left behind: {sorted(strange)}")


def main() -> None:
    """Run it, print what came of it and what of that should not be."""
    parser = common.parser(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=3600, help="of data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="where to work; default: the system's own")
    options = parser.parse_args()
    exit_on_sigterm()

    def measure(asked: argparse.Namespace) -> common.Figures:
        with common.scratch(asked.directory) as place:
            return vars(rehearse(place, asked.kills, asked.seconds, asked.seed))

    sys.exit("\n".join(common.run("soak_kill", options, measure)["wrong"]) or 0)


if __name__ == "__main__":
    main()
