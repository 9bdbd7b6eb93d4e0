"""The tail finds every file, whatever way it came and whatever the events say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from deepclean.core.time import NS
from deepclean.io.tail import FrameTail
from deepclean.system.clock import gps_now
from tests.helpers.frame_files import WRITERS, in_place, renamed_inside
from tests.helpers.small_site import FakeClock

T0 = 1_400_000_000


def name(second: int, description: str = "H1_llhoft") -> str:
    return f"H-{description}-{second}-1.gwf"


def starts(tail: FrameTail) -> list[int]:
    return [each.start for each in tail.names()]


@pytest.mark.parametrize("write", WRITERS)
def test_next_file_is_found_by_probe_alone(
    tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    directory = tmp_path / "frames"
    directory.mkdir()
    write(directory, name(T0))
    tail = FrameTail(directory, None, FakeClock(), relist=1e9)
    tail.poll(0)  # the first look lists
    for second in range(T0 + 1, T0 + 5):
        write(directory, name(second))
        tail.poll(second * NS)
        found = tail.at(second * NS)
        assert found is not None
        assert str(found) == name(second)


def test_listing_finds_what_the_probe_cannot_guess(tmp_path: Path) -> None:
    clock = FakeClock()
    tail = FrameTail(tmp_path, None, clock)
    tail.poll(0)
    in_place(tmp_path, name(T0 + 7))
    tail.poll(T0 * NS)
    assert tail.at((T0 + 7) * NS) is None
    clock.now += 1.0
    tail.poll(T0 * NS)
    assert tail.at((T0 + 7) * NS) is not None


def test_hint_is_enough(tmp_path: Path) -> None:
    tail = FrameTail(tmp_path, None, FakeClock(), relist=1e9)
    tail.poll(0)
    tail.notice(name(T0))
    tail.poll(0)
    assert starts(tail) == [T0]


@pytest.mark.parametrize(
    "foreign",
    [
        f".{name(T0)}.tmp",
        f"{name(T0)}.tmp",
        "README",
        f"H-H1_llhoft-{T0}-1.hdf5",
        f"H-H1_other-{T0}-1.gwf",
        f"H-H1_llhoft-{T0}.5-1.gwf",
    ],
)
def test_foreign_files_are_passed_over(tmp_path: Path, foreign: str) -> None:
    in_place(tmp_path, foreign)
    tail = FrameTail(tmp_path, "H1_llhoft", FakeClock())
    tail.poll(T0 * NS)
    tail.notice(foreign)
    tail.poll(T0 * NS)
    assert starts(tail) == []


def test_long_files_hold_their_later_seconds(tmp_path: Path) -> None:
    in_place(tmp_path, f"H-H1_llhoft-{T0}-64.gwf")
    tail = FrameTail(tmp_path, None, FakeClock())
    tail.poll(T0 * NS)
    assert tail.at((T0 + 63) * NS) is not None
    assert tail.at((T0 + 64) * NS) is None


def test_only_the_newest_of_old_files_has_just_come(tmp_path: Path) -> None:
    for second in range(T0, T0 + 3):
        in_place(tmp_path, name(second))
    clock = FakeClock()
    tail = FrameTail(tmp_path, None, clock)
    tail.poll(0)
    ages = [clock.now - tail.noticed(found) for s in range(3) if (found := tail.at((T0 + s) * NS))]
    assert ages == [float("inf"), float("inf"), 0.0]


def test_directory_may_come_and_go(tmp_path: Path) -> None:
    clock = FakeClock()
    directory = tmp_path / "later"
    tail = FrameTail(directory, None, clock)
    tail.poll(T0 * NS)
    directory.mkdir()
    in_place(directory, name(T0))
    clock.now += 1.0
    tail.poll(T0 * NS)
    assert starts(tail) == [T0]


def test_what_lies_behind_is_forgotten(tmp_path: Path) -> None:
    for second in range(T0, T0 + 10):
        in_place(tmp_path, name(second))
    tail = FrameTail(tmp_path, None, FakeClock())
    tail.poll(0)
    tail.drop_before((T0 + 6) * NS)
    assert starts(tail) == [T0 + s for s in range(6, 10)]
    assert tail.after((T0 + 6) * NS)[0].start == T0 + 7


class Taker:
    """Takes what a tail has, second by second, as the source does; looks as often as it likes."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.directory = directory
        self.tail = FrameTail(directory, "H1_llhoft", self.clock)
        self.look()
        self.tail.settle(T0 * NS)

    def look(self, expected: int = T0 + 99) -> None:
        self.clock.now += 1.0
        self.tail.poll(expected * NS)

    def second(self, second: int) -> None:
        """Take the file of a second, or give it up where there is none."""
        self.tail.poll(second * NS)
        found = self.tail.at(second * NS)
        if found is not None:
            self.tail.mark_read(found)
        self.tail.settle((second + 1) * NS)
        self.tail.drop_before((second - 2) * NS)

    def appears(self, filename: str) -> Counter[str]:
        """Let a file appear; return what has been ignored after three more looks."""
        renamed_inside(self.directory, filename)
        self.tail.notice(filename)
        for _ in range(3):
            self.look()
        return self.tail.ignored


