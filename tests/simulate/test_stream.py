"""A live stream: what appears, when, and how; on a clock that only waiting moves."""

import math
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.io import gwf
from deepclean.io.t050017 import FrameName
from deepclean.simulate import Layout, Pace, Simulator, stream, write_history
from deepclean.simulate.files import MadeFile, Making, Product
from deepclean.simulate.stream import play
from tests.helpers.rehearsal_run import TIMING
from tests.helpers.sites import configured_site
from tests.helpers.small_site import FakeClock

GPS = 1370000000
SITE = configured_site("K1")
SPAN = Span.of_seconds(GPS, 6)


class SlowSimulator(Simulator):
    """Takes time by the clock to make a second of data."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__(SITE)
        self._clock = clock
        self._seconds = seconds

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series]:
        self._clock.now += self._seconds
        return super().read(wanted, span)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses")


def appearances(
    layout: Layout, pace: Pace, span: Span = SPAN, simulator: Simulator | None = None
) -> list[tuple[str, float]]:
    """Return the names of the files in the order of appearance, each with the clock's time."""
    clock = FakeClock()
    paths = stream(simulator or Simulator(SITE), layout, span, clock, pace=pace)
    found = []
    for path in paths:
        assert path.is_file()
        found.append((path.name, clock.now - 1000))
    return found


def due(name: str) -> float:
    """Return when a file is due at speed 1, in seconds after the stream's start."""
    parsed = FrameName.parse(name)
    assert parsed is not None
    return (parsed.span.end - SPAN.start) / NS


@pytest.mark.parametrize("speed", [0.5, 1.0, 8.0])
def test_files_appear_when_their_data_end(layout: Layout, speed: float) -> None:
    found = appearances(layout, Pace(speed=speed))
    assert len(found) == 12
    for name, time in found:
        assert time == pytest.approx(due(name) / speed, abs=TIMING)


def test_as_fast_as_it_can_be_made(layout: Layout) -> None:
    found = appearances(layout, Pace(speed=math.inf, ahead=1))
    assert [time for _, time in found] == [0.0] * 12
    assert [due(name) for name, _ in found] == sorted(due(name) for name, _ in found)


def test_delays_are_within_bounds_differ_and_repeat(layout: Layout) -> None:
    pace = Pace(strain_delay=0.3, witness_delay=1.7)
    found = appearances(layout, pace)
    assert found == appearances(layout, pace)
    late = {name: time - due(name) for name, time in found}
    strain = [seconds for name, seconds in late.items() if "llhoft" in name]
    witnesses = [seconds for name, seconds in late.items() if "lldetchar" in name]
    assert -TIMING <= min(strain) < max(strain) < 0.3
    assert -TIMING <= min(witnesses) < max(witnesses) < 1.7
    assert max(witnesses) > 0.3
    assert len(set(late.values())) == 12
    assert [time for _, time in found] == sorted(time for _, time in found)


def test_files_of_different_lengths(layout: Layout) -> None:
    uneven = Layout(
        strain=layout.strain, witnesses=layout.witnesses, strain_length=1, witness_length=4
    )
    found = appearances(uneven, Pace(ahead=2))
    assert len(found) == 6 + 2
    for name, time in found:
        assert time == pytest.approx(due(name), abs=TIMING)


def test_the_stream_holds_what_the_history_holds(layout: Layout, tmp_path: Path) -> None:
    past = Layout(strain=tmp_path / "past", witnesses=tmp_path / "past")
    written = {
        path.name: path for path in write_history(Simulator(SITE), past, Span.of_seconds(GPS, 2))
    }
    later = Span.of_seconds(GPS + 1, 1)
    for path in stream(Simulator(SITE), layout, later, FakeClock()):
        channels = list(gwf.channels(path))
        expected = gwf.read(written[path.name], channels)
        for name, series in gwf.read(path, channels).items():
            assert series.samples.tobytes() == expected[name].samples.tobytes()  # type: ignore[union-attr]


def test_old_files_go_by_count(layout: Layout) -> None:
    assert layout.witnesses is not None
    clock = FakeClock()
    most = 0
    for _ in stream(Simulator(SITE), layout, SPAN, clock, pace=Pace(retention=2)):
        most = max(most, len(list(layout.strain.iterdir())), len(list(layout.witnesses.iterdir())))
    assert most == 2
    kept = [f"K-K1_llhoft-{GPS + second}-1.gwf" for second in (4, 5)]
    assert sorted(path.name for path in layout.strain.iterdir()) == kept


def test_retention_leaves_the_truth_and_foreign_files(tmp_path: Path) -> None:
    layout = Layout(strain=tmp_path, truth=tmp_path, truth_length=1)
    foreign = tmp_path / f"K-K1_llhoft-{GPS - 1}-1.gwf"
    foreign.touch()
    list(stream(Simulator(SITE), layout, SPAN, FakeClock(), pace=Pace(retention=1)))
    assert foreign.exists()
    assert len(list(tmp_path.glob("*.hdf5"))) == 6
    assert len(list(tmp_path.glob("*.gwf"))) == 2


