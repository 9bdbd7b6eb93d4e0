"""The watch: real events wake the clock, and a watch that died is armed anew."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from watchdog.events import FileSystemEvent
from watchdog.observers import inotify_c

from deepclean.io.tail import FrameTail
from deepclean.io.watch import DirectoryWatch, _Handler
from tests.helpers.small_site import START
from tests.helpers.turned_clock_daemon import TurnedClock, hinted, name


def resources() -> tuple[int, int]:
    """Return the numbers of descriptors and of threads of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()


def check(watch: DirectoryWatch, clock: TurnedClock) -> None:
    """Let the watch look at its directories."""
    clock.ahead += 1.0
    watch.check()


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


def test_reading_a_file_is_no_event(
    tail: FrameTail, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: set[str] = set()
    handed_on = _Handler.on_any_event

    def noted(handler: _Handler, event: FileSystemEvent) -> None:
        events.add(event.event_type)
        handed_on(handler, event)

    monkeypatch.setattr(_Handler, "on_any_event", noted)
    known = tail.directory / name(START)
    known.write_bytes(b"x")
    with DirectoryWatch([tail], clock):
        known.read_bytes()
        (tail.directory / name(START + 1)).write_bytes(b"x")
        assert hinted(tail, clock, START + 1)
    assert events <= {"created", "closed", "moved"}


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
        assert watch._observer is not None
        watch._observer.stop()
        watch._observer.join()
        check(watch, clock)
        assert watch.errors == 1
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)


def test_a_symlinked_directory_is_watched_at_its_target(
    tail: FrameTail, tmp_path: Path, clock: TurnedClock
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tail.directory)
    linked = FrameTail(link, None, clock, relist=1e9)
    linked.poll(0)
    with DirectoryWatch([linked], clock) as watch:
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(linked, clock, START)
        # The link leads elsewhere: the watch follows it.
        other = tmp_path / "other"
        other.mkdir()
        link.unlink()
        link.symlink_to(other)
        check(watch, clock)
        (other / name(START + 1)).write_bytes(b"x")
        assert hinted(linked, clock, START + 1)


def test_two_tails_of_one_directory_hear_both(tail: FrameTail, clock: TurnedClock) -> None:
    other = FrameTail(tail.directory, None, clock, relist=1e9)
    other.poll(0)
    with DirectoryWatch([tail, other], clock):
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)
        assert hinted(other, clock, START)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_a_refused_watch_leaves_nothing_behind_and_is_said_once(
    tail: FrameTail,
    clock: TurnedClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    add = inotify_c.inotify_add_watch

    def refuse(descriptor: int, path: bytes, mask: int) -> int:
        if path != os.fsencode(tail.directory):
            return int(add(descriptor, path, mask))
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    with DirectoryWatch([tail], clock) as watch:
        before = resources()
        for _ in range(100):
            check(watch, clock)
        assert resources() == before
        assert watch.errors == 1
        (said,) = caplog.messages
        assert said.startswith(f"no watch on {tail.directory} ([Errno ")
        monkeypatch.setattr(inotify_c, "inotify_add_watch", add)
        check(watch, clock)
        (tail.directory / name(START)).write_bytes(b"x")
        assert hinted(tail, clock, START)


def test_without_an_instance_of_inotify_nothing_is_left_behind(
    tail: FrameTail, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_init", refuse)
    with DirectoryWatch([tail], clock) as watch:
        before = resources()
        for _ in range(10):
            check(watch, clock)
        assert resources() == before
        assert watch.errors == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's rights")
def test_a_directory_that_may_not_be_read_counts_and_is_watched_once_it_may(
    tmp_path: Path, clock: TurnedClock
) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == "1 1 True\n", outcome.stderr


UNREADABLE = """
import os, sys
from pathlib import Path
from deepclean.io.tail import FrameTail
from deepclean.io.watch import DirectoryWatch, _Handler
from tests.helpers.turned_clock_daemon import TurnedClock, hinted, name
place = Path(sys.argv[1])
for each in (place, *place.parents):
    each.chmod(each.stat().st_mode | 0o055)
directory = place / "frames"
directory.mkdir()
os.chown(directory, 65534, 65534)
os.setuid(65534)
directory.chmod(0o100)
clock = TurnedClock()
tail = FrameTail(directory, None, clock, relist=1e9)
with DirectoryWatch([tail], clock) as watch:
    clock.ahead += 1.0
    watch.check()
    refused = watch.errors
    directory.chmod(0o700)
    tail.poll(0)
    clock.ahead += 1.0
    watch.check()
    (directory / name(1)).write_bytes(b"x")
    print(refused, watch.errors, hinted(tail, clock, 1))
"""


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
