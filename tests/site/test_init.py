"""A configuration that is written for the files that are there, and what it leads to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import load
from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.shipped import configuration as shipped_configuration
from tests.helpers import training_site as toy
from tests.helpers.commands import Run

START = 1_400_000_000
MAINS = "PEM-CS_MAINSMON_EBAY_1_DQ"


def frames(
    directory: Path,
    description: str,
    rates: Mapping[str, int],
    seconds: int = 2,
    start: int = START,
) -> None:
    """Write one-second frames with channels of zeros; the site is the first channel's."""
    directory.mkdir(parents=True, exist_ok=True)
    site = next(iter(rates))[0]
    for second in range(start, start + seconds):
        span = Span.of_seconds(second, 1)
        channels = {
            name: OutputChannel(Series(span, rate, np.zeros(rate, dtype=np.float32)))
            for name, rate in rates.items()
        }
        name = f"{site}-{description}-{second}-1.gwf"
        gwf.publish(directory / name, gwf.serialise(span, channels))


STRAIN = {"H1:GDS-CALIB_STRAIN": 4096, "H1:GDS-CALIB_STATE_VECTOR": 16}


def test_published_couplings_with_their_witnesses_are_proposed(
    deepclean: Run, tmp_path: Path
) -> None:
    published = load(shipped_configuration("H1") or Path(), environ={}).couplings
    held = [MAINS, *(name.removeprefix("H1:") for name in published["60Hz"].witnesses[1:8])]
    held += [name.removeprefix("H1:") for name in published["150Hz"].witnesses]
    frames(tmp_path / "hoft", "H1_foreign", STRAIN)
    frames(tmp_path / "aux", "H1_R", {f"H1:{name}": 512 for name in held})
    done = deepclean(tmp_path, "init hoft aux").good()
    assert "H1.yaml: H1:GDS-CALIB_STRAIN at 4096 Hz" in done.stdout
    assert "10Hz 0 of 7" in done.stdout
    config = load(tmp_path / "H1.yaml", environ={})
    assert config.strain.rate == 4096
    assert config.strain.state_vector == "H1:GDS-CALIB_STATE_VECTOR"
    assert config.input.strain_frames.directory == tmp_path / "hoft"
    assert config.input.strain.description == "H1_foreign"
    assert [each.description for each in config.input.witnesses] == ["H1_R"]
    # Mains with fast witnesses have most of theirs; what overlaps with them is not enabled.
    assert {"60Hz", "150Hz"} <= set(config.enabled_couplings)
    assert not config.couplings["60Hz_mains_only"].enabled
    assert len(config.couplings["60Hz"].witnesses) == 8
    assert config.couplings["150Hz"].witnesses == published["150Hz"].witnesses
    assert (
        f"# not there: {published['60Hz'].witnesses[-1].removeprefix('H1:')}"
        in (tmp_path / "H1.yaml").read_text()
    )


def test_strain_and_witnesses_are_of_one_time(deepclean: Run, tmp_path: Path) -> None:
    """The newest strain has no witnesses; an archive has, and others are of a third time."""
    mains = {f"H1:{MAINS}": 512}
    frames(tmp_path / "new", "H1_new", STRAIN, start=START + 9000)
    frames(tmp_path / "aux_of_then", "H1_third", mains, start=START - 9000)
    frames(tmp_path / "old", "H1_old", STRAIN, seconds=4)
    frames(tmp_path / "aux", "H1_R", mains, seconds=3)
    done = deepclean(tmp_path, "init new aux_of_then old aux").good()
    config = load(tmp_path / "H1.yaml", environ={})
    assert config.input.strain.description == "H1_old"
    assert [each.description for each in config.input.witnesses] == ["H1_R"]
    said = " ".join(done.stdout.split())
    assert "is of another time than the strain" in said
    assert f"strain and witnesses: 3 s in GPS {START}" in said
    assert f"--start {START} --end {START + 3}" in said


def test_a_file_that_is_there_is_kept(deepclean: Run, tmp_path: Path) -> None:
    frames(tmp_path, "H1_all", {**STRAIN, f"H1:{MAINS}": 512})
    (tmp_path / "H1.yaml").write_text("mine")
    deepclean(tmp_path, "init .").refused("is there already; --force replaces it", lines=1)
    assert (tmp_path / "H1.yaml").read_text() == "mine"
    deepclean(tmp_path, "init . --force").good()
    config = load(tmp_path / "H1.yaml", environ={})
    assert set(config.enabled_couplings) == {"60Hz_mains_only"}
    assert config.input.witnesses == ()  # they are in the strain's own files


