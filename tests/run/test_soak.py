"""The soaks of scripts/, for minutes in place of hours: real daemons over streams with faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepclean.simulate.faults import KINDS
from scripts import soak, soak_kill


@pytest.mark.slow
def test_minutes_with_every_fault_leave_nothing_behind(tmp_path: Path) -> None:
    report = soak.soak(tmp_path, 600, 0.15, every=100)
    assert report["wrong"] == []
    assert set(report["faults made"]) == {*KINDS, "burst"}
    ledger = report["ledger"]
    assert ledger["frames_in"] == sum(ledger["written"].values()) > 200
    assert {"cleaned", "missing", "late", "witness_nonfinite"} <= set(ledger["written"])
    assert len(report["samples"]) >= 3
    assert report["read back whole"] > 0


@pytest.mark.slow
def test_killed_daemons_leave_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    report = soak_kill.rehearse(tmp_path, kills=3, seconds=40)
    assert report.wrong == []
    assert report.kills.total() == 3
    assert report.frames == report.readable == 38
