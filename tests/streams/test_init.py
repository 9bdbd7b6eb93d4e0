"""A configuration that is written for a server's channels, and checked with that server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepclean.config import load
from tests.helpers import training_site as toy
from tests.helpers.commands import Run
from tests.helpers.small_site import publish_model
from tests.streams.rig import NS, Service, free_port, gps_now, mock_server
from tests.streams.streamed_site import running

MAINS = "H1:PEM-CS_MAINSMON_EBAY_1_DQ"
RATES = {
    "H1:GDS-CALIB_STRAIN": (4096, "float64"),
    "H1:GDS-CALIB_STATE_VECTOR": (16, "int32"),
    MAINS: (512, "float32"),
    "H1:PEM-SLOW": (2, "float32"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Service]:
    with mock_server({name: (*each, "7") for name, each in RATES.items()}) as running:
        yield running


def test_a_configuration_for_a_servers_channels_passes_its_check(
    server: Service, deepclean: Run, tmp_path: Path
) -> None:
    done = deepclean(tmp_path, f"init --arrakis {server.url}").good()
    assert f"{server.url}: 3 channels" in done.stdout  # what does not fit into blocks is left out
    assert "H1.yaml: H1:GDS-CALIB_STRAIN at 4096 Hz" in done.stdout
    assert "deepclean train -c H1.yaml --all --strain PATH" in done.stdout
    config = load(tmp_path / "H1.yaml", environ={})
    assert config.input.arrakis.server == server.url
    assert config.input.arrakis.channels == "all"
    assert config.input.strain.directory is None
    assert (config.input.arrakis.stride, config.engine.hop) == (62_500_000, 62_500_000)
    assert config.strain.state_vector == "H1:GDS-CALIB_STATE_VECTOR"
    assert config.witness_channels == (MAINS,)
    publish_model(config, rates={MAINS: 512})
    checked = deepclean(tmp_path, "check -c H1.yaml --json").good()
    found = {each["subject"]: each for each in json.loads(checked.stdout)}
    assert found["input.arrakis"]["grade"] == "ok"
    assert found["strain.channel"]["found"] == "H1:GDS-CALIB_STRAIN at 4096 Hz"
    assert found["couplings.witnesses"]["found"] == "1 of 1 are there"
    # The daemon needs no files either: its history is the stream's past.
    with running(load(tmp_path / "H1.yaml", ["metrics.enabled=false"], environ={})) as daemon:
        daemon.wait_to(gps_now() + NS)
    assert daemon.ledger.frames_in > 16


def test_files_hold_the_past_in_which_a_band_is_searched(
    server: Service, deepclean: Run, tmp_path: Path
) -> None:
    toy.write(toy.toy_config(tmp_path), toy.channels(toy.SECONDS))
    command = "init strain --arrakis {} --band 25-35 -o found.yaml"
    refused = deepclean(tmp_path, command.format(server.url))
    refused.refused("no H1:GDS-CALIB_STRAIN at 4096 Hz in ")
    with mock_server({name: (rate, "float32", "7") for name, rate in toy.RATES.items()}) as same:
        done = deepclean(tmp_path, command.format(same.url)).good()
    config = load(tmp_path / "found.yaml", environ={})
    assert config.couplings["30Hz"].witnesses == (toy.LINE, toy.MOTION)
    assert config.input.arrakis.server == same.url
    assert config.input.strain_frames.directory == tmp_path / "strain"
    assert config.input.witnesses == ()
    assert f"--all --start {toy.START} --end {toy.START + toy.SECONDS}" in done.stdout


def test_what_keeps_it_from_being_written_is_said(deepclean: Run, tmp_path: Path) -> None:
    deepclean(tmp_path, "init").refused("name directories, or a server with --arrakis", lines=1)
    nobody = f"grpc://127.0.0.1:{free_port()}"
    deepclean(tmp_path, f"init --arrakis {nobody}").refused(f"{nobody}: ", status=1)
    searched = deepclean(tmp_path, f"init --arrakis {nobody} --band 25-35")
    searched.refused("--band searches data of the past", lines=1)
    assert not list(tmp_path.iterdir())
