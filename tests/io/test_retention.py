"""Which files are kept: exact answers, whatever fails on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepclean.core.time import NS
from deepclean.io.retention import AT_ONCE, Retention, held
from deepclean.io.t050017 import FrameName

DESCRIPTION = "H1_DEEPCLEAN"


def name(second: int, duration: int = 1) -> FrameName:
    return FrameName("H", DESCRIPTION, second, duration)


def seconds(directory: Path) -> list[int]:
    return [each.start for each in held(directory, DESCRIPTION)]


class Stubborn:
    """Files that cannot be deleted: a directory of that name with something in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def make(self, second: int) -> None:
        path = self._directory / str(name(second))
        path.mkdir()
        (path / "inside").touch()

    def yield_(self, second: int) -> None:
        path = self._directory / str(name(second))
        shutil.rmtree(path)
        path.touch()


class Model:
    """What is on disk after these turns, by the rules of the documentation."""

    def __init__(self, count: int | None, age: int | None) -> None:
        self._count, self._age = count, age
        self._known: list[int] = []
        self.present: set[int] = set()
        self.immortal: set[int] = set()

    def turn(self, second: int, what: str) -> None:
        if what != "lost":
            self.present.add(second)
        if what == "stubborn":
            self.immortal.add(second)
        self._known.append(second)
        for _ in range(AT_ONCE):
            if self._excess():
                self.present -= {self._known.pop(0)} - self.immortal

    def _excess(self) -> bool:
        too_many = self._count is not None and len(self._known) > self._count
        too_old = self._age is not None and self._known[-1] - self._known[0] > self._age
        return len(self._known) > 1 and (too_many or too_old)


turns = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["written", "written", "lost", "stubborn"])),
    min_size=1,
    max_size=40,
)
limit = st.none() | st.integers(1, 12)


@given(turns=turns, count=limit, age=limit)
@example(turns=[(1, "stubborn")] * 6, count=1, age=None)
@example(turns=[(1, "written")] * 9 + [(9, "lost")], count=None, age=4)
def test_what_is_kept_is_exact(
    tmp_path_factory: pytest.TempPathFactory,
    turns: list[tuple[int, str]],
    count: int | None,
    age: int | None,
) -> None:
    """Whatever is lost and cannot be deleted; and what could not be goes when it can be."""
    directory = tmp_path_factory.mktemp("kept")
    retention = Retention(directory, DESCRIPTION, count, None if age is None else age * NS)
    stubborn, model = Stubborn(directory), Model(count, age)
    second = 1000

    def turn(step: int, what: str) -> None:
        nonlocal second
        second += step
        if what == "written":
            (directory / str(name(second))).touch()
        elif what == "stubborn":
            stubborn.make(second)
        retention.step(name(second))
        model.turn(second, what)

    for step, what in turns:
        turn(step, what)
        assert set(seconds(directory)) == model.present
    for each in model.immortal & model.present:
        stubborn.yield_(each)
    for _ in range(len(turns) + 12):
        turn(1, "written")
    left = seconds(directory)
    assert count is None or len(left) <= count
    assert age is None or left[0] >= second - age
    assert (count, age) != (None, None) or set(left) == model.present


def test_a_start_deletes_what_the_limits_do_not_allow(tmp_path: Path) -> None:
    for second in range(20):
        (tmp_path / str(name(second))).touch()
    Retention(tmp_path, DESCRIPTION, count=3)
    assert seconds(tmp_path) == [17, 18, 19]


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    """Nothing can be deleted: names are forgotten, and found by the next start."""
    place = tmp_path / "out"
    place.mkdir()
    retention = Retention(place, DESCRIPTION, count=10, age=100 * NS)
    place.rmdir()
    place.touch()  # every call on a path below fails: not a directory
    for second in range(5000):
        retention.step(name(second))
    assert len(retention._names) == 10
    assert len(retention._undeleted) == retention._undeleted.maxlen


def test_without_limits_nothing_is_remembered(tmp_path: Path) -> None:
    retention = Retention(tmp_path, DESCRIPTION)
    for second in range(100):
        retention.step(name(second))
    assert not retention._names


def test_another_directory_in_its_place_is_looked_at(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    retention = Retention(place, DESCRIPTION, count=3)
    for second in range(3):
        (place / str(name(second))).touch()
        retention.step(name(second))
    place.rename(tmp_path / "away")
    retention.step(name(3))
    place.mkdir()
    for second in (1, 2, 90):  # somebody put files back
        (place / str(name(second))).touch()
    retention.step(name(100))
    (place / str(name(101))).touch()
    retention.step(name(101))
    assert seconds(place) == [90, 101]
    assert seconds(tmp_path / "away") == [0, 1, 2]


def test_a_turn_lists_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retention = Retention(tmp_path, DESCRIPTION, count=3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda *_: pytest.fail("lists the directory"))
        for second in range(10):
            (tmp_path / str(name(second))).touch()
            retention.step(name(second))
    assert seconds(tmp_path) == [7, 8, 9]


def test_whether_a_file_would_be_kept(tmp_path: Path) -> None:
    for second in (10, 20, 30):
        (tmp_path / str(name(second))).touch()
    retention = Retention(tmp_path, DESCRIPTION, count=4, age=25 * NS)
    allowed = [s for s in (1, 4, 5, 15, 40) if retention.allows(name(s), name(40))]
    assert allowed == [5, 15, 40]
    assert not Retention(tmp_path, DESCRIPTION, count=3).allows(name(5), name(40))
    assert Retention(tmp_path, DESCRIPTION).allows(name(5), name(40))


@pytest.mark.parametrize(("count", "age"), [(None, 5), (5, None)])
def test_a_file_of_the_future_makes_no_other_old(
    tmp_path: Path, count: int | None, age: int | None
) -> None:
    for second in (*range(10), 5000):
        (tmp_path / str(name(second))).touch()
    retention = Retention(tmp_path, DESCRIPTION, count, None if age is None else age * NS)
    assert retention.allows(name(8), name(9))
    for second in range(10, 20):
        (tmp_path / str(name(second))).touch()
        retention.step(name(second))
    kept = range(14, 20) if count is None else range(15, 20)
    assert seconds(tmp_path) == [*kept, 5000]
    (tmp_path / str(name(6000))).touch()
    for _ in range(4):
        retention.step(name(6000))
    assert seconds(tmp_path)[-1] == 6000
    assert age is None or 5000 not in seconds(tmp_path)
