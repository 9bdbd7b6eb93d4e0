"""An hour live, with faults of every kind, is its replay: no second differs without a reason."""

from __future__ import annotations

import json
import logging
import random
import shlex
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path

import lal
import lalframe
import numpy as np
import pytest

from benchmarks.site import START, SiteDirectory, demo_site
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName
from deepclean.run import daemon
from deepclean.simulate import Pace, random_faults, stream
from deepclean.simulate.faults import KINDS
from deepclean.system.lock import OutputLock
from tests.helpers.commands import Run
from tests.helpers.turned_clock_daemon import StepClock

MINUTES = [
    pytest.param(8, marks=pytest.mark.slow),
    pytest.param(60, marks=pytest.mark.exhaustive),
]
"""Of data. They pass as fast as the daemon cleans them: both clocks are turned."""

SOUND = 10
"""Seconds at the end without faults: a gap counts when strain comes again."""

FAULTS_A_SECOND = 0.05

OVERRIDES = (
    *("strain.rate=4096", "metrics.enabled=false", "input.deadline=2.0"),
    *("output.retention={age: null, count: null}", "output.estimates=[all]"),
    "output.subtracted=true",
)

Altered = dict[str, tuple[float, float, np.ndarray]]
"""By channel: offset in seconds from the frame's start, rate, and samples."""


def late(channel: str, held: Altered) -> None:
    """Stamp a channel a quarter of a sample late."""
    offset, rate, samples = held[channel]
    held[channel] = (offset + 0.25 / rate, rate, samples)


def odd(channel: str, held: Altered) -> None:
    """Give a channel a rate that is not whole."""
    offset, rate, samples = held[channel]
    held[channel] = (offset, rate + 0.5, samples)


def short(channel: str, held: Altered) -> None:
    """Leave out the second half of a channel."""
    offset, rate, samples = held[channel]
    held[channel] = (offset, rate, samples[: len(samples) // 2])


def absent(channel: str, held: Altered) -> None:
    """Leave a channel out, the state vector too."""
    del held[channel]


CHANNELS: tuple[Callable[[str, Altered], None], ...] = (late, odd, short, absent)


class HourClock:
    """The daemon's clock: what passes on it passes on the stream's, in whose thread files appear.

    Args:
        stream: the clock of the stream.
        seconds: after which the daemon is to stop.
    """

    def __init__(self, stream: StepClock, seconds: float) -> None:
        self.now = 0.0
        self._stream, self._began, self._seconds = stream, stream.now, seconds

    @property
    def over(self) -> bool:
        return self.now > self._seconds

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert 0 <= seconds < inf
        self.now += seconds
        behind = self._began + self.now - self._stream.now
        if behind > 0:
            self._stream.advance(behind)

    def wake(self) -> None:
        """Nobody sleeps."""


def alter(path: Path, chance: random.Random, made: Counter[str]) -> None:
    """Do to a file what a writer at fault does, or put one beside it that is of another time."""
    site, description, start, rest = path.name.split("-")
    if chance.random() < 0.1:
        ahead = int(start) + chance.randint(5, 3000)
        made["misnamed"] += 1
        path.with_name(f"{site}-{description}-{ahead}-{rest}").write_bytes(path.read_bytes())
        return
    try:
        held = gwf.read(path, list(gwf.channels(path)))
    except Exception:  # noqa: BLE001  (it has a fault of another kind already)
        return
    channels = {
        name: (0.0, float(one.rate), np.asarray(one.samples, dtype=float))
        for name, one in held.items()
        if isinstance(one, Series)
    }
    for name in chance.sample(sorted(channels), min(2, len(channels))):
        fault = chance.choice(CHANNELS)
        made[fault.__name__] += 1
        fault(name, channels)
    temporary = path.with_name(f".{path.name}.tmp")
    out = lalframe.FrameUFrFileOpen(str(temporary), "w")
    frame = lalframe.FrameNew(lal.LIGOTimeGPS(int(start)), 1, "H1", 0, 0, 0)
    for name, (offset, rate, samples) in channels.items():
        at = lal.LIGOTimeGPS(int(start), round(offset * NS))
        series = lal.CreateREAL8TimeSeries(name, at, 0, 1 / rate, lal.StrainUnit, len(samples))
        series.data.data = samples
        lalframe.FrameAddREAL8TimeSeriesProcData(frame, series)
    lalframe.FrameUFrameHWrite(out, frame)
    del out
    temporary.replace(path)


def run_live(site: SiteDirectory, seconds: int, seed: int) -> tuple[Counter[str], daemon.Daemon]:
    """Let an hour pass; return the faults made and the daemon."""
    span, chance = Span.of_seconds(START, seconds), random.Random(seed)
    faulty = Span(span.start + 4 * NS, span.end - SOUND * NS)
    faults = random_faults(seed, 1000 * FAULTS_A_SECOND, faulty, site.simulator.site)
    faults = tuple(fault for fault in faults if faulty.covers(fault.span))
    made = Counter(fault.kind for fault in faults)
    clock = StepClock()

    def appear() -> None:
        pace = Pace(retention=None)
        for path in stream(site.simulator, site.layout(), span, clock, pace=pace, faults=faults):
            name = FrameName.parse(path.name)
            inside = name is not None and faulty.covers(name.span)
            if inside and path.exists() and chance.random() < FAULTS_A_SECOND:
                alter(path, chance, made)

    clock.start(appear)
    turned = HourClock(clock, seconds + 20.0)
    output = site.config.output
    with OutputLock(output.directory, output.description) as lock:
        built = daemon.build(
            site.config,
            turned,  # type: ignore[arg-type]
            lambda: turned.over,
            lock.hold,
        )
        daemon.work(built.source, built.cleaner, built.notifier)
    clock.finish(kill=True)
    return made, built


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("minutes", MINUTES)
def test_an_hour_live_with_faults_is_its_replay(
    deepclean: Run, tmp_path: Path, minutes: int
) -> None:
    seconds = 60 * minutes
    logging.getLogger("deepclean").propagate = False
    site = demo_site(tmp_path, OVERRIDES)
    made, built = run_live(site, seconds, seed=15)
    ledger = built.cleaner.ledger
    assert ledger.balanced
    assert not ledger.lost
    assert ledger.frames_in + ledger.gaps.total() == seconds
    if minutes == 60:
        assert set(made) == {*KINDS, "misnamed", *(each.__name__ for each in CHANNELS)}
    overrides = " ".join(f"--set {shlex.quote(each)}" for each in site.overrides)
    done = deepclean(
        tmp_path,
        f"validate -c {site.path} {overrides} --start {START} --end {START + seconds} "
        f"--against {site.config.output.directory} --out parity --jobs 2",
    )
    assert done.returncode in (0, 3), done.stderr
    report = json.loads((tmp_path / "parity" / "parity.json").read_text())
    reasons = Counter(second["reason"] for second in report["seconds"])
    print(f"{made.total()} faults {dict(made)}; {dict(ledger.written)}, gaps {dict(ledger.gaps)}")
    print(f"{report['compared']} s compared, {len(report['seconds'])} differ: {dict(reasons)}")
    assert done.returncode == 0, done.stdout
    assert not reasons["unexplained"]
    assert report["compared"] > 0.7 * seconds
