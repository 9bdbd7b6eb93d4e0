"""The minutes of the last hours: what they hold, how many there are, and what a file gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.timeline import HOURS, Timeline, path_in

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
    timeline = Timeline(accounts, path_in(tmp_path, "A"), wall)
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
    timeline = Timeline(accounts, path_in(tmp_path, "A"), wall)
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


def test_memory_and_file_are_bounded(tmp_path: Path) -> None:
    wall, path = Wall(), path_in(tmp_path, "A")
    timeline = Timeline(Accounts(), path, wall)
    for minute in range(HOURS * 60 + 200):
        wall.now = BEGAN + 60 * minute
        timeline.step()
    timeline.save()
    assert len(minutes(timeline)) == HOURS * 60 + 1
    assert len(path.read_bytes().splitlines()) == HOURS * 60


def test_a_restart_goes_on_and_drops_what_is_old_or_torn(tmp_path: Path) -> None:
    wall, path = Wall(), path_in(tmp_path, "A")
    timeline = Timeline(Accounts(), path, wall)
    for minute in range(3):
        wall.now = BEGAN + 60 * minute
        timeline.step()
    timeline.close()
    with path.open("ab") as file:
        file.write(b'{"t": 5}\n{"no": 1}\nnonsense\n{"t": "x"}\n{"t": 99999999999}\n{"t": 18')
    wall.now = BEGAN + 200
    starts = [one["starts"] for one in minutes(Timeline(Accounts(), path, wall))]
    assert starts == [1, 0, 0, 1]
    wall.now = BEGAN + HOURS * 3600 + 60
    assert len(minutes(Timeline(Accounts(), path, wall))) == 2


def test_failing_to_keep_it_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wall, path = Wall(), path_in(tmp_path / "gone", "A")
    timeline = Timeline(Accounts(), path, wall)
    for minute in range(3):
        wall.now = BEGAN + 60 * minute
        timeline.step()
        timeline.save()
    assert len(caplog.records) == 1
