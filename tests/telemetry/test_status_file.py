"""The status file: what the daemon did, for `deepclean status`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepclean.core.accounting import Ledger
from deepclean.errors import InputError
from deepclean.telemetry import status_file
from deepclean.telemetry.counters import Stream
from tests.helpers.small_site import FakeClock

LEDGER = Ledger(
    frames_in=12,
    written=Counter(cleaned=8, missing=2),
    lost=Counter(ENOSPC=1),
    gaps=Counter(strain_missing=3),
    inside=1,
    last_in=1_400_000_012 * 10**9,
    last_out=1_400_000_011 * 10**9,
)


def test_what_is_kept_reads_back(tmp_path: Path) -> None:
    path = status_file.path_in(tmp_path, "H1_DEEPCLEAN")
    said: dict[str, str] = {"60Hz": "2, canary 3"}
    waiting: dict[Stream, float] = {"strain": 75.0}
    status_file.StatusFile(
        path, FakeClock(), lambda: said, dict, lambda: {"waiting": waiting, "trouble": "refused"}
    ).write(LEDGER)
    kept = status_file.read(path, path.stat().st_mtime + 3)
    assert kept.ledger == LEDGER
    assert kept.ledger.balanced
    assert kept.age == 3
    assert kept.models == {"60Hz": "2, canary 3"}
    assert kept.waiting == {"strain": 75.0}
    assert kept.trouble == "refused"


def test_it_is_written_once_a_second(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status"
    status = status_file.StatusFile(path, clock)
    status.write(Ledger())
    status.write(LEDGER)
    assert status_file.read(path, 0).ledger == Ledger()
    clock.now += status_file.INTERVAL
    status.write(LEDGER)
    assert status_file.read(path, 0).ledger == LEDGER
    status.write(Ledger(), now=True)
    assert status_file.read(path, 0).ledger == Ledger()


def test_failing_to_keep_it_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    status = status_file.StatusFile(tmp_path / "gone" / "status", clock)
    for _ in range(5):
        status.write(LEDGER)
        clock.now += status_file.INTERVAL
    assert len(caplog.records) == 1
    assert status.failures == {"ENOENT": 5}
    (tmp_path / "gone").mkdir()
    status.write(LEDGER)
    assert status_file.read(tmp_path / "gone" / "status", 0).ledger == LEDGER


@pytest.mark.parametrize("content", [b"", b"{}", b'{"process": 1, "ledger": {"no": 1}}', b"\xff"])
def test_what_is_no_status_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "status"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a status file"):
        status_file.read(path, 0)
    with pytest.raises(InputError, match="no daemon has run here"):
        status_file.read(tmp_path / "none", 0)
