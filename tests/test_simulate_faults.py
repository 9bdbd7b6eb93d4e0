"""What can be made to go wrong goes wrong as it says, and everything else stays bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from deepclean.core.block import Gap, Samples, Series
from deepclean.core.time import NS, Span
from deepclean.edge import gwf, hdf5
from deepclean.edge.names import FrameName
from deepclean.simulate import Fault, Layout, Pace, Simulator, Site, site_of, stream
from deepclean.simulate import write_history as history
from deepclean.simulate.damage import spoiled, swapped
from deepclean.simulate.faults import KINDS, parse_fault
from tests import smallsite
from tests.smallsite import STATE, STRAIN
from tests.test_simulate_stream import TIMING, FakeClock

GPS = 1370000000
SPAN = Span.of_seconds(GPS, 6)
DEADLINE = 2.0
AT_ONCE = Pace()
FAST, SLOW = "H1:FAST", "H1:SLOW"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return site_of(smallsite.small_config(tmp_path_factory.mktemp("site")))


class Seen(NamedTuple):
    """A file as it was when its path came out of the stream."""

    name: str
    time: float
    data: bytes
    inode: int


def fault(text: str) -> Fault:
    return parse_fault(text, SPAN, DEADLINE)


def strain_file(second: int) -> str:
    return f"H-H1_llhoft-{GPS + second}-1.gwf"


def witness_file(second: int) -> str:
    return f"H-H1_lldetchar-{GPS + second}-1.gwf"


class Streamed:
    """Streams into a directory of its own each time, and keeps what was seen."""

    def __init__(self, site: Site, place: Path) -> None:
        self.site = site
        self.place = place
        self.runs = 0
        self.layout = Layout(strain=place)

    def __call__(self, *faults: str | Fault, pace: Pace = AT_ONCE, span: Span = SPAN) -> list[Seen]:
        self.runs += 1
        place = self.place / str(self.runs)
        self.layout = Layout(strain=place / "strain", witnesses=place / "witnesses")
        clock = FakeClock()
        made = [fault(one) if isinstance(one, str) else one for one in faults]
        paths = stream(Simulator(self.site), self.layout, span, clock, pace=pace, faults=made)
        return [
            Seen(path.name, clock.now - 1000, path.read_bytes(), path.stat().st_ino)
            for path in paths
        ]

    def path(self, name: str) -> Path:
        place = self.layout.witnesses if "lldetchar" in name else self.layout.strain
        assert place is not None
        return place / name


@pytest.fixture(scope="module")
def streamed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Streamed:
    return Streamed(site, tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="module")
def undisturbed(streamed: Streamed) -> dict[str, Seen]:
    return {seen.name: seen for seen in streamed()}


def assert_others(found: Sequence[Seen], undisturbed: dict[str, Seen], *hit: str) -> None:
    """Assert that whatever is not hit appeared once, when and as it would have."""
    assert {*hit} <= undisturbed.keys()
    others = {seen.name: seen for seen in found if seen.name not in hit}
    assert others.keys() == undisturbed.keys() - {*hit}
    assert len(others) == len([seen for seen in found if seen.name not in hit])
    for name, seen in others.items():
        assert seen.data == undisturbed[name].data
        assert seen.time == pytest.approx(undisturbed[name].time, abs=TIMING)


def of(found: Sequence[Seen], name: str) -> list[Seen]:
    return [seen for seen in found if seen.name == name]


# Files.


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
def test_missing_files_never_appear(
    streamed: Streamed, undisturbed: dict[str, Seen], text: str, hit: list[str]
) -> None:
    found = streamed(text)
    assert_others(found, undisturbed, *hit)
    assert not any(streamed.path(name).exists() for name in hit)


def test_late_file_appears_past_the_deadline(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    found = streamed("late:witnesses@+2")
    (late,) = of(found, witness_file(2))
    assert_others(found, undisturbed, witness_file(2))
    assert late.data == undisturbed[witness_file(2)].data
    # The next strain, a second later, starts the deadline of strain that is absent.
    assert late.time - 3 > 1 + DEADLINE
    assert late.time == pytest.approx(3 + DEADLINE + 3, abs=TIMING)


def test_duplicate_appears_again_with_the_same_bytes(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    found = streamed("duplicate@+1")
    first, second = of(found, strain_file(1))
    assert_others(found, undisturbed, strain_file(1))
    assert first.time == pytest.approx(2, abs=TIMING)
    assert second.time == pytest.approx(2 + DEADLINE + 3, abs=TIMING)
    assert first.data == second.data == undisturbed[strain_file(1)].data
    assert first.inode != second.inode  # a file of its own, renamed into place


@pytest.mark.parametrize("seconds", [1, 2])
@pytest.mark.parametrize("pace", [Pace(), Pace(ahead=1), Pace(strain_delay=0.5)])
def test_reordered_files_swap_their_times(
    streamed: Streamed, undisturbed: dict[str, Seen], pace: Pace, seconds: int
) -> None:
    times = {seen.name: seen.time for seen in streamed(pace=pace)}
    found = streamed(f"reordered@+2+{seconds}", pace=pace)
    assert len(found) == 12
    times[strain_file(2)], times[strain_file(3)] = times[strain_file(3)], times[strain_file(2)]
    for seen in found:
        assert seen.data == undisturbed[seen.name].data
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


def test_truncated_file_is_cut_where_chance_says(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    hit = [strain_file(second) for second in range(6)]
    found = streamed("truncated@+0+6")
    assert_others(found, undisturbed, *hit)
    cuts = []
    for name in hit:
        (seen,) = of(found, name)
        whole = undisturbed[name].data
        assert len(seen.data) < len(whole)
        assert whole.startswith(seen.data)
        assert streamed.path(name).read_bytes() == seen.data  # and left so
        cuts.append(len(seen.data))
    assert len(set(cuts)) == 6
    assert cuts == [len(seen.data) for seen in streamed("truncated@+0+6") if seen.name in hit]


def test_partial_file_is_written_in_place_and_completed(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    found = streamed("partial:both@+2")
    assert_others(found, undisturbed, strain_file(2), witness_file(2))
    for name in (strain_file(2), witness_file(2)):
        cut, whole = of(found, name)
        assert len(cut.data) < len(whole.data)
        assert whole.data.startswith(cut.data)
        assert whole.data == undisturbed[name].data
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


def test_flipped_file_differs_in_one_bit(streamed: Streamed, undisturbed: dict[str, Seen]) -> None:
    found = streamed("flipped:witnesses@+2")
    (seen,) = of(found, witness_file(2))
    assert_others(found, undisturbed, witness_file(2))
    assert seen.time == pytest.approx(3, abs=TIMING)
    pairs = zip(seen.data, undisturbed[witness_file(2)].data, strict=True)
    assert sum((one ^ other).bit_count() for one, other in pairs) == 1


def test_foreign_files_are_of_no_stream(streamed: Streamed, undisturbed: dict[str, Seen]) -> None:
    found = streamed("foreign@+2", pace=Pace(retention=3))
    foreign = [seen for seen in found if seen.name not in undisturbed]
    assert_others([seen for seen in found if seen not in foreign], undisturbed)
    assert len(foreign) == len({seen.name for seen in foreign}) == 4
    for seen in foreign:
        name = FrameName.parse(seen.name)
        assert name is None or (name.description, name.extension) != ("H1_llhoft", "gwf")
        assert seen.time == pytest.approx(3, abs=TIMING)
    assert sum(seen.data == undisturbed[strain_file(2)].data for seen in foreign) == 1
    # They go in their time and take none of the stream's own with them.
    left = {path.name for path in streamed.layout.strain.iterdir()}
    assert left >= {strain_file(3), strain_file(4), strain_file(5)}
    assert len(left) == 6


def test_deleted_file_was_there_and_is_gone(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    found = streamed("deleted@+2")
    assert_others(found, undisturbed)
    assert not streamed.path(strain_file(2)).exists()
    assert streamed.path(strain_file(3)).exists()


def test_faults_of_one_file_add_up(streamed: Streamed, undisturbed: dict[str, Seen]) -> None:
    found = streamed("late@+2", "truncated@+2", "deleted@+2")
    assert_others(found, undisturbed, strain_file(2))
    (seen,) = of(found, strain_file(2))
    assert seen.time == pytest.approx(3 + DEADLINE + 3, abs=TIMING)
    assert undisturbed[strain_file(2)].data.startswith(seen.data)
    assert not streamed.path(strain_file(2)).exists()


def test_an_outage_delays_nothing_after_it(streamed: Streamed) -> None:
    # Longer than what is made ahead.
    span = Span.of_seconds(GPS, 30)
    whole = {seen.name: seen for seen in streamed(span=span)}
    found = streamed(parse_fault("outage@+5+20", span, DEADLINE), span=span, pace=Pace(ahead=2))
    hit = [name(second) for name in (strain_file, witness_file) for second in range(5, 25)]
    assert_others(found, whole, *hit)


# Samples.


Expected = Callable[[Samples], Samples]


def all_of(value: float) -> Expected:
    return lambda samples: np.full_like(samples, value)


def at_a_quarter(samples: Samples) -> Samples:
    peak = np.abs(samples).max()
    return np.clip(samples, -peak / 4, peak / 4)


SAMPLES: list[tuple[str, Expected]] = [
    ("nan", all_of(np.nan)),
    ("inf", all_of(np.inf)),
    ("zero", all_of(0)),
    ("clipped", at_a_quarter),
    ("glitch", lambda samples: 1000 * samples),
]


def channels_of(path: Path) -> dict[str, Series | Gap]:
    return gwf.read(path, list(gwf.channels(path)))


def same(found: Series | Gap, expected: Series | Gap) -> bool:
    assert isinstance(found, Series)
    assert isinstance(expected, Series)
    return (
        (found.span, found.rate) == (expected.span, expected.rate)
        and found.samples.dtype == expected.samples.dtype
        and found.samples.tobytes() == expected.samples.tobytes()
    )


def test_what_is_spoiled_is_a_copy() -> None:
    second = Span.of_seconds(GPS, 1)
    sound = Series(second, 16, np.ones(16))
    hurt = spoiled(sound, Fault("zero", second, "strain"), lambda: None)
    assert (sound.samples == 1).all()
    assert (hurt.samples == 0).all()


@pytest.mark.parametrize(("kind", "expected"), SAMPLES)
@pytest.mark.parametrize(
    ("target", "hit"),
    [
        ("FAST", {FAST}),
        (FAST, {FAST}),
        ("strain", {STRAIN}),
        ("witnesses", {FAST, SLOW, "H1:MIDDLE"}),
    ],
)
def test_samples_go_wrong_inside_the_span_only(
    streamed: Streamed,
    undisturbed: dict[str, Seen],
    kind: str,
    expected: Expected,
    target: str,
    hit: set[str],
) -> None:
    found = streamed(f"{kind}:{target}@+2.25+0.5")
    name = strain_file(2) if target == "strain" else witness_file(2)
    assert_others(found, undisturbed, name)
    sound = Simulator(streamed.site).read(streamed.site.channels, Span.of_seconds(GPS + 2, 1))
    for channel, series in channels_of(streamed.path(name)).items():
        samples = sound[channel].samples.copy()
        if channel in hit:
            samples[512:1536] = expected(samples[512:1536])
        assert same(series, Series(series.span, sound[channel].rate, samples)), channel


def test_frozen_channel_holds_its_value_across_files(
    streamed: Streamed, undisturbed: dict[str, Seen]
) -> None:
    found = streamed("frozen:SLOW@+1.5+2")
    assert_others(found, undisturbed, *(witness_file(second) for second in (1, 2, 3)))
    sound = Simulator(streamed.site).read([SLOW], SPAN)[SLOW].samples
    read = [channels_of(streamed.path(witness_file(second)))[SLOW] for second in range(6)]
    samples = np.concatenate([one.samples for one in read if isinstance(one, Series)])
    assert (samples[3072:7168] == sound[3072]).all()
    sound[3072:7168] = sound[3072]
    assert samples.tobytes() == sound.tobytes()


def test_files_of_several_seconds(site: Site, tmp_path: Path) -> None:
    sound, hurt = (
        Layout(strain=place, witnesses=place, strain_length=2, witness_length=2)
        for place in (tmp_path / "sound", tmp_path / "hurt")
    )
    list(history(Simulator(site), sound, SPAN))
    made = [fault("nan:FAST@+1+2"), fault("rate:SLOW@+5+1")]
    for path in history(Simulator(site), hurt, SPAN, faults=made):
        for channel, series in channels_of(path).items():
            expected = gwf.read(sound.strain / path.name, [channel])[channel]
            assert isinstance(series, Series)
            assert isinstance(expected, Series)
            if channel == SLOW and path.name == f"H-H1_lldetchar-{GPS + 4}-2.gwf":
                assert series.rate == 2 * expected.rate
                assert (series.samples[::2] == expected.samples).all()
            elif channel == FAST:
                wrong = np.isnan(series.samples)
                seconds = (series.span.start // NS - GPS) + np.arange(4096) // 2048
                assert (wrong == ((seconds == 1) | (seconds == 2))).all()
                assert (series.samples == expected.samples)[~wrong].all()
            else:
                assert same(series, expected)


@pytest.mark.parametrize("target", ["FAST", "witnesses", "strain", "state"])
@pytest.mark.parametrize("kind", ["absent", "rate", "invalid"])
def test_channels_go_wrong_throughout_their_file(
    streamed: Streamed, undisturbed: dict[str, Seen], kind: str, target: str
) -> None:
    found = streamed(f"{kind}:{target}@+2")
    name = strain_file(2) if target in {"strain", "state"} else witness_file(2)
    assert_others(found, undisturbed, name)
    second = Span.of_seconds(GPS + 2, 1)
    held = [STRAIN, STATE] if name == strain_file(2) else [FAST, SLOW, "H1:MIDDLE"]
    targets = {"FAST": [FAST], "strain": [STRAIN], "state": [STATE], "witnesses": held}
    hit = targets[target]
    read = channels_of(streamed.path(name))
    sound = Simulator(streamed.site).read(held, second)
    for channel in held:
        if channel not in hit:
            assert same(read[channel], sound[channel])
        elif kind == "absent":
            assert channel not in read
        elif kind == "invalid":
            assert read[channel] == Gap(second, "invalid")
        else:
            twice = np.repeat(sound[channel].samples, 2)
            assert same(read[channel], Series(second, 2 * sound[channel].rate, twice))
    # A frame must hold something.
    empty = kind == "absent" and hit == held
    assert set(read) - set(held) == ({"H1:SIM-NOTHING"} if empty else set())


@pytest.mark.parametrize(("kind", "bits"), [("not_ready", 0b001), ("unlocked", 0)])
def test_state_vector_is_cleared(
    streamed: Streamed, undisturbed: dict[str, Seen], kind: str, bits: int
) -> None:
    found = streamed(f"{kind}@+2.5+1")
    assert_others(found, undisturbed, strain_file(2), strain_file(3))
    for second, expected in ((2, [7] * 8 + [bits] * 8), (3, [bits] * 8 + [7] * 8)):
        read = channels_of(streamed.path(strain_file(second)))
        sound = Simulator(streamed.site).read([STRAIN], Span.of_seconds(GPS + second, 1))
        assert same(read[STRAIN], sound[STRAIN])
        state = read[STATE]
        assert isinstance(state, Series)
        assert state.samples.tolist() == expected
        assert state.samples.dtype == np.uint32


def test_the_truth_is_never_touched(site: Site, tmp_path: Path) -> None:
    made = [Fault(kind, SPAN, KINDS[kind].target) for kind in KINDS if kind != "outage"]
    for place, faults in (("sound", []), ("hurt", made)):
        layout = Layout(strain=tmp_path / "frames", truth=tmp_path / place, truth_length=3)
        list(stream(Simulator(site), layout, SPAN, FakeClock(), faults=faults))
    names = [path.name for path in (tmp_path / "sound").iterdir()]
    assert len(names) == 2
    for name in names:
        sound, hurt = (
            hdf5.read(tmp_path / place / name, list(site.truth)) for place in ("sound", "hurt")
        )
        for channel in site.truth:
            assert same(sound[channel], hurt[channel])
