"""Whoever writes the input, and whether events tell of it or not: the same frames come out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.io.watch import DirectoryWatch
from deepclean.run import drain
from deepclean.system.clock import SystemClock
from tests.helpers import small_site as site
from tests.helpers.frame_files import WRITERS, renamed_inside, strain_tail, witness_tail
from tests.helpers.site_runs import contents, daemon, is_written, until
from tests.helpers.small_site import START, FakeClock
from tests.helpers.turned_clock_daemon import Daemon

SECONDS = 5

Contents = dict[int, bytes]
"""The samples of the official product, by GPS second."""

Writer = Callable[[Path, str, bytes], None]


def write(config: Config, second: int, writer: Writer) -> None:
    """Write the frames of a second: the witnesses first, so that nothing hangs on the machine."""
    witnesses, strain = site.witness_path(config, second), site.strain_path(config, second)
    writer(witnesses.parent, witnesses.name, site.witness_frame(second))
    writer(strain.parent, strain.name, site.strain_frame(second))


def make_site(place: Path) -> Config:
    place.mkdir(exist_ok=True)
    # However slow the machine, nothing is given up.
    config = site.small_config(place, "input.deadline=60", "input.max_lag=null")
    site.write_site(config, START, 0)
    write(config, START, renamed_inside)
    return config


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The outputs on a turned clock."""
    config, clock = make_site(tmp_path_factory.mktemp("expected")), FakeClock()
    daemon = Daemon(config, clock)
    for second in range(1, SECONDS):
        clock.at(float(second), partial(write, config, START + second, renamed_inside))
    clock.at(float(SECONDS), daemon.stop)
    daemon.run()
    made = contents(config.output.directory)
    assert len(made) == SECONDS
    return made


@pytest.mark.parametrize(
    "watched",
    [True, pytest.param(False, marks=pytest.mark.slow)],
    ids=["watched", "unwatched"],
)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_is_read(
    tmp_path: Path,
    expected: Contents,
    monkeypatch: pytest.MonkeyPatch,
    writer: Writer,
    watched: bool,
) -> None:
    monkeypatch.setattr(drain, "PATIENCE", 0.2)  # nothing comes after the last
    config, clock = make_site(tmp_path), SystemClock()
    daemon = Daemon(config, clock)
    tails = (strain_tail(daemon.source), witness_tail(daemon.source))
    with ThreadPoolExecutor() as pool, DirectoryWatch(tails, clock) if watched else nullcontext():
        running = pool.submit(daemon.run)
        try:
            limit = time.monotonic() + 60
            for second in range(1, SECONDS + 1):
                # The first must be there before the second comes: the newest is where it begins.
                while daemon.ledger.frames_in < second:
                    assert not running.done(), running.result()
                    assert time.monotonic() < limit, "it did not come so far"
                    time.sleep(0.002)  # what is waited for is another thread, not time
                if second < SECONDS:
                    write(config, START + second, writer)
        finally:
            daemon.stop()
            clock.wake()
        running.result(timeout=60)
    assert contents(config.output.directory) == expected


@pytest.mark.slow
def test_lost_events_cost_no_frame(tmp_path: Path) -> None:
    """The kernel's queue of events overflows while the daemon stands still."""
    config = site.make_site(tmp_path, "input.max_lag=null", seconds=4)
    directory = config.input.strain_frames.directory
    with daemon(config, tmp_path / "log") as process:
        site.write_site(config, START + 4, 1)
        until(partial(is_written, config, START + 3), process)
        process.send_signal(signal.SIGSTOP)
        for number in range(20_000):
            os.close(os.open(directory / f"junk{number}", os.O_CREAT | os.O_WRONLY))
        site.write_site(config, START + 5, 3)
        process.send_signal(signal.SIGCONT)
        until(partial(is_written, config, START + 6), process)
        site.write_site(config, START + 8, 1)
        until(partial(is_written, config, START + 7), process)
