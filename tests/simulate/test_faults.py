"""Files that go wrong go wrong as asked, and everything else appears as ever, bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from deepclean.core.time import Span
from deepclean.io.t050017 import FrameName
from deepclean.simulate import Layout, Pace, Simulator, Site, stream
from deepclean.simulate.damage import swapped
from deepclean.simulate.faults import parse_fault
from tests.helpers import rehearsal_run
from tests.helpers.rehearsal_run import (
    DEADLINE,
    GPS,
    SPAN,
    TIMING,
    Streamed,
    assert_others,
    fault,
    of,
    strain_file,
    witness_file,
)
from tests.helpers.small_site import FakeClock

site = rehearsal_run.site
streamed = rehearsal_run.streamed


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("missing@+2", [strain_file(2)]),
        ("missing:witnesses@+2", [witness_file(2)]),
        ("missing:both@+2+2", [strain_file(2), strain_file(3), witness_file(2), witness_file(3)]),
        ("outage@+4", [strain_file(4), strain_file(5), witness_file(4), witness_file(5)]),
        (f"missing@{GPS + 2}.5+1", [strain_file(2), strain_file(3)]),
    ],
)
def test_missing_files_never_appear(streamed: Streamed, text: str, hit: list[str]) -> None:
    streamed.hit(text, *hit)
    assert not any(streamed.path(name).exists() for name in hit)


def test_late_file(streamed: Streamed) -> None:
    found = streamed.hit("late:witnesses@+2", witness_file(2))
    (late,) = of(found, witness_file(2))
    assert late.data == streamed.undisturbed[witness_file(2)].data
    # The next strain, a second later, starts the deadline of strain that is absent.
    assert late.time - 3 > 1 + DEADLINE
    assert late.time == pytest.approx(3 + DEADLINE + 3, abs=TIMING)


def test_duplicate_has_the_same_bytes(streamed: Streamed) -> None:
    found = streamed.hit("duplicate@+1", strain_file(1))
    first, second = of(found, strain_file(1))
    assert first.time == pytest.approx(2, abs=TIMING)
    assert second.time == pytest.approx(2 + DEADLINE + 3, abs=TIMING)
    assert first.data == second.data == streamed.undisturbed[strain_file(1)].data
    assert first.inode != second.inode  # a file of its own, renamed into place


@pytest.mark.parametrize("seconds", [1, 2])
@pytest.mark.parametrize("pace", [Pace(), Pace(ahead=1), Pace(strain_delay=0.5)])
def test_reordered_files_swap_their_times(streamed: Streamed, pace: Pace, seconds: int) -> None:
    times = {seen.name: seen.time for seen in streamed(pace=pace)}
    found = streamed(f"reordered@+2+{seconds}", pace=pace)
    assert len(found) == 12
    times[strain_file(2)], times[strain_file(3)] = times[strain_file(3)], times[strain_file(2)]
    for seen in found:
        assert seen.data == streamed.undisturbed[seen.name].data
        assert seen.time == pytest.approx(times[seen.name], abs=TIMING)


@pytest.mark.parametrize("ahead", [1, 16])
def test_files_are_reordered_also_where_nothing_waits(streamed: Streamed, ahead: int) -> None:
    found = streamed("reordered:both@+1", pace=Pace(speed=math.inf, ahead=ahead))
    for stream_of in (strain_file, witness_file):
        names = [stream_of(second) for second in (0, 2, 1, 3, 4, 5)]
        assert [seen.name for seen in found if seen.name in names] == names


@pytest.mark.parametrize(
    ("hit", "length", "order"),
    [
        ((1, 3), 1, [0, 2, 1, 3, 4, 5]),
        ((1, 2), 1, [0, 2, 1, 3, 4, 5]),
        ((0, 4), 1, [1, 0, 3, 2, 4, 5]),
        ((-3, 1), 1, [1, 0, 2, 3, 4, 5]),
        ((5, 7), 1, [0, 1, 2, 3, 4, 5]),
        ((3, 4), 2, [0, 2, 1]),
        ((4, 5), 4, [0, 1]),
    ],
)
def test_who_swaps_with_whom(hit: tuple[int, int], length: int, order: list[int]) -> None:
    files = [Span.of_seconds(GPS + start, min(length, 6 - start)) for start in range(0, 6, length)]
    when = Span.of_seconds(GPS + hit[0], hit[1] - hit[0])
    places = [swapped(when, file, SPAN, length) for file in files]
    assert [places.index(file) for file in files] == order
    assert sorted(places) == files


def test_truncated_file_is_cut_at_random(streamed: Streamed) -> None:
    hit = [strain_file(second) for second in range(6)]
    found = streamed.hit("truncated@+0+6", *hit)
    cuts = []
    for name in hit:
        (seen,) = of(found, name)
        whole = streamed.undisturbed[name].data
        assert len(seen.data) < len(whole)
        assert whole.startswith(seen.data)
        assert streamed.path(name).read_bytes() == seen.data  # and left so
        cuts.append(len(seen.data))
    assert len(set(cuts)) == 6
    assert cuts == [len(seen.data) for seen in streamed("truncated@+0+6") if seen.name in hit]


def test_partial_file_is_completed(streamed: Streamed) -> None:
    found = streamed.hit("partial:both@+2", strain_file(2), witness_file(2))
    for name in (strain_file(2), witness_file(2)):
        cut, whole = of(found, name)
        assert len(cut.data) < len(whole.data)
        assert whole.data.startswith(cut.data)
        assert whole.data == streamed.undisturbed[name].data
        assert cut.inode == whole.inode
        assert cut.time == pytest.approx(3, abs=TIMING)
        assert whole.time == pytest.approx(3 + DEADLINE / 2, abs=TIMING)


def test_partial_file_that_is_gone_is_not_completed(site: Site, tmp_path: Path) -> None:
    layout = Layout(strain=tmp_path, witnesses=tmp_path)
    made = [fault("partial@+2")]
    paths = [tmp_path / strain_file(2)] * 2
    for path in stream(Simulator(site), layout, SPAN, FakeClock(), faults=made):
        if path in paths:
            paths.pop()
            assert path.exists() == (len(paths) == 1)
            path.unlink(missing_ok=True)
    assert paths == []


def test_retention_counts_a_file_once(streamed: Streamed) -> None:
    streamed("partial@+3", "duplicate@+5", pace=Pace(retention=3))
    left = {path.name for path in streamed.layout.strain.iterdir()}
    assert left == {strain_file(3), strain_file(4), strain_file(5)}


def test_flipped_file_differs_in_one_bit(streamed: Streamed) -> None:
    found = streamed.hit("flipped:witnesses@+2", witness_file(2))
    (seen,) = of(found, witness_file(2))
    assert seen.time == pytest.approx(3, abs=TIMING)
    pairs = zip(seen.data, streamed.undisturbed[witness_file(2)].data, strict=True)
    assert sum((one ^ other).bit_count() for one, other in pairs) == 1


def test_foreign_files_are_of_no_stream(streamed: Streamed) -> None:
    found = streamed("foreign@+2", pace=Pace(retention=3))
    foreign = [seen for seen in found if seen.name not in streamed.undisturbed]
    assert_others([seen for seen in found if seen not in foreign], streamed.undisturbed)
    assert len(foreign) == len({seen.name for seen in foreign}) == 4
    for seen in foreign:
        name = FrameName.parse(seen.name)
        assert name is None or (name.description, name.extension) != ("H1_llhoft", "gwf")
        assert seen.time == pytest.approx(3, abs=TIMING)
    assert sum(seen.data == streamed.undisturbed[strain_file(2)].data for seen in foreign) == 1
    # They go in their time and take none of the stream's own with them.
    left = {path.name for path in streamed.layout.strain.iterdir()}
    assert left >= {strain_file(3), strain_file(4), strain_file(5)}
    assert len(left) == 6


def test_deleted_file_is_gone(streamed: Streamed) -> None:
    streamed.hit("deleted@+2")
    assert not streamed.path(strain_file(2)).exists()
    assert streamed.path(strain_file(3)).exists()


def test_faults_of_one_file_add_up(streamed: Streamed) -> None:
    found = streamed("late@+2", "truncated@+2", "deleted@+2")
    assert_others(found, streamed.undisturbed, strain_file(2))
    (seen,) = of(found, strain_file(2))
    assert seen.time == pytest.approx(3 + DEADLINE + 3, abs=TIMING)
    assert streamed.undisturbed[strain_file(2)].data.startswith(seen.data)
    assert not streamed.path(strain_file(2)).exists()


def test_an_outage_delays_nothing_after_it(streamed: Streamed) -> None:
    # Longer than what is made ahead.
    span = Span.of_seconds(GPS, 30)
    whole = {seen.name: seen for seen in streamed(span=span)}
    found = streamed(parse_fault("outage@+5+20", span, DEADLINE), span=span, pace=Pace(ahead=2))
    hit = [name(second) for name in (strain_file, witness_file) for second in range(5, 25)]
    assert_others(found, whole, *hit)
