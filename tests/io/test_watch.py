"""The watch: real events wake the clock, and a watch that died is armed anew."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from deepclean.io.tail import FrameTail
from deepclean.io.watch import DirectoryWatch
from tests.helpers.small_site import START
from tests.helpers.turned_clock_daemon import TurnedClock, hinted, name


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def tail(tmp_path: Path, clock: TurnedClock) -> FrameTail:
    directory = tmp_path / "frames"
    directory.mkdir()
    tail = FrameTail(directory, None, clock, relist=1e9)
    tail.poll(0)
    return tail


def test_event_wakes_the_clock(tail: FrameTail, clock: TurnedClock) -> None:
    with DirectoryWatch([tail], clock):
        temporary = tail.directory / f".{name(START)}.tmp"
        temporary.write_bytes(b"x")
        temporary.rename(tail.directory / name(START))
        assert hinted(tail, clock, START)


def test_directory_made_again_is_watched_again(tail: FrameTail, clock: TurnedClock) -> None:
    with DirectoryWatch([tail], clock) as watch:
        shutil.rmtree(tail.directory)
        tail.directory.mkdir()
        # The new one may have the old one's number: then its thread's end tells them apart.
        for _ in range(1000):
            clock.ahead += 1.0
            watch.check()
            if watch.errors:
                break
            clock.wait(0.01)
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)
        assert watch.errors == 1


def test_directory_that_comes_later_is_watched(tmp_path: Path, clock: TurnedClock) -> None:
    tail = FrameTail(tmp_path / "later", None, clock, relist=1e9)
    tail.poll(0)
    with DirectoryWatch([tail], clock) as watch:
        tail.directory.mkdir()
        clock.ahead += 1.0
        watch.check()
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)
        assert watch.errors == 0


def test_dead_thread_is_replaced(tail: FrameTail, clock: TurnedClock) -> None:
    with DirectoryWatch([tail], clock) as watch:
        (armed,) = watch._armed.values()
        armed.observer.stop()
        armed.observer.join()
        clock.ahead += 1.0
        watch.check()
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)


def test_an_overflown_queue_is_counted(
    tail: FrameTail, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The library says so in its log alone (test_faults_machine.py overflows a real one)."""
    logger = logging.getLogger("watchdog.observers.inotify_c")
    with DirectoryWatch([tail], clock) as watch:
        logger.warning("Inotify queue overflowed; filesystem events were lost")
        logger.warning("something else")
        assert watch.errors == 1
    said = [record.message for record in caplog.records if record.name == "deepclean.io.watch"]
    assert said == ["Inotify queue overflowed; filesystem events were lost", "something else"]
    logger.warning("Inotify queue overflowed; filesystem events were lost")
    assert watch.errors == 1