def test_a_reader_that_deletes_first_does_no_harm(layout: Layout) -> None:
    for path in stream(Simulator(SITE), layout, SPAN, FakeClock(), pace=Pace(retention=1)):
        path.unlink()
    assert list(layout.strain.iterdir()) == []


def test_files_appear_by_rename(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = []
    replace = Path.replace

    def watched(source: Path, target: Path) -> Path:
        renamed.append((source.parent, source.name, target.name))
        assert not target.exists()
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    paths = list(stream(Simulator(SITE), layout, Span.of_seconds(GPS, 2), FakeClock()))
    assert renamed == [(path.parent, f".{path.name}.tmp", path.name) for path in paths]


def test_the_stream_stops_when_told(layout: Layout) -> None:
    stopping: list[bool] = []
    paths = stream(Simulator(SITE), layout, SPAN, FakeClock(), stop=lambda: bool(stopping))
    next(paths)
    stopping.append(True)
    assert list(paths) == []
    assert len(list(layout.strain.iterdir())) == 1


def test_a_woken_clock_stops_the_stream_without_a_file_before_its_time(layout: Layout) -> None:
    stopping: list[bool] = []

    def wake() -> bool:
        stopping.append(True)
        return True

    clock = FakeClock(wake)
    assert list(stream(Simulator(SITE), layout, SPAN, clock, stop=lambda: bool(stopping))) == []
    assert clock.now == 1000.0


def test_a_clock_woken_for_nothing_goes_on_waiting(layout: Layout) -> None:
    woken = iter([True, False] * 100)
    clock = FakeClock(lambda: next(woken))
    for path in stream(Simulator(SITE), layout, SPAN, clock):
        assert clock.now - 1000 == pytest.approx(due(path.name), abs=TIMING)


def test_making_data_does_not_delay_the_stream(layout: Layout) -> None:
    # 0.6 s to make a second of data: with some ahead, no file is late.
    clock = FakeClock()
    simulator = SlowSimulator(clock, 0.6)
    paths = stream(simulator, layout, SPAN, clock, pace=Pace(ahead=2))
    first = next(paths)
    started = clock.now - due(first.name)
    assert started == pytest.approx(1000 + 2 * 0.6, abs=TIMING)
    for path in paths:
        assert clock.now - started == pytest.approx(due(path.name), abs=TIMING)


def test_a_stream_that_is_late_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker or a disk takes 1.5 s for each of the first three seconds, then nothing."""
    clock, kind = FakeClock(), Product(tmp_path, "H1_llhoft", 1, ("H1:STRAIN",))

    def making() -> Making:
        for second in range(9):
            span = Span.of_seconds(second, 1)
            cost = 1.5 if second < 3 else 0.0
            late = partial(clock.wait, cost)
            yield second + 1, [MadeFile(kind, tmp_path / str(second), span, late, span)]

    with caplog.at_level("INFO"):
        assert len(list(play(making(), Span.of_seconds(0, 9), clock, pace=Pace()))) == 9
    assert caplog.messages == [
        "the stream is 1.5 s late: what is made or taken is too slow",
        "the stream is in time again",
    ]


def test_no_data_are_made_in_a_wait_too_short_for_it(layout: Layout) -> None:
    # Between strain and witnesses there is less than the 0.4 s that a second of data takes.
    pace = Pace(witness_delay=0.3, ahead=2)
    punctual = appearances(layout, pace)
    clock = FakeClock()
    paths = stream(SlowSimulator(clock, 0.4), layout, SPAN, clock, pace=pace)
    found = [(path.name, clock.now) for path in paths]
    started = found[0][1] - punctual[0][1]
    assert [name for name, _ in found] == [name for name, _ in punctual]
    for (_, time), (_, expected) in zip(found, punctual, strict=True):
        assert time - started == pytest.approx(expected, abs=TIMING)


def test_data_are_not_made_further_ahead_than_asked(layout: Layout) -> None:
    clock = FakeClock()
    made = []

    class Counted(Simulator):
        def read(self, wanted: Collection[str], span: Span) -> dict[str, Series]:
            made.append(span)
            return super().read(wanted, span)

    long = Span.of_seconds(GPS, 10)
    for path in stream(Counted(SITE), layout, long, clock, pace=Pace(ahead=3)):
        assert len(made) <= due(path.name) + 3


@pytest.mark.parametrize(
    ("pace", "said"),
    [
        ({"speed": 0.0}, "speed: 0.0 is not positive"),
        ({"speed": math.nan}, "speed: nan is not positive"),
        ({"strain_delay": -1.0}, "strain_delay: -1.0 is not at least 0"),
        ({"witness_delay": math.inf}, "witness_delay: inf is not at least 0"),
        ({"retention": 0}, "retention: 0 is not at least 1"),
        ({"ahead": 0}, "ahead: 0 is not at least 1"),
    ],
)
def test_a_pace_out_of_range_is_refused(pace: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pace(**pace)  # type: ignore[arg-type]


def test_a_wrong_span_is_refused_at_once(layout: Layout) -> None:
    with pytest.raises(ConfigError, match="whole GPS seconds"):
        stream(Simulator(SITE), layout, Span(GPS * NS, GPS * NS + 1), FakeClock())
