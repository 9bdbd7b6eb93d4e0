"""Faults of the input (docs/faults.md): real files that are cut, spoilt, late, lost or foreign."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.output.products import State
from deepclean.core.time import NS
from deepclean.io import gwf
from tests.helpers import small_site as site
from tests.helpers.faultsite import (
    assert_sound,
    cleaned,
    near,
    no_strain,
    no_witnesses,
    outputs,
    sound_run,
    touched,
)
from tests.helpers.frame_files import strain_tail, witness_tail
from tests.helpers.metrics_run import Run, whole
from tests.helpers.small_site import START

# 1: the watch sees nothing


def test_without_any_watch_nothing_is_missed(config: Config) -> None:
    assert config.input.probe <= NS // 20
    run, seen = Run(config), dict[int, float]()

    def look() -> None:
        for number in range(15):
            if strain_tail(run.source).at((START + number) * NS) is not None:
                seen.setdefault(number, run.clock.now)

    run.source.run.turn = look
    run.over(15)
    assert cleaned(assert_sound(run, range(15))) == list(range(1, 14))
    # Each is seen at the next look. (The first has no name to be guessed from.)
    delays = [seen[number] - (1000.1 + number) for number in range(1, 15)]
    assert max(delays) <= 2 * config.input.probe / NS


# 4, 7: directories and files go away


@pytest.mark.parametrize("stream", ["strain", "witnesses"])
def test_a_directory_that_is_made_again_is_read_again(config: Config, stream: str) -> None:
    def made_again(config: Config, second: int) -> None:
        directory = config.input.strain_frames.directory.with_name(stream)
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
        site.write_site(config, second, 1)

    _, held = sound_run(config, 12, {6: made_again})
    assert cleaned(held) == list(range(1, 11))


@pytest.mark.parametrize("later", [True, False])
def test_strain_deleted_before_it_is_read_is_a_gap(
    config: Config, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    run = Run(config)
    tail = strain_tail(run.source)
    poll = tail.poll

    def retention(expected: int) -> None:
        """Delete the file between its being seen and its being read."""
        poll(expected)
        if tail.at((START + 10) * NS) is not None:
            site.strain_path(config, START + 10).unlink(missing_ok=True)

    monkeypatch.setattr(tail, "poll", retention)
    run.over(20 if later else 11)
    number = 20 if later else 11
    held = assert_sound(run, set(range(number)) - {10})
    assert set(touched(held)) <= near([10])
    assert run.cleaning.ledger.gaps == {"strain_missing": 1}


def test_witnesses_deleted_before_they_are_read_are_a_gap(config: Config) -> None:
    run = Run(config)

    def early(config: Config, second: int) -> None:
        whole(config, second)
        gwf.publish(site.witness_path(config, second + 2), site.witness_frame(second + 2))

    def retention(config: Config, second: int) -> None:
        assert witness_tail(run.source).at(second * NS) is not None  # it was seen
        site.witness_path(config, second).unlink()
        gwf.publish(site.strain_path(config, second), site.strain_frame(second))

    run.over(20, {8: early, 10: retention})
    held = assert_sound(run, range(20))
    assert 10 in touched(held)
    assert set(touched(held)) <= near([10])
    assert run.figures.inputs["witnesses", "unreadable"] == 1


# 5, 6: what is there is not whole, or not right


def test_a_hundred_cuts_of_slow_writers_do_no_harm(config: Config) -> None:
    """Every file grows in place, in five steps while it is being read again and again."""
    run, random = Run(config), np.random.default_rng(5)

    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content)

    def grow(path: Path, content: bytes, begin: float) -> None:
        cuts = sorted(random.integers(0, len(content), 4))
        for step, cut in enumerate([*cuts, len(content)]):
            run.clock.at(begin + 0.12 * step, partial(write, path, content[:cut]))

    for number in range(25):
        second = START + number
        grow(site.strain_path(config, second), site.strain_frame(second), number + 0.1)
        grow(site.witness_path(config, second), site.witness_frame(second), number + 0.2)
    run.until(25)
    assert cleaned(assert_sound(run, range(25))) == list(range(1, 24))


@pytest.mark.parametrize("stream", ["strain", "witnesses"])
def test_a_flipped_bit_costs_a_second_and_never_gives_wrong_data(
    config: Config, stream: str
) -> None:
    random, hit = np.random.default_rng(6), list(range(4, 54, 2))

    def flipped(config: Config, second: int) -> None:
        whole(config, second)
        path = (site.strain_path if stream == "strain" else site.witness_path)(config, second)
        content = bytearray(path.read_bytes())
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        path.write_bytes(content)

    run = Run(config)
    run.over(60, dict.fromkeys(hit, flipped))
    if stream == "strain":
        assert_sound(run, set(range(60)) - set(hit))
        assert run.cleaning.ledger.gaps == {"strain_unreadable": 25}
        assert run.figures.inputs["strain", "unreadable"] == 25
    else:
        held = assert_sound(run, range(60))
        assert not any(held[number].all(State.CLEANED) for number in hit)
        assert not any(held[number].any(State.WITNESSES_GOOD) for number in hit)
        assert run.figures.inputs["witnesses", "unreadable"] == 25


# 8, 9, 10: what is missing, and what begins elsewhere


def test_witnesses_dropped_at_random_let_the_strain_pass(config: Config) -> None:
    lost = sorted(np.random.default_rng(8).choice(np.arange(3, 28, 2), 7, replace=False).tolist())
    run, held = sound_run(config, 30, dict.fromkeys(lost, no_witnesses))
    assert set(lost) <= set(touched(held)) <= near(lost)
    for number, output in held.items():
        assert output.all(State.WITNESSES_GOOD) == (number not in lost)
        assert number not in lost or not output.any(State.CLEANED)
    assert run.figures.inputs["witnesses", "missing"] == len(lost)
    # A frame counts under the first reason of its own.
    assert run.cleaning.ledger.written[reasons.MISSING] >= len(lost)


def test_strain_dropped_at_random_is_never_invented(config: Config) -> None:
    lost = sorted(np.random.default_rng(9).choice(np.arange(3, 28, 2), 7, replace=False).tolist())
    run, held = sound_run(config, 30, dict.fromkeys(lost, no_strain), missing=lost)
    assert run.cleaning.ledger.gaps == {"strain_missing": len(lost)}
    # The witnesses of a lost second were there: what comes after it is cleaned. What comes before
    # went out at the deadline of its look-ahead.
    assert set(touched(held)) <= {number - 1 for number in lost}


@pytest.mark.parametrize("late", ["strain", "witnesses"])
def test_streams_that_begin_three_seconds_apart_meet_by_gps(config: Config, late: str) -> None:
    run = Run(config)
    run.over(20, dict.fromkeys(range(3), no_witnesses if late == "witnesses" else no_strain))
    held = assert_sound(run, range(20) if late == "witnesses" else range(3, 20))
    assert set(range(6, 19)) <= set(cleaned(held))
    assert run.cleaning.ledger.gaps.total() == 0


def test_a_stream_that_always_comes_later_meets_by_gps(config: Config) -> None:
    run = Run(config)
    for second in range(START, START + 20):
        strain = partial(gwf.publish, site.strain_path(config, second), site.strain_frame(second))
        witnesses = partial(
            gwf.publish, site.witness_path(config, second), site.witness_frame(second)
        )
        run.clock.at(second - START + 0.1, strain)
        run.clock.at(second - START + 1.7, witnesses)
    run.until(20)
    assert cleaned(assert_sound(run, range(20))) == list(range(1, 19))


# 16, 18: what comes twice, and what is not ours


def test_frames_that_come_again_and_in_any_order_come_out_once(config: Config) -> None:
    run, random = Run(config), np.random.default_rng(16)
    for number in range(25):
        for again in range(3):
            begin = number + (0.1 if number == 0 else random.uniform(0, 1.5)) + 4 * again
            run.clock.at(begin, partial(whole, config, START + number))
    run.until(40)
    assert cleaned(assert_sound(run, range(25))) == list(range(1, 24))
    assert run.cleaning.ledger.written.total() == 25


def test_foreign_files_are_left_alone(config: Config) -> None:
    foreign: list[Path] = []

    def among_others(config: Config, second: int) -> None:
        site.write_site(config, second, 0)
        for path in (site.strain_path(config, second), site.witness_path(config, second)):
            names = (
                f".{path.name}.tmp",
                f"{path.name}.tmp",
                f"L-L1_llhoft-{second}-1.gwf",
                f"H-H1_OTHER-{second}-1.gwf",
                path.with_suffix(".hdf5").name,
                f"notes {second}",
            )
            foreign.extend(path.with_name(name) for name in names)
        for other in foreign[-12:]:
            other.write_bytes(b"not a frame")
        whole(config, second)

    _, held = sound_run(config, 15, dict.fromkeys(range(15), among_others))
    assert cleaned(held) == list(range(1, 14))
    # The writer's own temporaries are replaced by its rename; nobody touches the others.
    left = [path for path in foreign if not path.name.startswith(".")]
    assert all(path.read_bytes() == b"not a frame" for path in left)


# 28: nothing comes


@pytest.mark.parametrize(("silence", "pause"), [(600, 600), (86_400, 30)])
def test_a_long_silence_is_waited_out(config: Config, silence: int, pause: int) -> None:
    """Ten minutes that pass, and a day that does without so many turns of the clock."""
    run = Run(config)
    for number in range(8):
        run.clock.at(number + 0.1, partial(whole, config, START + number))
    for number in range(12):
        run.clock.at(pause + number, partial(whole, config, START + silence + number))
    run.until(pause + 12)
    ledger = run.cleaning.ledger
    assert ledger.gaps == {"strain_missing": silence - 8}
    assert ledger.written.total() == ledger.frames_in == 20
    assert ledger.balanced
    held = outputs(config.output.directory)
    assert set(range(silence + 3, silence + 11)) <= set(cleaned(held))


def test_a_start_waits_for_the_directories_themselves(config: Config) -> None:
    run = Run(config)
    for number in range(100, 112):
        run.clock.at(number, partial(whole, config, START + number - 100))
    run.until(112)
    assert cleaned(assert_sound(run, range(12))) == list(range(1, 11))
