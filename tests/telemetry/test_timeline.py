"""The minutes of the last hours: what they hold, how many there are, and what a file gives back."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from deepclean.core.time import NS
from deepclean.telemetry import minutes as kept
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.events import RecentEvents
from deepclean.telemetry.events import path_in as events_path_in
from deepclean.telemetry.timeline import HOURS, Timeline

BEGAN = 1_800_000_000.0


class Wall:
    """The wall clock, turned by the test."""

    now = BEGAN

    def __call__(self) -> float:
        return self.now


def minutes(timeline: Timeline, since: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(timeline.content(since))["minutes"]
    return found


def test_a_minute_is_what_was_counted_in_it(tmp_path: Path) -> None:
    wall, accounts = Wall(), Accounts()
    timeline = Timeline(accounts, tmp_path, "A", wall)
    for second in range(90):
        wall.now = BEGAN + second
        accounts.ledger.written["missing" if second == 70 else "cleaned"] += 1
        accounts.latencies.append(3.0 if second == 5 else 1.0)
        accounts.counters.gains = {"60Hz": 1.0}
        if second == 30:
            accounts.counters.closed_since["60Hz"] = 0
        timeline.step()
        timeline.step()  # once a second, however often
    first, second_one = minutes(timeline)
    assert first["t"] == int(BEGAN)
    assert first["frames"] == {"cleaned": 60}
    assert first["latency"] == 3.0
    assert first["couplings"]["60Hz"] == {"closed": 0.5, "gain": 1.0, "asd_ratio": None}
    assert second_one["frames"] == {"cleaned": 29, "missing": 1}
    assert second_one["couplings"]["60Hz"]["closed"] == 1.0
    assert [first["starts"], second_one["starts"]] == [1, 0]
    assert minutes(timeline, int(BEGAN)) == [second_one]


def test_gaps_losses_and_waiting_are_there(tmp_path: Path) -> None:
    wall, accounts = Wall(), Accounts()
    timeline = Timeline(accounts, tmp_path, "A", wall)
    for second in range(10):
        wall.now = BEGAN + second
        accounts.counters.waiting["strain"] = float(second)
        if second == 8:
            accounts.ledger.gaps["strain_missing"] += 5
            accounts.ledger.lost["ENOSPC"] += 2
            accounts.counters.witness_faults["H1:A", "missing"] += 1
            accounts.counters.witness_faults["H1:B", "witness_zero"] += 1
        timeline.step()
    (minute,) = minutes(timeline)
    assert (minute["gaps"], minute["lost"]) == ({"strain_missing": 5}, {"ENOSPC": 2})
    assert minute["waiting"] == 5
    assert minute["witnesses"] == ["H1:A"]


def files(place: Path) -> list[Path]:
    return sorted(place.glob(".A.minutes-*.jsonl"))


def test_memory_and_files_are_bounded(tmp_path: Path) -> None:
    wall = Wall()
    timeline = Timeline(Accounts(), tmp_path, "A", wall)
    for minute in range(0, 5 * 24 * 60, 7):
        wall.now = BEGAN + 60 * minute
        timeline.step()
        timeline.save()
    assert len(minutes(timeline)) == HOURS * 60 + 1
    assert len(files(tmp_path)) == kept.DAYS
    day = int(BEGAN) + 3 * 86400
    assert len(kept.read(tmp_path, "A", day, day + 86400)) == pytest.approx(24 * 60 / 7, abs=1)


def test_the_slowest_frame_is_named(tmp_path: Path) -> None:
    wall, accounts = Wall(), Accounts()
    timeline = Timeline(accounts, tmp_path, "A", wall)
    for second in range(10):
        wall.now = BEGAN + second
        accounts.ledger.written["cleaned"] += 1
        accounts.ledger.last_out = (1_400_000_000 + second) * NS
        accounts.latencies.append(3.0 if second == 5 else 1.0)
        timeline.step()
    (minute,) = minutes(timeline)
    assert (minute["latency"], minute["slowest"]) == (3.0, 1_400_000_005)


def test_a_restart_goes_on_and_drops_what_is_old_or_torn(tmp_path: Path) -> None:
    wall = Wall()
    timeline = Timeline(Accounts(), tmp_path, "A", wall)
    for minute in range(3):
        wall.now = BEGAN + 60 * minute
        timeline.step()
    timeline.close()
    (path,) = files(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"t": 5}\n{"no": 1}\nnonsense\n{"t": "x"}\n{"t": 99999999999}\n{"t": 18')
    wall.now = BEGAN + 200
    starts = [one["starts"] for one in minutes(Timeline(Accounts(), tmp_path, "A", wall))]
    assert starts == [1, 0, 0, 1]
    wall.now = BEGAN + HOURS * 3600 + 60
    assert len(minutes(Timeline(Accounts(), tmp_path, "A", wall))) == 2


def test_both_starts_of_a_minute_are_kept(tmp_path: Path) -> None:
    wall = Wall()
    for second in (5, 25):
        wall.now = BEGAN + second
        accounts = Accounts()
        timeline = Timeline(accounts, tmp_path, "A", wall)
        accounts.ledger.written["cleaned"] += 1
        timeline.step()
        timeline.close()
    found = kept.read(tmp_path, "A", int(BEGAN), int(BEGAN) + 60)
    assert [one["frames"] for one in found] == [{"cleaned": 1}] * 2


def test_failing_to_keep_it_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wall, place = Wall(), tmp_path / "gone"
    timeline = Timeline(Accounts(), place, "A", wall)
    for minute in range(3):
        wall.now = BEGAN + 60 * minute
        timeline.step()
        timeline.save()
    assert len(caplog.records) == 1
    place.mkdir()
    timeline.close()
    assert len(kept.read(place, "A", 0, 2 * int(BEGAN))) == 3


# The events beside them


def test_events_are_kept_over_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "deepclean")
    path, log = events_path_in(tmp_path, "A"), logging.getLogger("deepclean")
    with RecentEvents(path) as first:
        for number in range(250):
            log.info("line %d", number)
        first.save()
    lines = path.read_bytes().splitlines()
    assert len(lines) == 200
    path.write_bytes(b"\n".join([*lines, b'{"id": 3}', b'{"id": 9']))
    with RecentEvents(path) as again:
        log.info("one more")
        again.save()
    told = json.loads(again.content(0))["events"]
    assert [one["message"] for one in told[-3:]] == [
        "line 249",
        "the daemon started again",
        "one more",
    ]
    assert [one["id"] for one in told] == list(range(told[0]["id"], told[0]["id"] + 200))
    assert [one["id"] for one in json.loads(again.content(told[-2]["id"]))["events"]] == [
        told[-1]["id"]
    ]


def test_failing_to_keep_events_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RecentEvents(events_path_in(tmp_path / "gone", "A")) as events:
        for number in range(3):
            logging.getLogger("deepclean").warning("line %d", number)
            events.save()
    assert caplog.text.count("are not kept") == 1
