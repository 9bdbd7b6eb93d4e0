"""The account: what the daemon did, for `deepclean status`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepclean.core.accounting import Ledger
from deepclean.errors import InputError
from deepclean.telemetry import status_file as account
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
    path = account.path_in(tmp_path, "H1_DEEPCLEAN")
    account.Account(path, FakeClock(), lambda: {"60Hz": "2, canary 3"}).keep(LEDGER)
    kept = account.read(path, path.stat().st_mtime + 3)
    assert kept.ledger == LEDGER
    assert kept.ledger.balanced
    assert kept.age == 3
    assert kept.models == {"60Hz": "2, canary 3"}


def test_it_is_written_once_a_second(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "account"
    keeper = account.Account(path, clock)
    keeper.keep(Ledger())
    keeper.keep(LEDGER)
    assert account.read(path, 0).ledger == Ledger()
    clock.now += account.INTERVAL
    keeper.keep(LEDGER)
    assert account.read(path, 0).ledger == LEDGER
    keeper.keep(Ledger(), now=True)
    assert account.read(path, 0).ledger == Ledger()


def test_failing_to_keep_it_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    keeper = account.Account(tmp_path / "gone" / "account", clock)
    for _ in range(5):
        keeper.keep(LEDGER)
        clock.now += account.INTERVAL
    assert len(caplog.records) == 1
    (tmp_path / "gone").mkdir()
    keeper.keep(LEDGER)
    assert account.read(tmp_path / "gone" / "account", 0).ledger == LEDGER


@pytest.mark.parametrize("content", [b"", b"{}", b'{"process": 1, "ledger": {"no": 1}}', b"\xff"])
def test_what_is_no_account_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "account"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an account"):
        account.read(path, 0)
    with pytest.raises(InputError, match="no daemon has run here"):
        account.read(tmp_path / "none", 0)
