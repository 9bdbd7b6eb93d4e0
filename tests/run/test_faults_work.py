"""Faults of the work itself (docs/faults.md): no numbers, failing networks, lag, restarts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock
from deepclean.core.engine.coupling_pipeline import CouplingPipeline
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.intake import Intake
from deepclean.core.output.products import State, render
from deepclean.core.time import NS
from deepclean.run import cleaner
from tests.helpers import small_site as site
from tests.helpers.faultsite import (
    assert_sound,
    at_calls,
    cleaned,
    failing,
    outputs,
    raw,
    real,
    sound_run,
    touched,
)
from tests.helpers.metrics_run import PERIOD, WATCHDOG, Manager, Run, whole
from tests.helpers.small_site import START


def all_at_once(config: Config, first: int, count: int) -> None:
    site.write_site(config, START + first, count)


def restored(run: Run, count: int) -> None:
    """Let a backlog appear."""
    all_at_once(run.config, 1, count)
    run.clock.now += 1.0  # else no time would pass, and the directory not be listed again


# 14: no numbers


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_prediction_that_is_no_number_is_not_subtracted(config: Config, value: float) -> None:
    wrong = at_calls(real(config), range(9, 11), lambda w: torch.full_like(w[:, 0], value))
    run, held = sound_run(config, 20, network=wrong)
    assert 0 < len(touched(held)) <= 4
    assert run.cleaning.ledger.written[reasons.NONFINITE] == len(touched(held))


def test_a_prediction_beyond_all_bounds_gives_no_infinity(config: Config) -> None:
    """What is finite when it leaves the network may overflow in what comes after."""
    wrong = at_calls(real(config), range(9, 11), lambda w: torch.full_like(w[:, 0], 3e38))
    run = Run(config, wrong)
    (coupling,) = run.engine.versions.production
    object.__setattr__(coupling.predictor, "strain_std", 5e269)
    run.over(20)
    held = outputs(config.output.directory)
    assert sorted(held) == list(range(20))
    assert all(np.isfinite(output.samples).all() for output in held.values())
    assert run.cleaning.ledger.written[reasons.NONFINITE] > 0


# whatever else fails


@pytest.mark.parametrize(
    ("owner", "stage"),
    [(Intake, "resample"), (CouplingPipeline, "_interpolate"), (Engine, "_finish")],
)
def test_a_stage_that_fails_lets_what_is_inside_pass_and_begins_anew(
    config: Config,
    owner: type,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    work, calls = getattr(owner, stage), iter(range(1000))

    def failing_once(*args: object) -> object:
        if next(calls) == 9:
            raise MemoryError("no room for an array")
        return work(*args)

    monkeypatch.setattr(owner, stage, failing_once)
    run, held = sound_run(config, 24)
    # What was inside, and what has no history after it.
    lost = touched(held)
    assert len(lost) <= 8
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert run.cleaning.ledger.written[reasons.ENGINE_ERROR] in (1, 2)
    assert [r.message for r in caplog.records if "begins anew" in r.message] == [
        "the cleaning failed and begins anew; what is inside passes through"
    ]


def test_a_stage_that_fails_for_long_is_said_once_with_its_traceback(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    push, calls = Engine.push, iter(range(1000))

    def fail(self: Engine, block: Block) -> list[CleanedBlock]:
        if 5 <= next(calls) < 15:
            raise MemoryError("no room for an array")
        return push(self, block)

    monkeypatch.setattr(Engine, "push", fail)
    sound_run(config, 24)
    told = [r for r in caplog.records if r.name == "deepclean.run.cleaner" and "clean" in r.message]
    assert [(record.levelname, bool(record.exc_info)) for record in told] == [
        ("ERROR", True),
        ("INFO", False),
    ]


def test_a_frame_that_cannot_be_made_up_is_lost_and_counted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, calls = render, iter(range(1000))

    def failing_once(*args: Any, **options: Any) -> Any:
        if next(calls) == 9:
            raise MemoryError("no room for an array")
        return work(*args, **options)

    monkeypatch.setattr(cleaner, "render", failing_once)
    run = Run(config)
    run.over(20)
    ledger = run.cleaning.ledger
    assert ledger.balanced
    assert ledger.lost == {"unknown": 1}
    assert sorted(outputs(config.output.directory)) == [n for n in range(20) if n != 9]


# 15: what is lost in the middle shifts nothing


def test_a_network_that_fails_costs_its_hop_and_shifts_nothing(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(config, at_calls(real(config), range(9, 11), failing(RuntimeError("a bug"))))
    with caplog.at_level(logging.INFO, logger="deepclean.run.cleaner"):
        run.over(20)
    held = assert_sound(run, range(20))
    assert 0 < len(touched(held)) <= 4
    assert run.cleaning.ledger.written[reasons.MODEL_ERROR] == len(touched(held))
    records = [record for record in caplog.records if record.name == "deepclean.run.cleaner"]
    said = [record.getMessage().split(": ", maxsplit=1)[1] for record in records]
    assert said == [
        "the network of 60Hz version 1 fails: a bug",
        "the network of 60Hz version 1 works again",
    ]


# 17: behind


def test_a_pause_of_a_minute_passes_through_and_then_cleans(config: Config) -> None:
    """The machine sleeps for 70 s of the stream: its frames wait when it wakes."""
    run = Run(config)
    for number in range(10):
        run.clock.at(number + 0.1, partial(whole, config, START + number))

    def sleep() -> None:
        run.clock.now += 70.0
        all_at_once(config, 10, 70)

    run.clock.at(10.05, sleep)
    for number in range(80, 100):
        run.clock.at(number + 0.1, partial(whole, config, START + number))
    run.until(100)
    ledger = run.cleaning.ledger
    assert ledger.balanced
    assert ledger.written.total() == ledger.frames_in == 100
    held = outputs(config.output.directory)
    late = [number for number in held if not held[number].any(State.CLEANED)]
    assert ledger.written[reasons.LATE] == len(late) >= 60
    assert set(late) <= set(range(10, 80))
    for number in late:
        assert (held[number].samples == raw(number)).all()
        assert not held[number].any(State.WITNESSES_GOOD)
    # With its history again, from the first that is not late.
    assert set(range(max(late) + 2, 99)) <= set(cleaned(held))


@pytest.mark.slow
def test_a_backlog_of_six_hundred_frames_is_passed_to_the_newest(config: Config) -> None:
    run = Run(config)
    run.clock.at(0.1, partial(whole, config, START))
    run.clock.at(3.0, partial(restored, run, 600))
    run.until(5)
    ledger = run.cleaning.ledger
    assert ledger.balanced
    assert ledger.written.total() == ledger.frames_in == 601
    assert ledger.written[reasons.LATE] == 599
    assert run.clock.now - 1000 < 20  # it waited for none of them


@pytest.mark.parametrize(("max_lag", "late"), [("null", 0), ("10", 29)])
def test_where_it_is_so_configured_all_is_cleaned_however_late(
    tmp_path: Path, max_lag: str, late: int
) -> None:
    config = site.make_site(tmp_path, f"input.max_lag={max_lag}")
    run = Run(config)
    run.clock.at(0.1, partial(whole, config, START))
    run.clock.at(3.0, partial(restored, run, 30))
    run.until(5)
    held = assert_sound(run, range(31))
    assert run.cleaning.ledger.written[reasons.LATE] == late
    assert late or cleaned(held) == list(range(1, 30))


# 22: a cold restart


def frames(config: Config) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in config.output.directory.glob("*.gwf")}


def test_restarts_give_the_same_bytes(config: Config) -> None:
    """Four runs, each with the input so far on disk, and one without a break."""
    written: dict[str, bytes] = {}
    for until in (9, 10, 17, 26):
        site.write_site(config, START, until)
        run = Run(config)
        if not written:  # without earlier output it would begin with the newest
            run.source.resume = START * NS
        run.until(0)
        # What was let go at the end of a run, without its look-ahead, is not compared.
        last = config.output.directory / f"H-H1_DEEPCLEAN-{START + until - 1}-1.gwf"
        last.unlink()
        written |= frames(config)
    for path in config.output.directory.glob("*.gwf"):
        path.unlink()
    run = Run(config)
    run.source.resume = START * NS
    run.until(0)
    whole_run = frames(config)
    assert len(whole_run) == 26
    assert written == {name: whole_run[name] for name in written}
    assert len(written) == 25


# 26: alive but stuck


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def environment(tmp_path: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), **WATCHDOG}


def test_the_watchdog_is_fed_while_nothing_comes(
    config: Config, tmp_path: Path, manager: Manager
) -> None:
    run = Run(config, environment=environment(tmp_path))
    pings: list[float] = []

    def listen() -> None:
        pings.extend([run.clock.now] * ("WATCHDOG=1" in "".join(manager.heard())))

    for second in range(600):
        run.clock.at(second, listen)
    run.clock.at(0.1, partial(whole, config, START))
    run.until(590)
    gaps = [later - earlier for earlier, later in pairwise(pings)]
    assert pings[-1] - pings[0] > 550
    assert max(gaps) <= PERIOD / 2 + 1.1


def test_the_watchdog_is_not_fed_while_the_work_is_stuck(
    config: Config, tmp_path: Path, manager: Manager
) -> None:
    heard: list[list[str]] = []

    def hang(witnesses: torch.Tensor) -> torch.Tensor:
        manager.heard()
        for _ in range(10):
            run.clock.wait(PERIOD)
        heard.append(manager.heard())
        return network(witnesses)

    network = real(config)
    run = Run(config, at_calls(network, range(9, 10), hang), environment(tmp_path))
    run.over(12)
    assert heard == [[]]
    assert run.cleaning.ledger.balanced


# 30: clocks


def test_a_wall_clock_that_jumps_changes_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back by a year and ahead by two, in the middle of the stream."""
    run, wall = Run(config), time.time

    def jump(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: wall() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: round((wall() + seconds) * NS))

    run.clock.at(5.05, partial(jump, -3e7))
    run.clock.at(10.05, partial(jump, 6e7))
    run.over(20)
    assert cleaned(assert_sound(run, range(20))) == list(range(1, 19))


def test_a_leap_second_is_a_second_like_any_other(config: Config) -> None:
    """GPS 1167264017 was 2016-12-31 23:59:60 UTC."""
    leap = 1_167_264_017
    run = Run(config)
    for number in range(20):
        run.clock.at(number + 0.1, partial(whole, config, leap - 10 + number))
    run.until(20)
    assert run.cleaning.ledger.written == {
        reasons.CLEANED: 18,
        reasons.NO_HISTORY: 1,
        reasons.NO_LOOKAHEAD: 1,
    }
    written = sorted(path.name for path in config.output.directory.glob("*.gwf"))
    assert written == [f"H-H1_DEEPCLEAN-{leap - 10 + number}-1.gwf" for number in range(20)]
