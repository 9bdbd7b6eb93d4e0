"""The live source: frames in order of GPS, gaps where data are missing, never a stop."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Block, Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.live.source import Overdue
from deepclean.io.source import Channels, GapLog
from tests.helpers import small_site as site
from tests.helpers.frame_files import frames, has_strain, make, seconds, witness
from tests.helpers.small_site import START, FakeClock


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 0)
    return config


def test_frames_come_with_exact_samples(config: Config) -> None:
    site.write_site(config, START, 5)
    given = frames(make(config, FakeClock(), resume=START), 5)
    assert seconds(given) == list(range(START, START + 5))
    for frame in given:
        second = frame.span.start // NS
        (block,) = frame.blocks
        assert isinstance(block.strain, Series)
        expected = site.samples(site.STRAIN, second, site.STRAIN_RATE) * 1e-21
        np.testing.assert_array_equal(block.strain.samples, expected)
        for name, rate in site.RATES.items():
            series = witness(frame, name)
            assert isinstance(series, Series)
            expected32 = site.samples(name, second, rate).astype(np.float32)
            np.testing.assert_array_equal(series.samples, expected32)
        assert isinstance(block.state, Series)
        assert block.state.samples.dtype == np.uint32


def test_without_earlier_output_the_newest_frame_is_the_first_wanted(config: Config) -> None:
    site.write_site(config, START, 6)
    given = frames(make(config, FakeClock(), history=3), 4)
    assert seconds(given) == [START + 2, START + 3, START + 4, START + 5]
    assert [frame.wanted for frame in given] == [False, False, False, True]


def test_after_earlier_output_nothing_on_disk_is_left_out(config: Config) -> None:
    site.write_site(config, START, 6)
    given = frames(make(config, FakeClock(), history=2, resume=START + 3), 5)
    assert seconds(given) == [START + s for s in (1, 2, 3, 4, 5)]
    assert [frame.wanted for frame in given] == [False, False, True, True, True]


def test_late_witnesses_are_waited_for_until_the_deadline(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 2, no_witnesses=[START + 1])
    clock.at(
        1.5,
        lambda: gwf.publish(site.witness_path(config, START + 1), site.witness_frame(START + 1)),
    )
    given = frames(make(config, clock, resume=START), 2)
    assert isinstance(witness(given[1], "H1:FAST"), Series)
    assert 1001.5 <= clock.now < 1002.0


def test_witnesses_past_the_deadline_are_a_gap(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 2, no_witnesses=[START + 1])
    source = make(config, clock, resume=START)
    given = frames(source, 2)
    assert has_strain(given[1])
    assert {type(w) for w in given[1].blocks[0].witnesses.values()} == {Gap}
    assert 1002.0 <= clock.now < 1002.2
    assert source.run.counts["witnesses", "missing"] == 1


def test_missing_strain_is_a_gap_that_keeps_its_witnesses(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 4, no_strain=[START + 1, START + 2])
    given = frames(make(config, clock, history=5, resume=START), 4)
    assert seconds(given) == [START, START + 1, START + 2, START + 3]
    assert [has_strain(frame) for frame in given] == [True, False, False, True]
    assert all(isinstance(witness(frame, "H1:FAST"), Series) for frame in given)


def test_frames_out_of_order_within_the_deadline_are_put_in_order(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 3, no_strain=[START + 1])
    clock.at(
        1.0, lambda: gwf.publish(site.strain_path(config, START + 1), site.strain_frame(START + 1))
    )
    given = frames(make(config, clock, resume=START), 3)
    assert seconds(given) == [START, START + 1, START + 2]
    assert all(map(has_strain, given))


def test_unreadable_strain_is_said_once(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    site.write_site(config, START, 6)
    for second in range(START + 1, START + 4):
        site.strain_path(config, second).write_bytes(b"not a frame")
    site.write_site(config, START + 6, 3)  # what is asked for the strain at the start
    with caplog.at_level("INFO", logger="deepclean"):
        given = frames(make(config, FakeClock(), resume=START), 6)
    assert [has_strain(frame) for frame in given] == [True, False, False, False, True, True]
    said = [r.getMessage() for r in caplog.records if "strain frame" in r.getMessage()]
    assert len(said) == 2
    assert said[0].startswith(f"strain frame H-H1_llhoft-{START + 1}-1.gwf: ")
    assert said[1] == f"strain frames can be read again, from H-H1_llhoft-{START + 4}-1.gwf"


def test_unreadable_strain_is_a_gap_after_the_deadline(config: Config) -> None:
    site.write_site(config, START, 3)
    path = site.strain_path(config, START + 1)
    path.write_bytes(path.read_bytes()[:1000])
    given = frames(make(config, FakeClock(), resume=START), 3)
    assert [has_strain(frame) for frame in given] == [True, False, True]


def test_files_of_unequal_length_meet_by_gps(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 0)
    for start in range(START, START + 8, 4):
        gwf.publish(site.strain_path(config, start, 4), site.strain_frame(start, 4))
    gwf.publish(site.witness_path(config, START, 1), site.witness_frame(START, 1))
    gwf.publish(site.witness_path(config, START + 1, 6), site.witness_frame(START + 1, 6))
    gwf.publish(site.witness_path(config, START + 7, 1), site.witness_frame(START + 7, 1))
    given = frames(make(config, FakeClock(), resume=START), 2)
    for frame in given:
        series = witness(frame, "H1:MIDDLE")
        assert isinstance(series, Series)
        assert series.span == frame.span
        first = frame.span.start // NS
        expected = np.concatenate([site.samples("H1:MIDDLE", first + s, 128) for s in range(4)])
        np.testing.assert_array_equal(series.samples, expected.astype(np.float32))


def test_witnesses_in_the_strain_files(tmp_path: Path) -> None:
    config = site.small_config(tmp_path, "input.witnesses=[]")
    directory = config.input.strain_frames.directory
    directory.mkdir()
    from deepclean.io.channels import OutputChannel

    for second in range(START, START + 2):
        both: dict[str, OutputChannel] = {}
        for content in (site.strain_frame(second), site.witness_frame(second)):
            path = tmp_path / "part.gwf"
            path.write_bytes(content)
            for name, series in gwf.read(path, list(gwf.channels(path))).items():
                assert isinstance(series, Series)
                both[name] = OutputChannel(series)
                span = series.span
        gwf.publish(site.strain_path(config, second), gwf.serialise(span, both))
    given = frames(make(config, FakeClock(), resume=START), 2)
    assert all(isinstance(witness(frame, "H1:FAST"), Series) for frame in given)


def test_overdue_look_ahead_is_said_once_a_lull(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 1)
    clock.at(1, lambda: site.write_site(config, START + 1, 1))
    clock.at(20, lambda: site.write_site(config, START + 2, 1))
    events = list(islice(make(config, clock, resume=START).events(), 5))
    kinds = [type(event) for event in events]
    assert kinds == [InputFrame, InputFrame, Overdue, InputFrame, Overdue]


def test_stop_ends_the_source(config: Config) -> None:
    clock = FakeClock()
    site.write_site(config, START, 1)
    stop: list[bool] = []
    clock.at(30, lambda: stop.append(True))
    events = list(make(config, clock, resume=START, stopped=lambda: bool(stop)).events())
    assert [type(event) for event in events] == [InputFrame, Overdue]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("strain.rate=4096", "H1:GDS-CALIB_STRAIN is at 2048 Hz, the configuration says 4096 Hz"),
    ],
)
def test_wrong_site_stops_the_start(tmp_path: Path, override: str, message: str) -> None:
    config = site.small_config(tmp_path, override)
    site.write_site(config, START, 1)
    with pytest.raises(InputError, match=message):
        frames(make(config, FakeClock(), resume=START), 1)


def test_far_behind_frames_pass_through_until_the_newest(config: Config) -> None:
    site.write_site(config, START, 1)
    clock = FakeClock()
    source = make(config, clock, history=3, resume=START)
    source.max_lag = 10 * NS
    events = (event for event in source.events() if isinstance(event, InputFrame))
    first = next(events)
    assert not first.bypass
    site.write_site(config, START + 1, 30)  # all at once, as after a pause of this process
    clock.now += 1.0
    rest = list(islice(events, 33))
    passed = [frame for frame in rest if frame.bypass]
    assert seconds(passed) == list(range(START + 1, START + 30))
    assert all(map(has_strain, passed))
    # Then the history again, not wanted, and the newest, cleaned.
    assert [(s - START, f.wanted) for s, f in zip(seconds(rest[29:]), rest[29:], strict=True)] == [
        (27, False),
        (28, False),
        (29, False),
        (30, True),
    ]
    assert isinstance(witness(rest[-1], "H1:FAST"), Series)


def test_behind_by_less_everything_is_cleaned(config: Config) -> None:
    site.write_site(config, START, 12)
    source = make(config, FakeClock(), resume=START)
    source.max_lag = 11 * NS
    assert not any(frame.bypass for frame in frames(source, 12))


def test_absent_channel_is_taken_later(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    site.write_site(config, START, 3)
    for second in (START, START + 1):
        absent = site.witness_frame(second, absent=["H1:FAST"])
        gwf.publish(site.witness_path(config, second), absent)
    with caplog.at_level("INFO", logger="deepclean"):
        given = frames(make(config, FakeClock(), resume=START), 3)
    assert [type(witness(frame, "H1:FAST")) for frame in given] == [Gap, Gap, Series]
    said = [record.getMessage() for record in caplog.records]
    assert said[3:] == [
        f"GPS {START}: no samples of H1:FAST (missing)",
        f"GPS {START + 2}: samples again of H1:FAST",
    ]


def test_a_channel_that_comes_and_goes_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channels, log = Channels("H1:STRAIN", 16, None, ("H1:FAST",)), GapLog()
    with caplog.at_level("INFO", logger="deepclean"):
        for second in range(START, START + 70):
            span = Span.of_seconds(second, 1)
            there = Series(span, 16, np.zeros(16))
            piece = there if second % 2 else Gap(span, "missing")
            log.note(channels, [Block(span, there, {"H1:FAST": piece})], ())
    said = [record.getMessage() for record in caplog.records]
    assert said[:2] == [
        f"GPS {START}: no samples of H1:FAST (missing)",
        f"GPS {START + 1}: samples again of H1:FAST",
    ]
    assert said[6] == (
        f"since GPS {START} samples came and went 54 more times; all channels have samples now"
    )
    assert len(said) == 6 + 1 + 6


def test_history_that_is_read_is_noted(config: Config) -> None:
    site.write_site(config, START, 6)
    source = make(config, FakeClock(), history=4, resume=START + 5)
    noted = [dict(source.run.history_read) for _ in islice(source.events(), 5)]
    assert noted == [{"read": float(n), "whole": 4.0} for n in range(4)] + [{}]


def test_far_behind_at_a_restart_only_what_is_wanted_passes_through(config: Config) -> None:
    """What lies before the last output was cleaned and written: it must not be written again."""
    site.write_site(config, START, 31)
    source = make(config, FakeClock(), history=3, resume=START + 5)
    source.max_lag = 10 * NS
    given = frames(source, 32)
    before = [frame for frame in given if frame.span.start < (START + 5) * NS]
    assert [s - START for s in seconds(before)] == [2, 3, 4]
    assert not any(frame.wanted or frame.bypass for frame in before)
    passed = [frame for frame in given if frame.bypass]
    assert [s - START for s in seconds(passed)] == list(range(5, 30))
    wanted = [s - START for s, frame in zip(seconds(given), given, strict=True) if frame.wanted]
    assert wanted == list(range(5, 31))


def test_gap_before_the_first_wanted_frame_is_not_counted(config: Config) -> None:
    site.write_site(config, START, 6, no_strain=[START + 3])
    given = frames(make(config, FakeClock(), history=4, resume=START + 5), 5)
    assert [s - START for s in seconds(given)] == [1, 2, 3, 4, 5]
    assert [frame.wanted for frame in given] == [False, False, False, False, True]


def test_frame_that_has_just_come_is_not_jumped_over(tmp_path: Path) -> None:
    """It came since the last listing, and what is probed for is the one before it."""
    config = site.small_config(tmp_path, "input.deadline=2.5")
    site.write_site(config, START, 4, no_strain=[START + 1, START + 2])
    clock = FakeClock()
    clock.at(
        2.4, lambda: gwf.publish(site.strain_path(config, START + 2), site.strain_frame(START + 2))
    )
    given = frames(make(config, clock, resume=START), 4)
    assert [has_strain(frame) for frame in given] == [True, False, True, True]


def test_file_that_began_before_gives_the_rest(config: Config) -> None:
    """Frames of another length, which overlap those before: no second twice, none left out."""
    site.write_site(config, START, 2)
    gwf.publish(site.strain_path(config, START - 1, 4), site.strain_frame(START - 1, 4))
    site.write_site(config, START + 3, 1)
    given = frames(make(config, FakeClock(), resume=START), 2)
    assert [(f.span.start // NS - START, f.span.end // NS - START) for f in given] == [
        (0, 3),
        (3, 4),
    ]
    assert all(map(has_strain, given))


def test_frame_in_which_the_last_output_ended_is_taken_from_there(config: Config) -> None:
    for start in (START, START + 4):
        gwf.publish(site.strain_path(config, start, 4), site.strain_frame(start, 4))
    given = frames(make(config, FakeClock(), history=4, resume=START + 6), 3)
    spans = [(f.span.start // NS - START, f.span.end // NS - START, f.wanted) for f in given]
    assert spans == [(2, 4, False), (4, 6, False), (6, 8, True)]


def test_long_strain_frame_takes_the_witnesses_beside_a_missing_one(config: Config) -> None:
    site.write_site(config, START, 4, no_strain=range(START, START + 4), no_witnesses=[START + 1])
    gwf.publish(site.strain_path(config, START, 4), site.strain_frame(START, 4))
    (given,) = frames(make(config, FakeClock(), resume=START), 1)
    kinds = [type(block.witnesses["H1:FAST"]) for block in given.blocks]
    assert kinds == [Series, Gap, Series, Series]


def test_first_witness_of_an_empty_directory_is_found_before_the_decision(tmp_path: Path) -> None:
    """Nothing says yet what its name will be, and the last listing was before it came."""
    config = site.small_config(tmp_path, "input.deadline=2.5")
    site.write_site(config, START, 1, no_witnesses=[START])
    clock = FakeClock()
    clock.at(2.4, lambda: gwf.publish(site.witness_path(config, START), site.witness_frame(START)))
    (given,) = frames(make(config, clock, resume=START), 1)
    assert isinstance(witness(given, "H1:FAST"), Series)


def test_a_misnamed_file_does_not_draw_the_stream_after_it(config: Config) -> None:
    site.write_site(config, START, 3)
    gwf.publish(site.strain_path(config, 3_000_000_000), site.strain_frame(3_000_000_000))
    clock = FakeClock()
    clock.at(5.0, lambda: site.write_site(config, START + 3, 2))
    source = make(config, clock, history=1)
    source.max_lag = 10 * NS
    assert seconds(frames(source, 4)) == [START + 1, START + 2, START + 3, START + 4]


def test_a_backlog_turns_the_loop_at_every_frame(config: Config) -> None:
    """The history before it too: the watchdog is fed, and a signal is seen, frame by frame."""
    site.write_site(config, START, 60)
    source = make(config, FakeClock(), history=30, resume=START + 40)
    turns = [0]

    def turn() -> None:
        turns[0] += 1

    source.run.turn = turn
    before = 0
    for frame in islice(source.events(), 60 - 10):
        assert isinstance(frame, InputFrame)
        assert turns[0] > before
        before = turns[0]


@pytest.mark.parametrize("last", [3, 15, 30, 55])
def test_a_signal_in_a_backlog_ends_it_at_the_next_frame(config: Config, last: int) -> None:
    site.write_site(config, START, 60)
    given: list[InputFrame] = []
    source = make(config, FakeClock(), history=20, resume=START + 20)
    source.run.stopped = lambda: len(given) >= last
    for event in source.events():
        assert isinstance(event, InputFrame)
        given.append(event)
    assert len(given) == last


def test_catching_up_stops_when_told_and_turns_the_loop(config: Config) -> None:
    """Its history is given again: also there a signal is seen at the next frame."""
    site.write_site(config, START, 1)
    clock, given, turns = FakeClock(), list[InputFrame](), list[int]()
    source = make(config, clock, history=20, resume=START)
    source.max_lag = 5 * NS
    source.run.turn = lambda: turns.append(len(given))

    def backlog() -> None:
        site.write_site(config, START + 1, 40)
        clock.now += 1.0  # the directory is listed again

    clock.at(3.0, backlog)
    again: list[int] = []
    source.run.stopped = lambda: len(again) >= 3
    for event in source.events():
        if isinstance(event, InputFrame):
            given.append(event)
            if not event.wanted:
                again.append(len(given))
    assert len(again) == 3
    assert set(again[:-1]) <= set(turns)


def without_strain(second: int) -> bytes:
    """Return a frame of the strain's stream as it is while the detector is down."""
    span = Span.of_seconds(second, 1)
    state = np.zeros(16, dtype=np.uint32)
    return gwf.serialise(span, {site.STATE: OutputChannel(Series(span, 16, state))})


def test_a_start_while_the_frames_hold_no_strain_waits_for_it(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    site.write_site(config, START, 3)
    for second in range(START, START + 3):
        gwf.publish(site.strain_path(config, second), without_strain(second))
    clock.at(3, lambda: site.write_site(config, START + 3, 3))
    given = frames(make(config, clock, resume=START), 6)
    assert seconds(given) == list(range(START, START + 6))
    assert [has_strain(frame) for frame in given] == [False] * 3 + [True] * 3
    told = [record.message for record in caplog.records if "no channel" in record.message]
    assert len(told) == 1
    assert f"no channel {site.STRAIN} (strain.channel)" in told[0]