def test_witnesses_of_a_band_are_searched(deepclean: Run, tmp_path: Path) -> None:
    config = toy.toy_config(tmp_path)
    toy.write(config, toy.channels(toy.SECONDS))
    done = deepclean(tmp_path, "init strain --band 25-35 -o found.yaml").good()
    found = load(tmp_path / "found.yaml", environ={}).couplings["30Hz"]
    # The motion is not coherent with the strain by itself, its product with the line is.
    assert found.witnesses == (toy.LINE, toy.MOTION)
    assert found.bands == ((25.0, 35.0),)
    steps = done.stdout.split("what comes next:\n")[1].splitlines()
    assert steps[2] == (
        f"  deepclean train -c found.yaml --all --start {START} --end {START + toy.SECONDS}"
    )
    # What is printed runs as printed.
    for step in steps[:1]:
        deepclean(tmp_path, " ".join(shlex.split(step)[1:])).good()


@pytest.mark.parametrize(
    ("rates", "options", "status", "said"),
    [
        ({"H1:GDS-CALIB_STRAIN": 4096}, "", 3, "no coupling has its witnesses here"),
        ({"H1:A_STRAIN": 64, "H1:X": 64}, "", 2, "no strain channel found in: "),
        ({**STRAIN, "L1:GDS-CALIB_STRAIN": 4096}, "", 2, "strain of H1, L1: name one with --ifo"),
        (STRAIN, "--ifo V1", 2, "no strain channel of V1"),
        (STRAIN, "--ask", 2, "--ask needs a terminal"),
        (STRAIN, "--band 60", 2, "expected LOW-HIGH"),
    ],
)
def test_what_is_not_found_is_said(
    deepclean: Run,
    tmp_path: Path,
    rates: Mapping[str, int],
    options: str,
    status: int,
    said: str,
) -> None:
    frames(tmp_path / "data", "H1_x", rates)
    done = deepclean(tmp_path, f"init data {options}")
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.yaml"))


def test_files_below_a_directory_are_named_where_they_lie(deepclean: Run, tmp_path: Path) -> None:
    place = tmp_path / "site" / "live"
    frames(place, "H1_all", {**STRAIN, f"H1:{MAINS}": 512})
    done = deepclean(tmp_path, "init site").good()
    text = (tmp_path / "H1.yaml").read_text()
    # Absolute, so that the file can be moved; what it writes stays beside it.
    assert f"strain: {{directory: {place}, description: H1_all}}" in text
    assert "directory: models" in text
    assert "site/live/*-H1_all-*.gwf" in done.stdout
    config = load(tmp_path / "H1.yaml", environ={})
    assert config.metrics.port == load(shipped_configuration("H1") or Path()).metrics.port


def test_an_archive_of_several_directories_is_kept_whole(deepclean: Run, tmp_path: Path) -> None:
    for day in ("one", "two"):
        frames(tmp_path / "archive" / day, "H1_all", {**STRAIN, f"H1:{MAINS}": 512})
    done = deepclean(tmp_path, "init archive").good()
    said = "archive/**/*-H1_all-*.gwf lie in 2 directories"
    assert f"note: {said}" in done.stdout
    assert f"# {said}" in (tmp_path / "H1.yaml").read_text()
    config = load(tmp_path / "H1.yaml", environ={})
    assert config.input.strain_frames.directory == tmp_path / "archive"


def test_a_training_takes_all_stretches(deepclean: Run, tmp_path: Path) -> None:
    frames(tmp_path / "data", "H1_all", {**STRAIN, f"H1:{MAINS}": 512}, seconds=5)
    (tmp_path / "data" / f"H-H1_all-{START + 3}-1.gwf").unlink()
    done = deepclean(tmp_path, "init data").good()
    assert f"--start {START} --end {START + 5}" in done.stdout
    said = "4 s are little to train with: for real use have 2048 s or more"
    assert f"note: {said}" in done.stdout
    assert f"# {said}" in (tmp_path / "H1.yaml").read_text()


def test_a_directory_that_is_not_there(deepclean: Run, tmp_path: Path) -> None:
    deepclean(tmp_path, "init nowhere").refused("nowhere", "no such file or directory", lines=1)


def test_a_file_that_cannot_be_read_is_named(deepclean: Run, tmp_path: Path) -> None:
    frames(tmp_path / "data", "H1_all", {**STRAIN, f"H1:{MAINS}": 512})
    (tmp_path / "data" / f"H-H1_bad-{START}-1.gwf").write_bytes(b"no frame")
    done = deepclean(tmp_path, "init data").good()
    assert "note: could not be read: data/*-H1_bad-*.gwf" in done.stdout


def test_strange_names_are_quoted(deepclean: Run, tmp_path: Path) -> None:
    place = tmp_path / "a place: with # signs"
    frames(place, "H1_all", {**STRAIN, f"H1:{MAINS}": 512})
    deepclean(tmp_path, f"init {shlex.quote(str(place))} -o out/H1.yaml").good()
    config = load(tmp_path / "out" / "H1.yaml", environ={})
    assert config.input.strain_frames.directory == place
