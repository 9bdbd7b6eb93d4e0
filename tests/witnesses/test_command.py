"""`deepclean witnesses`: what it prints, as a table and as JSON, its figure, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io.channels import OutputChannel
from deepclean.io.hdf5 import write_archive
from tests.helpers import training_site as site
from tests.helpers.commands import Run
from tests.helpers.training_site import LINE, MOTION, START, STRAIN

SPAN = f"--start {START} --end {START + site.SECONDS}"
DECOYS = 5


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The toy's files, its linear model, and an archive of channels that witness nothing."""
    made = site.make_site(tmp_path_factory.mktemp("site"))
    span = Span.of_seconds(START, site.SECONDS)
    generator = np.random.default_rng(6)
    decoys = {
        f"H1:DECOY_{i}": OutputChannel(
            Series(span, 128, generator.standard_normal(128 * site.SECONDS).astype("f4"))
        )
        for i in range(DECOYS)
    }
    still = np.full(128 * site.SECONDS, 3.0, dtype="f4")
    decoys["H1:STILL"] = OutputChannel(Series(span, 128, still))
    write_archive(made.models.directory.parent / "decoys.hdf5", decoys)
    return made


@pytest.fixture(scope="module")
def place(config: Config) -> Path:
    return config.models.directory.parent


CONFIGURED = f"witnesses -c toy.yaml {SPAN} --witnesses strain --witnesses decoys.hdf5"
PLAIN = f"witnesses {SPAN} --strain strain --witnesses strain --witnesses decoys.hdf5"


def test_table_ranks_the_witness_above_the_decoys(deepclean: Run, place: Path) -> None:
    done = deepclean(
        place, f"{CONFIGURED} --coupling 30Hz --model production --joint 3 --top 4"
    ).good()
    lines = done.stdout.splitlines()
    titles = "channel Hz mean peak at Hz chance alone saliency without"
    assert lines[0].split() == titles.split()
    assert lines[1].split()[:2] == [LINE, "256"]
    assert lines[1].split()[4:6] == ["30", "<0.01"]
    assert float(lines[1].split()[7]) > 0.9
    assert f"{MOTION} " in done.stdout  # the model's, though no coherence
    together = lines[lines.index("") + 2]
    assert together.split()[0] == LINE
    assert not lines[lines.index("") + 3].strip()  # and nothing more than chance
    assert "constant: H1:STILL" in lines
    dates = "2024-05-17 16:53:02 to 2024-05-17 16:55:18 UTC"
    assert "25-35 Hz, GPS 1400000000 to 1400000136: 133 transforms, 126" in done.stdout
    assert dates in lines
    assert max(map(len, lines)) <= 100


def test_json_holds_every_candidate(deepclean: Run, place: Path) -> None:
    done = deepclean(place, f"{CONFIGURED} --coupling 30Hz --model 1 --joint 2 --top 1 --json")
    held = json.loads(done.stdout)
    assert (held["schema"], held["strain"]) == (1, STRAIN)
    assert held["span"] == [START, START + site.SECONDS]
    assert held["bands"] == [[25, 35]]
    channels = {one["channel"]: one for one in held["candidates"]}
    assert len(channels) == len(held["candidates"]) == 2 + DECOYS + 1
    line = channels[LINE]
    assert line["coherence"][line["peak_bin"]] == line["peak"] == max(line["coherence"])
    assert len(line["coherence"]) == len(held["frequencies"]) == 21
    assert held["frequencies"][line["peak_bin"]] == 30
    assert (line["rate"], line["transforms"], line["fault"]) == (256, held["transforms"], None)
    assert channels["H1:STILL"]["fault"] == "constant"
    assert "mean" not in channels["H1:STILL"]
    assert [step["channel"] for step in held["joint"]["steps"]] == [LINE]
    assert held["model"]["asd_ratio"] == pytest.approx(channels[MOTION]["without"], abs=0.01)
    assert held["chance"]["mean"] == 1 / held["averages"]
    assert held["skipped"] == {}


def test_no_configuration_is_needed(deepclean: Run, place: Path) -> None:
    configured = deepclean(place, f"{CONFIGURED} --band 25-35 --channels LINE --json")
    plain = deepclean(place, f"{PLAIN} --band 25-35 --channels H1:LINE --json").good()
    assert json.loads(plain.stdout) == json.loads(configured.stdout)
    model = deepclean(place, f"{PLAIN} --model models/H1/30Hz/1 --channels '[LM]*' --json")
    held = json.loads(model.stdout)
    assert held["bands"] == [[25, 35]]
    assert held["candidates"][0]["saliency"] > 0.9


