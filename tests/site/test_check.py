"""A configuration held against what is there, one thing after the other taken away."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.time import NS
from deepclean.errors import UnavailableError
from deepclean.io import gwf
from deepclean.models.loading import load_models
from deepclean.site.check import check, worst
from deepclean.site.findings import Grade, SiteFinding
from tests.helpers import small_site as site
from tests.helpers.commands import Run

NOW = (site.START + 40) * NS
SECONDS = 30


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.make_site(tmp_path, seconds=SECONDS)


def found(config: Config) -> dict[str, SiteFinding]:
    """Return what is found amiss, by subject."""
    return {each.subject: each for each in check(config, NOW) if each.grade is not Grade.FINE}


def test_a_site_as_it_should_be(config: Config) -> None:
    findings = list(check(config, NOW))
    assert worst(findings) is Grade.FINE
    said = {each.subject: each.found for each in findings}
    assert said["input.strain"].endswith(
        f"30 files, the newest to GPS {site.START + 30}, 10 s behind the clock"
    )
    assert said["couplings.60Hz.witnesses"] == "3 channels at 16 to 256 Hz"
    assert said["couplings.60Hz"] == "version 1 in production, autoencoder"
    assert said["history"].endswith(f"kept are 30 s, GPS {site.START} to {site.START + SECONDS}")


def no_directory(config: Config) -> None:
    shutil.rmtree(config.input.strain_frames.directory)


def other_description(config: Config) -> None:
    for file in config.input.strain_frames.directory.iterdir():
        file.rename(file.with_name(file.name.replace("llhoft", "hoft")))


def strain_below(config: Config) -> None:
    below(config.input.strain_frames.directory)


def witnesses_below(config: Config) -> None:
    below(config.input.witnesses[0].directory)


def below(directory: Path) -> None:
    files = list(directory.iterdir())
    (directory / "sub").mkdir()
    for file in files:
        file.rename(directory / "sub" / file.name)


def no_witness(config: Config) -> None:
    shutil.rmtree(config.input.witnesses[0].directory)
    config.input.witnesses[0].directory.mkdir()
    for second in range(SECONDS):
        start = site.START + second
        path = site.witness_path(config, start)
        gwf.publish(path, site.witness_frame(start, absent=["H1:FAST"]))


def no_model(config: Config) -> None:
    shutil.rmtree(config.models.directory)


def little_history(config: Config) -> None:
    for second in range(SECONDS - 1):
        site.strain_path(config, site.START + second).unlink()


@pytest.mark.parametrize(
    ("harm", "subject", "grade", "said", "remedy"),
    [
        (no_directory, "input.strain", Grade.FAULT, "no such directory", "make it"),
        (other_description, "input.strain", Grade.FAULT, "there are H1_hoft", "description"),
        (strain_below, "input.strain", Grade.FAULT, "/sub below it", "set its directory: /"),
        (witnesses_below, "input.witnesses", Grade.FAULT, "/sub below it", "set its directory: /"),
        (no_witness, "couplings.60Hz.witnesses", Grade.WARNING, "H1:FAST", "train again"),
        (no_model, "couplings 60Hz", Grade.FAULT, "model store", "or set enabled: false"),
        (little_history, "history", Grade.WARNING, "kept are 1 s", "with less at first"),
    ],
)
def test_what_is_amiss_is_said_with_its_remedy(
    config: Config,
    harm: Callable[[Config], None],
    subject: str,
    grade: Grade,
    said: str,
    remedy: str,
) -> None:
    harm(config)
    finding = found(config)[subject]
    assert finding.grade is grade
    assert said in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("override", "subject", "said"),
    [
        ("strain.rate=4096", "strain.rate", "the files have 2048 Hz, not 4096"),
        ("strain.channel=H1:OTHER_STRAIN", "strain.channel", "no channel H1:OTHER_STRAIN"),
        ("strain.state_vector=H1:STATES", "strain.state_vector", "all gates stay closed"),
    ],
)
def test_keys_that_do_not_fit_the_files(
    config: Config, tmp_path: Path, override: str, subject: str, said: str
) -> None:
    finding = found(site.small_config(tmp_path, override))[subject]
    assert finding.grade is Grade.FAULT
    assert said in finding.found


def test_a_port_that_is_taken(config: Config, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = ("metrics.enabled=true", f"metrics.port={port}")
        finding = found(site.small_config(tmp_path, *given))["metrics.port"]
    assert finding.grade is Grade.WARNING


def test_old_frames_are_a_warning(config: Config) -> None:
    late = [each for each in check(config, NOW + 3600 * NS) if each.grade is not Grade.FINE]
    assert [each.subject for each in late] == ["input.strain"]
    assert "60 minutes behind" in late[0].found


def test_the_command_says_it_and_its_status(deepclean: Run, config: Config, tmp_path: Path) -> None:
    done = deepclean(tmp_path, "check -c small.yaml --json").good()
    assert {each["grade"] for each in json.loads(done.stdout)} == {"ok", "warning"}  # old frames
    no_model(config)
    done = deepclean(tmp_path, "check -c small.yaml")
    assert done.returncode == 3
    assert "FAULT   couplings 60Hz:" in done.stdout
    assert done.stdout.count("deepclean train -c small.yaml 60Hz") == 1
    assert "CONFIG" not in done.stdout
    done = deepclean(tmp_path, "check -c small.yaml --json")
    assert "deepclean train -c small.yaml 60Hz" in done.stdout
    assert "CONFIG" not in done.stdout
    with pytest.raises(UnavailableError):  # as `run` would
        load_models(config)


@pytest.mark.parametrize("adapt", ["gain", "features"])
def test_what_reads_less_is_said_where_it_can_be_chosen(config: Config, adapt: str) -> None:
    little_history(config)
    couplings = {n: c.model_copy(update={"adapt": adapt}) for n, c in config.couplings.items()}
    finding = found(config.model_copy(update={"couplings": couplings}))["history"]
    assert ("reads less than `features`" in finding.remedy) is (adapt == "features")
