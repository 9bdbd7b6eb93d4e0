"""The tail finds every file, whatever way it came and whatever the events say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deepclean.core.time import NS
from deepclean.edge.tail import FrameTail
from tests.smallsite import FakeClock

T0 = 1_400_000_000


def name(second: int, description: str = "H1_llhoft") -> str:
    return f"H-{description}-{second}-1.gwf"


def in_place(directory: Path, filename: str) -> None:
    (directory / filename).write_bytes(b"x")


def renamed_inside(directory: Path, filename: str) -> None:
    temporary = directory / f".{filename}.tmp"
    temporary.write_bytes(b"x")
    temporary.rename(directory / filename)


def renamed_from_outside(directory: Path, filename: str) -> None:
    temporary = directory.parent / f".{filename}.tmp"
    temporary.write_bytes(b"x")
    temporary.rename(directory / filename)


def hard_linked(directory: Path, filename: str) -> None:
    temporary = directory.parent / filename
    temporary.write_bytes(b"x")
    os.link(temporary, directory / filename)
    temporary.unlink()


WRITERS = [in_place, renamed_inside, renamed_from_outside, hard_linked]


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
    assert tail.starts() == [T0 * NS]


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
    assert tail.starts() == []


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
    assert tail.starts() == [T0 * NS]


def test_what_lies_behind_is_forgotten(tmp_path: Path) -> None:
    for second in range(T0, T0 + 10):
        in_place(tmp_path, name(second))
    tail = FrameTail(tmp_path, None, FakeClock())
    tail.poll(0)
    tail.drop_before((T0 + 6) * NS)
    assert tail.starts() == [(T0 + s) * NS for s in range(6, 10)]
    later = tail.after((T0 + 6) * NS)
    assert later is not None
    assert later.start == T0 + 7