def test_patterns_choose_the_candidates(deepclean: Run, place: Path) -> None:
    def chosen(options: str) -> set[str]:
        done = deepclean(place, f"{PLAIN} --band 25-35 --json {options}")
        return {one["channel"] for one in json.loads(done.stdout)["candidates"]}

    assert chosen("--channels 'DECOY_[12]' --channels 'H1:L*'") == {
        *("H1:DECOY_1", "H1:DECOY_2", LINE)
    }
    assert chosen("--exclude 'H1:DECOY*' --exclude STILL --exclude GDS*") == {LINE, MOTION}


def test_products_are_looked_at_when_asked(deepclean: Run, place: Path) -> None:
    done = deepclean(place, f"{CONFIGURED} --band 25-35 --channels MOTION --times LINE")
    assert f"{MOTION} x carrier" in done.stdout
    assert f"carrier: {LINE}" in done.stdout.splitlines()
    held = json.loads(
        deepclean(place, f"{CONFIGURED} --band 25-35 --channels MOTION --times LINE --json").stdout
    )
    assert [(c["channel"], c["carrier"]) for c in held["candidates"]] in (
        [(MOTION, LINE), (MOTION, None)],
        [(MOTION, None), (MOTION, LINE)],
    )


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_figure(deepclean: Run, place: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"found.{ending}"
    options = "--coupling 30Hz --model production --joint 2 --top 3"
    assert deepclean(place, f"{CONFIGURED} {options} --plot {path}").returncode == 0
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    assert len(content) > 10_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "--band LOW-HIGH or --coupling NAME"),
        ("--coupling 30hz", "no coupling 30hz; did you mean 30Hz?"),
        ("--band 30", "--band 30: expected LOW-HIGH in Hz, as 55-65"),
        ("--band 35-25", "a band of 35-25 Hz"),
        ("--band 250-300", "holds frequencies between 0 and 256 Hz"),
        ("--band 25-35 --fft 3", "an even number of seconds"),
        ("--band 25-35 --channels NONE*", "is a candidate: NONE*"),
        ("--band 25-35 --exclude '*'", "is a candidate: * but *"),
        ("--band 25-35 --times LINES", "no channel LINES"),
        ("--band 25-35 --strain-channel H1:STRAIN", "no channel H1:STRAIN"),
        ("--band 25-35 --model 1", "a version needs --config and --coupling"),
        ("--coupling 30Hz --model 7", "no version 7; there: 1"),
        ("--coupling 30Hz --model prodution", "did you mean production?"),
        ("--coupling 30Hz --model strain", "strain/manifest.json: cannot be read"),
        ("--band 25-35 --channels STILL --joint 2", "the 0 best candidates"),
    ],
)
def test_a_fault_is_one_message(deepclean: Run, place: Path, options: str, said: str) -> None:
    done = deepclean(place, f"{CONFIGURED} {options}").refused(said)
    assert not done.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--start 1 --end 2 --band 25-35", "--config FILE or --strain PATH"),
        ("--start 1 --end 2 --band 25-35 --strain nowhere", "no such file"),
        ("--start 1 --end 2 --band 25-35 --strain decoys.hdf5", "channels called *STRAIN: none"),
        ("--start 1 --end 2 --strain strain --coupling 30Hz", "--coupling 30Hz needs --config"),
        ("--start 1 --end 90 --band 25-35 --strain strain", "only 0 transforms"),
        ("--start 1.5 --end 9 --band 25-35 --strain strain", "whole GPS seconds"),
    ],
)
def test_plain_fault_is_one_message(deepclean: Run, place: Path, command: str, said: str) -> None:
    deepclean(place, f"witnesses {command}").refused(said, lines=1)


@pytest.mark.parametrize("path", ["nowhere/a.png", "a.txt"])
def test_a_figure_that_cannot_be_written_is_said(deepclean: Run, place: Path, path: str) -> None:
    deepclean(place, f"{CONFIGURED} --band 25-35 --plot {path}").refused(
        f"{path}: cannot be written", status=1
    )


def test_help(deepclean: Run, place: Path) -> None:
    assert "--coupling" in deepclean(place, "witnesses --help").stdout
    assert "witnesses" in deepclean(place, "--help").stdout
