"""Starts that cannot work say so, starts that must wait say for what; the site's check."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from arrakis import Client

from deepclean.errors import ConfigError, InputError
from deepclean.io.arrakis.connection import connect_to
from deepclean.io.arrakis.feed import StreamFeed
from deepclean.io.arrakis.strides import PublishedChannel
from deepclean.io.frame_channels import cleaned_channels
from deepclean.run.sources import live_input
from deepclean.site.findings import Grade, SiteFinding
from deepclean.site.published import published
from deepclean.site.streamed import streamed
from deepclean.system.clock import SystemClock
from deepclean.telemetry.accounts import Accounts
from tests.helpers.small_site import RATES, STATE, STRAIN, small_config
from tests.streams.rig import free_port, mock_server, site, wait_for

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
        near = small_config(
            tmp_path,
            f"input.arrakis.server={server.url}",
            f"strain.channel={STRAIN}_",
            f"strain.state_vector={STATE}_",
        )
        wrong = {finding.subject: finding.found for finding in streamed(near)}
        assert wrong["strain.channel"].endswith(f"did you mean {STRAIN}?")
        assert f"(did you mean {STATE}?): no time" in wrong["strain.state_vector"]
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
            ("strain.channel=H1:OTHER", None, "no channel H1:OTHER at this server"),
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


def test_the_output_is_checked_with_its_server(tmp_path: Path) -> None:
    nobody = f"grpc://127.0.0.1:{free_port()}"
    overrides = ("output.estimates=[all]", f"output.arrakis.server={nobody}")
    *_, fault = published(small_config(tmp_path, *overrides))
    assert (fault.subject, fault.grade) == ("output.arrakis", Grade.FAULT)
    assert f"{nobody}: publisher DEEPCLEAN: " in fault.found

    with site("DEEPCLEAN", "OTHER") as running:

        def found(*more: str) -> dict[str, SiteFinding]:
            config = small_config(tmp_path, f"output.arrakis.server={running.url}", *more)
            return {finding.subject: finding for finding in published(config)}

        fine = found()
        assert {finding.grade for finding in fine.values()} == {Grade.FINE}
        assert "0 of 5 channels are there; 5 are to be registered" in fine["output.arrakis"].found
        said = "2 at 2048 Hz (float64), 1 at 16 Hz (uint32), 1 at 16 Hz (int32)"
        assert said in fine["output.arrakis.channels"].found
        assert list(Client(running.url, token=False).find(publisher="DEEPCLEAN")) == []

        unknown = found("output.arrakis.publisher=NOBODY")["output.arrakis"]
        assert unknown.grade is Grade.FAULT
        said = unknown.found.partition("publisher NOBODY: ")[2]
        assert "NOBODY" in said  # the server's own words
        assert "gRPC" not in said

        one = found("output.arrakis.channels=[H1:DEEPCLEAN-STATE_VECTOR,H1:NONE]")
        assert one["output.arrakis"].found.endswith(
            "0 of 1 channels are there; 1 are to be registered"
        )

        config = small_config(tmp_path, f"output.arrakis.server={running.url}")
        connect = connect_to(running.url, config.output.arrakis)
        cleaned = cleaned_channels(config).items()
        connect({name: PublishedChannel(*each) for name, each in cleaned}).close()
        assert found()["output.arrakis"].found.endswith("5 of 5 channels are there")
        assert "output.arrakis.publisher" not in found()
        clash = found("output.arrakis.publisher=OTHER")["output.arrakis.publisher"]
        assert clash.grade is Grade.WARNING
        assert clash.found.startswith("channels of other publishers: 5, as H1:")
        assert clash.found.endswith("of DEEPCLEAN")
        stride = found("output.arrakis.stride=0.125")["output.arrakis.stride"]
        assert (stride.grade, stride.remedy) == (Grade.FAULT, "set 0.0625")
        running.kafka.kill()
        gone = found()["output.arrakis"]
        assert gone.grade is Grade.FAULT


IMPORTS = """
import subprocess
import sys
from collections import Counter
from pathlib import Path
import deepclean.run.daemon, deepclean.site.check, deepclean.site.served
from deepclean.io.arrakis.publisher import publisher_of
from deepclean.run.sources import live_input
from deepclean.system.clock import SystemClock
from deepclean.telemetry.accounts import Accounts
from tests.helpers.small_site import small_config

def held(*overrides):
    config = small_config(Path(sys.argv[1]), *overrides)
    live_input(config, SystemClock(), Accounts())
    publisher_of(config, Counter())
    return {"arrakis", "confluent_kafka", "gpstime", "pyarrow", "sgn"} & set(sys.modules)

assert held() == set()
assert held(sys.argv[2]) >= {"arrakis", "confluent_kafka", "pyarrow"}
"""


def test_the_client_is_imported_only_where_it_is_configured(tmp_path: Path) -> None:
    server = "input.arrakis.server=grpc://127.0.0.1:1"
    subprocess.run([sys.executable, "-c", IMPORTS, str(tmp_path), server], check=True)