@pytest.fixture
def taker(tmp_path: Path) -> Taker:
    in_place(tmp_path, name(T0))
    taker = Taker(tmp_path)
    for second in (T0, T0 + 1, T0 + 2):
        if second != T0 + 1:
            in_place(tmp_path, name(second))
        taker.second(second)
    return taker


def test_what_was_taken_is_not_ignored(taker: Taker) -> None:
    for _ in range(3):
        taker.look()
        taker.tail.notice(name(T0 + 2))
    assert not taker.tail.ignored


def test_file_of_a_second_given_up_is_late_once(taker: Taker) -> None:
    assert taker.appears(name(T0 + 1)) == {"late": 1}
    assert taker.tail.at((T0 + 1) * NS) is None


@pytest.mark.parametrize("second", [T0, T0 + 2])
@pytest.mark.parametrize("site", ["H", "L"])
def test_file_of_a_taken_second_is_a_duplicate(taker: Taker, second: int, site: str) -> None:
    taker.look()  # one listing knows the inode of what was taken
    assert taker.appears(f"{site}-H1_llhoft-{second}-1.gwf") == {"duplicate": 1}
    assert taker.appears(f"{site}-H1_llhoft-{second}-1.gwf") == {"duplicate": 2}  # one more file


def test_old_name_that_comes_back_is_a_duplicate(taker: Taker) -> None:
    taker.look()
    (taker.directory / name(T0)).unlink()
    taker.look()
    assert taker.appears(name(T0)) == {"duplicate": 1}


def test_file_inside_a_longer_one_is_a_duplicate(taker: Taker) -> None:
    in_place(taker.directory, name(T0 + 4))
    in_place(taker.directory, f"H-H1_llhoft-{T0 + 3}-4.gwf")
    taker.look()
    taker.second(T0 + 3)
    taker.tail.settle((T0 + 7) * NS)
    assert taker.appears(name(T0 + 5)) == {"duplicate": 2}
    assert taker.tail.at((T0 + 5) * NS) is not None  # the longer one


def test_second_file_that_starts_where_one_waits_is_a_duplicate(taker: Taker) -> None:
    in_place(taker.directory, name(T0 + 3))
    taker.look()
    assert not taker.appears(f"L-H1_llhoft-{T0 + 3}-1.gwf")  # it may have what the first lacks
    assert str(taker.tail.at((T0 + 3) * NS)) == name(T0 + 3)
    taker.second(T0 + 3)
    assert taker.tail.ignored == {"duplicate": 1}


def test_file_made_anew_before_it_is_taken_is_not_ignored(taker: Taker) -> None:
    in_place(taker.directory, name(T0 + 3))
    taker.look()
    assert not taker.appears(name(T0 + 3))
    taker.second(T0 + 3)
    assert not taker.tail.ignored


@pytest.mark.parametrize(
    "filename", [name(T0 - 1), f".{name(T0 + 1)}.tmp", "README", name(T0 + 1, "H1_other")]
)
def test_what_was_never_waited_for_is_not_counted(taker: Taker, filename: str) -> None:
    assert not taker.appears(filename)


def test_slow_listing_doubles_no_file(taker: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network file system's may: the probe has found the file before."""
    taker.look()
    before = list(os.scandir(taker.directory))
    in_place(taker.directory, name(T0 + 3))
    taker.second(T0 + 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda directory: nullcontext(before))
        taker.look()
    for _ in range(3):
        taker.look()
    assert not taker.tail.ignored


def test_hints_are_bounded(tmp_path: Path) -> None:
    tail = FrameTail(tmp_path, None, FakeClock())
    for number in range(20_000):
        tail.notice(f"junk{number}")
    assert tail._hints.qsize() == 10_000
    in_place(tmp_path, name(T0))
    tail.notice(name(T0))
    tail.poll(0)
    assert starts(tail) == [T0]
    assert tail._hints.qsize() == 0


def test_the_wall_clock_in_gps_seconds() -> None:
    import lal

    assert abs(gps_now() / NS - float(lal.GPSTimeNow())) < 10
