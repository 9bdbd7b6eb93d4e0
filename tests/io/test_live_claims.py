"""What a name or a clock says of time counts once the stream or the data confirm it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.io.live.source import LiveSource
from tests.helpers import small_site as site
from tests.helpers.frame_files import frames, has_strain, make, seconds, witness
from tests.helpers.small_site import START, FakeClock


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 0)
    return config


def at_right_time(clock: FakeClock, source: LiveSource) -> LiveSource:
    """Let the wall clock be right: START is the fake clock's 1000."""
    source.run.today = lambda: int((START + clock.now - 1000.0) * NS)
    return source


def arriving(config: Config, clock: FakeClock, second: int, begin: float) -> None:
    clock.at(begin, partial(site.write_site, config, second, 1))


def given_until(source: LiveSource, clock: FakeClock, end: float) -> list[InputFrame]:
    """Return what a source gives until a time of the clock."""
    source.run.stopped = lambda: clock.now > end
    return [event for event in source.events() if isinstance(event, InputFrame)]


@pytest.mark.parametrize("ahead", [30, 3000])
def test_a_misnamed_file_ahead_does_not_draw_the_stream(
    config: Config, ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    for number in range(20):
        if number != 12:  # a frame is lost, so that it is asked what comes next
            arriving(config, clock, START + number, number + 0.1)
    name = site.strain_path(config, START + 10 + ahead)
    clock.at(10.0, partial(gwf.publish, name, site.strain_frame(START + 10)))
    source = at_right_time(clock, make(config, clock))
    given = given_until(source, clock, 1040.0)
    assert seconds(given) == list(range(START, START + 20))
    assert [has_strain(frame) for frame in given] == [n != 12 for n in range(20)]
    assert source.run.ignored == {"misnamed": 1}
    assert "not the time of its name" in caplog.text


def test_a_lone_file_of_the_future_does_not_draw_the_stream(config: Config) -> None:
    """Its content is of the time of its name; neither the clock nor the stream confirm it."""
    clock = FakeClock()
    for number in range(20):
        arriving(config, clock, START + number, number + (0.1 if number < 8 else 20.1))
    late = START + 3000
    clock.at(5.0, partial(gwf.publish, site.strain_path(config, late), site.strain_frame(late)))
    given = given_until(at_right_time(clock, make(config, clock)), clock, 1060.0)
    assert seconds(given) == list(range(START, START + 20))
    assert all(map(has_strain, given))


def test_a_stream_that_goes_on_far_ahead_is_followed(config: Config) -> None:
    """After an outage of an hour, on a clock that is behind: a second file confirms the first."""
    clock = FakeClock()
    for number in range(4):
        arriving(config, clock, START + number, number + 0.1)
        arriving(config, clock, START + 3600 + number, number + 30.1)
    given = given_until(at_right_time(clock, make(config, clock)), clock, 1060.0)
    with_strain = [frame for frame in given if has_strain(frame)]
    assert seconds(with_strain) == [START + s for s in (*range(4), *range(3600, 3604))]


def test_a_clock_hours_behind_hides_no_stream(config: Config) -> None:
    """Only an old leftover is of the clock's past."""
    leftover = START - 86400
    gwf.publish(site.strain_path(config, leftover), site.strain_frame(leftover))
    site.write_site(config, START, 2)
    clock = FakeClock()
    for number in range(2, 6):
        arriving(config, clock, START + number, number - 0.9)
    source = make(config, clock)
    source.run.today = lambda: (START - 8 * 3600) * NS
    given = given_until(source, clock, 1030.0)
    assert seconds(given) == list(range(START + 1, START + 6))


def test_an_output_frame_of_the_future_silences_nothing(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_site(config, START, 4)
    source = make(config, FakeClock())
    source.outputs = [(START + 2) * NS, (START + 500_000) * NS]
    assert seconds(frames(source, 2)) == [START + 2, START + 3]
    assert "lies ahead of the strain" in caplog.text


def test_a_stream_that_begins_again_earlier_is_followed(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """As a data challenge that is played again, into the directory with its former pass."""
    clock = FakeClock()
    for number in range(4):
        arriving(config, clock, START + 1000 + number, number + 0.1)
    for number in range(6):
        arriving(config, clock, START + number, number + 20.1)
    first = make(config, clock)
    assert seconds(given_until(first, clock, 1100.0)) == [START + 1000 + s for s in range(4)]
    assert first.begins_again == START * NS
    assert f"begins again at GPS {START}" in caplog.text
    again = make(config, clock)
    again.resume = first.begins_again
    for number in range(6, 9):
        arriving(config, clock, START + number, clock.now - 1000.0 + number - 5.9)
    assert seconds(given_until(again, clock, clock.now + 60.0)) == list(range(START, START + 9))


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda config: config.input.strain_frames.directory.rmdir(), "No such file or directory"),
        (lambda config: None, "it is empty"),
        (
            lambda config: gwf.publish(
                config.input.strain_frames.directory / f"H-H1_hoft-{START}-1.gwf",
                site.strain_frame(START),
            ),
            "there are 1 files H-H1_hoft-*.gwf",
        ),
    ],
)
def test_what_is_waited_for_is_said_with_what_is_there(
    config: Config,
    caplog: pytest.LogCaptureFixture,
    prepare: Callable[[Config], None],
    said: str,
) -> None:
    prepare(config)
    clock = FakeClock()
    clock.at(30.0, partial(site.write_site, config, START, 1))
    source, waited = make(config, clock), dict[float, float]()
    source.run.turn = lambda: waited.update({clock.now: source.run.waiting.get("strain", 0.0)})
    with caplog.at_level("INFO", logger="deepclean.io"):
        given = given_until(source, clock, 1032.0)
    assert seconds(given) == [START]
    first, *_ = (record for record in caplog.records if "waiting for" in record.getMessage())
    assert said in first.getMessage()  # at the start already
    assert (first.levelname == "WARNING") is said.startswith("No such")
    messages = [r.getMessage() for r in caplog.records if "no strain for" in r.getMessage()]
    assert len(messages) == 1
    assert messages[0].startswith("no strain for 5 s: waiting for *-H1_llhoft-*.gwf in ")
    assert said in messages[0]
    assert f"GPS {START}: strain again" in caplog.text
    assert max(waited.values()) == pytest.approx(30.0, abs=0.5)
    assert source.run.waiting["strain"] < 5.0


