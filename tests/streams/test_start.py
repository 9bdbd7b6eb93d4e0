"""Starts that cannot work say so, starts that must wait say for what; the site's check."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from deepclean.errors import ConfigError, InputError
from deepclean.io.arrakis.feed import StreamFeed
from deepclean.run.sources import live_input
from deepclean.site.findings import Grade
from deepclean.site.streamed import streamed
from deepclean.system.clock import SystemClock
from deepclean.telemetry.accounts import Accounts
from tests.helpers.small_site import RATES, STATE, STRAIN, small_config
from tests.streams.rig import free_port, mock_server, wait_for

MADE = {
    STRAIN: (2048, "float64", "sin(t)"),
    STATE: (16, "int32", "7"),
    "H1:SLOW": (16, "float32", "cos(t)"),
    "H1:MIDDLE": (128, "float32", "cos(t)"),
}


def _in_trouble(feed: StreamFeed, said: str) -> bool:
    return said in feed.trouble


def test_a_start_waits_or_ends_and_says_why(tmp_path: Path) -> None:
    nobody = f"grpc://127.0.0.1:{free_port()}"
    waits = small_config(tmp_path, f"input.arrakis.server={nobody}")
    inputs = live_input(waits, SystemClock(), Accounts())
    assert inputs.inbox is not None
    with inputs.inbox.feed as feed:
        wait_for(lambda: "not connected" not in feed.trouble, "it fails to connect")
        assert feed.take() == []
        assert f"from {nobody} (" in inputs.silence({"strain": 7.0})
        assert inputs.silence({"strain": 7.0}).startswith("no strain for 5 s")
    (finding,) = streamed(waits)
    assert finding.grade is Grade.FAULT

    with mock_server(MADE) as server:
        config = small_config(tmp_path, f"input.arrakis.server={server.url}")
        found = {finding.subject: finding for finding in streamed(config)}
        assert found["couplings.witnesses"].grade is Grade.WARNING
        assert "H1:FAST" in found["couplings.witnesses"].found
        assert found["strain.channel"].grade is Grade.FINE
        # An absent witness is a gap; the others come.
        inputs = live_input(config, SystemClock(), Accounts())
        assert inputs.inbox is not None
        with inputs.inbox.feed as feed:
            wait_for(lambda: feed.counts["received"], "blocks come")
            (block, *_) = feed.take()
        assert set(block.pieces) == set(MADE)
        assert set(RATES) - set(block.pieces) == {"H1:FAST"}
        for override, error, said in (
            ("strain.rate=4096", InputError, "strain.rate"),
            ("strain.channel=H1:OTHER", None, "no channel H1:OTHER"),
        ):
            config = small_config(tmp_path, f"input.arrakis.server={server.url}", override)
            inputs = live_input(config, SystemClock(), Accounts())
            assert inputs.inbox is not None
            with inputs.inbox.feed as feed:
                if error is None:
                    wait_for(partial(_in_trouble, feed, said), said)
                else:
                    wait_for(partial(getattr, feed, "fault"), said)
                    with pytest.raises(error, match=said):
                        feed.take()


def test_without_the_client_the_message_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepclean.io.arrakis.reading", None)
    config = small_config(tmp_path, "input.arrakis.server=grpc://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"install deepclean-production\[arrakis\]"):
        live_input(config, SystemClock(), Accounts())
