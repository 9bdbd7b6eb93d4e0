"""Retraining at a cadence: what is published, what is not and why, and who waits for whom."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.edge import changes, models, store, versions
from deepclean.errors import ModelError
from deepclean.train import train
from tests import validated as site
from tests.commands import Run
from tests.stored import state
from tests.test_deepcleanv2 import Danger
from tests.trainsite import LINE, START, STATE, channels, toy_config, toy_data

SECONDS = 264
"""Of data: with 64 held out and 40 between, the gates of the candidates stay open."""

SETTINGS = (
    "training.architecture=wiener",
    *site.GATES,
    f"retrain.span={SECONDS}",
    f"retrain.within={SECONDS}",
    "retrain.min_ready=200",
    "retrain.held_out=64",
)
COMMAND = f"retrain -c toy.yaml --end {START + SECONDS} " + " ".join(
    f"--set {setting}" for setting in SETTINGS
)
HELD_OUT = [[START + SECONDS - 65, START + SECONDS - 1]]
AS_MADE = 6.0
"""What the line adds to the strain where production was trained."""


def made(line: float) -> dict[str, np.ndarray]:
    """Return the toy's channels with this coupling of the line, without anything else."""
    return channels(SECONDS, line=line, product=site.LINE_ONLY)


def write(config: Config, line: float, **replaced: np.ndarray) -> None:
    site.write(config, made(line) | replaced, seconds=SECONDS)


def log(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "retrain.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of the toy as it was made, in a store of its own."""
    config = toy_config(tmp_path_factory.mktemp("made"), *SETTINGS)
    return train(config, "30Hz", toy_data(SECONDS, line=AS_MADE, product=site.LINE_ONLY))


@pytest.fixture
def toy(tmp_path: Path, model: Path) -> Config:
    """A site with that model in force."""
    config = toy_config(tmp_path, *SETTINGS)
    path = store.publish(config.models.directory, model)
    store.promote(path.parent, 1, lambda _: None)
    return config


@pytest.fixture
def coupling(toy: Config) -> Path:
    return toy.models.directory / "H1" / "30Hz"


def test_a_drifted_coupling_gets_a_canary(
    deepclean: Run, toy: Config, coupling: Path, tmp_path: Path
) -> None:
    write(toy, 12.0)
    done = deepclean(tmp_path, COMMAND)
    assert done.returncode == 0, done.stderr
    assert state(coupling) == ((1, 2), 1, 2)
    (line,) = log(coupling)
    ratio = line["asd_ratio"]
    # Production takes away half of the line.
    assert 0.8 < ratio["candidate"] < 0.95 * ratio["production"] < 0.95
    assert line["verdict"] == "published"
    assert (line["production"], line["version"], line["held_out"]) == (1, 2, HELD_OUT)
    assert all(each["met"] for each in line["criteria"])
    assert "relative" in {each["criterion"] for each in line["criteria"]}
    # The engine's history of 39 s lies between what it saw and what it is judged by.
    assert line["training"] == [[START, START + SECONDS - 65 - 40]]
    kept = models.load(coupling / "2", store=toy.models.directory)
    manifest = json.loads((coupling / "2" / "manifest.json").read_text())
    assert kept.weights_hash == line["weights"]
    assert manifest["validation"]["held_out_production"] == ratio["production"]
    assert max(end for _, end in manifest["training"]) <= line["training"][-1][1] * 10**9
    *_, published, canary = changes.read(coupling).changes
    assert (published.what, published.after) == ("train", 2)
    assert (canary.what, canary.before, canary.after) == ("canary", None, 2)
    assert published.why == canary.why == line["why"]
    assert line["why"] in done.stdout
    assert not (coupling / ".retrain").exists()
    # The next one finds it under test.
    again = deepclean(tmp_path, COMMAND)
    assert again.returncode == 0
    assert again.stdout == "30Hz: canary in place: version 2 is under test\n"
    assert state(coupling) == ((1, 2), 1, 2)
    assert log(coupling)[-1]["verdict"] == "canary in place"


def test_what_has_not_drifted_is_left_alone(
    deepclean: Run, toy: Config, coupling: Path, tmp_path: Path
) -> None:
    write(toy, AS_MADE)
    done = deepclean(tmp_path, COMMAND)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30Hz: not better: relative ")
    assert state(coupling) == ((1,), 1, None)
    (line,) = log(coupling)
    unmet = [each["criterion"] for each in line["criteria"] if not each["met"]]
    assert (line["verdict"], unmet) == ("not better", ["relative"])
    assert line["weights"] is not None
    assert not (coupling / ".retrain").exists()
    assert len(changes.read(coupling).changes) == 2