def test_witnesses_that_are_not_there_are_described(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    other = config.input.witnesses[0].directory / f"H-H1_R-{START}-1.gwf"
    gwf.publish(other, site.witness_frame(START))
    clock = FakeClock()
    for number in range(3):
        path = site.strain_path(config, START + number)
        clock.at(number + 0.1, partial(gwf.publish, path, site.strain_frame(START + number)))
    source = make(config, clock, resume=START)
    frames(source, 3)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    messages = [said for said in warnings if "waiting for" in said]
    assert len(messages) == 1
    assert "waiting for *-H1_lldetchar-*.gwf" in messages[0]
    assert "there are 1 files H-H1_R-*.gwf" in messages[0]
    assert source.run.waiting["witnesses"] > 0


def test_a_silence_is_said_from_its_first_second(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """Not from where the history of what follows begins."""
    clock = FakeClock()
    for number in (*range(3), *range(40, 43)):
        arriving(config, clock, START + number, number + 0.1)
    source = make(config, clock, history=2, resume=START)
    given_until(source, clock, 1050.0)
    said = [record.getMessage() for record in caplog.records if "no samples" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"GPS {START + 3}: no samples of H1:FAST (missing)")
    assert "H1:GDS-CALIB_STRAIN (strain_missing)" in said[0]


def test_two_streams_in_one_directory_lose_nothing(tmp_path: Path) -> None:
    """Without a description, as V1 and K1 ship: the other stream comes first, and further on."""
    config = site.small_config(tmp_path, "input.strain.description=null")
    site.write_site(config, START, 0)
    clock = FakeClock()
    directory = config.input.strain_frames.directory
    for number in range(20):
        other = directory / f"H-H1_AUX-{START + number}-1.gwf"
        content = site.witness_frame(START + number)
        clock.at(max(number - 5.0, 0.05), partial(gwf.publish, other, content))
        arriving(config, clock, START + number, number + 0.1)
    given = given_until(make(config, clock), clock, 1040.0)
    assert seconds(given) == list(range(START, START + 20))
    assert all(map(has_strain, given))
    assert all(not isinstance(witness(frame, "H1:FAST"), str) for frame in given)


def test_a_second_stream_of_the_same_channels_is_not_waited_for(tmp_path: Path) -> None:
    """As long files beside the low-latency ones, a minute later."""
    config = site.small_config(tmp_path, "input.strain.description=null")
    site.write_site(config, START, 0)
    clock, directory = FakeClock(), config.input.strain_frames.directory
    first = directory / f"H-H1_HOFT_C00-{START - 4}-4.gwf"
    gwf.publish(first, site.strain_frame(START - 4, 4))
    for number in range(12):
        arriving(config, clock, START + number, number + 0.1)
    source, came = make(config, clock), list[float]()
    source.run.stopped = lambda: clock.now > 1030.0
    for event in source.events():
        if isinstance(event, InputFrame) and event.span.start >= START * NS:
            came.append(clock.now - 1000.0 - (event.span.start // NS - START))
    assert len(came) == 12
    assert max(came[2:]) < 0.5
