"""Ways of making a useless model, from frame files by the real command: each is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from deepclean.io.history import History
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.train import TrainingData, train
from tests.helpers import training_site as site
from tests.helpers.commands import Done, Run
from tests.helpers.store_site import state
from tests.helpers.training_site import LINE, MOTION, RATES, START, STRAIN, toy_config, wandering

SECONDS = 240
TRAINED = 192
"""Seconds that are trained on; the rest is held out."""

GATES = " ".join(f"--set {each}" for each in site.GATES)
TRAIN = f"train -c toy.yaml 30Hz --start {START} --end {START + SECONDS} {GATES}"
WIENER = "--architecture wiener"
RETRAIN = (
    f"retrain -c toy.yaml --search --end {START + SECONDS} {GATES} --set retrain.span={SECONDS} "
    "--set retrain.min_ready=200 --set retrain.held_out=64 --set couplings.30Hz.adapt=off"
)
"""With fixed gains: those that adapt follow a drift, and lengthen the history."""


def white(name: str, seed: int = 11) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SECONDS * RATES[name]).astype("f4")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with frames, and a good closed form in force."""
    place = tmp_path_factory.mktemp("made")
    config = toy_config(place, *site.GATES)
    site.write(config, wandering(SECONDS), seconds=SECONDS)
    history = History([config.input.strain_frames.directory])
    path = train(config, "30Hz", TrainingData(history, history))
    store.promote(path.parent, 1, lambda _: None)
    return place


@pytest.fixture
def good(made: Path, tmp_path: Path) -> Path:
    """A copy of that site."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


def run(deepclean: Run, place: Path, options: str = "", **replaced: np.ndarray) -> Done:
    """Write the toy's frames, some channels replaced, and train on them."""
    names = {"line": LINE, "motion": MOTION, "strain": STRAIN}
    others = {names[name]: samples for name, samples in replaced.items()}
    site.write(toy_config(place), wandering(SECONDS) | others, seconds=SECONDS)
    return deepclean(place, f"{TRAIN} {options}")


def refused(done: Done, place: Path, *said: str) -> dict[str, float]:
    """Assert that a version was written and not put in force; return its figures."""
    assert done.returncode == 3, done.stdout + done.stderr
    versions = place / "models/H1/30Hz"
    assert state(versions) == ((1,), None, None)
    assert [(each.what, each.after) for each in model_log.read(versions).changes] == [("train", 1)]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("30Hz: version 1 is not put in force: ")
    for part in said:
        assert part in last
    figures: dict[str, float] = json.loads((versions / "1/manifest.json").read_text())["validation"]
    return figures


def test_a_good_one_is_put_in_force(deepclean: Run, tmp_path: Path) -> None:
    done = run(deepclean, tmp_path).good()
    lines = done.stdout.splitlines()
    assert lines[-1] == "30Hz: production is version 1"
    rows = ["nothing", "linear", "closed form"]
    first_cells = [line.strip().partition("  ")[0] for line in lines]
    assert [cell for cell in first_cells if cell in rows] == rows
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    version = tmp_path / "models/H1/30Hz/1"
    figures = json.loads((version / "manifest.json").read_text())["validation"]
    assert figures["gate_open"] > 0.95
    assert figures["gate_seconds"] == figures["seconds"] >= SECONDS - TRAINED - 2
    assert figures["asd_ratio"] < 0.7
    assert 0 < figures["asd_ratio_error"] < 0.05
    assert (version / "training.png").read_bytes().startswith(b"\x89PNG")
    deepclean(tmp_path, "models verify -c toy.yaml").good()


@pytest.mark.slow
def test_the_picture_goes_where_it_is_wanted_too(deepclean: Run, good: Path) -> None:
    done = deepclean(good, f"{TRAIN} {WIENER} --figure drawn.png").good()
    beside = good / "models/H1/30Hz/2/training.png"
    assert f"picture: {beside}" in done.stdout.splitlines()
    assert (good / "drawn.png").read_bytes() == beside.read_bytes()
    again = deepclean(good, f"{TRAIN} {WIENER} --figure nowhere/drawn.png")
    again.refused("nowhere/drawn.png: the picture could not be written", status=1)


def test_without_matplotlib_there_is_no_picture(
    deepclean: Run, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = deepclean(good, f"{TRAIN} {WIENER}").good()
    assert "30Hz: there is no picture, because matplotlib is not installed" in done.stdout
    assert not list(good.glob("models/H1/30Hz/2/*.png"))


def test_a_production_that_cannot_be_run_is_replaced(deepclean: Run, good: Path) -> None:
    weights = good / "models/H1/30Hz/1/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = deepclean(good, f"{TRAIN} --production").good()
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("30Hz: version 1, in production, cannot be run: ")
    assert last == "30Hz: production is version 2"


def test_white_witnesses_give_no_model(deepclean: Run, tmp_path: Path) -> None:
    done = run(deepclean, tmp_path, line=white(LINE), motion=white(MOTION, 12))
    done.refused("30Hz: no feature of the witnesses predicts the strain beyond chance")
    assert not list(tmp_path.glob("models/H1/30Hz/[0-9]*"))


def test_white_witnesses_give_a_linear_filter_of_no_use(deepclean: Run, tmp_path: Path) -> None:
    done = run(deepclean, tmp_path, WIENER, line=white(LINE), motion=white(MOTION, 12))
    figures = refused(done, tmp_path, "it does not beat no cleaning beyond chance: ASD ratio ")
    assert figures["gain_sigma"] < 3


def test_the_wrong_channel(deepclean: Run, tmp_path: Path) -> None:
    """The line of another grid."""
    time = np.arange(SECONDS * RATES[LINE]) / RATES[LINE]
    other = (50 + np.cos(2 * np.pi * 30.3 * time)).astype("f4")
    done = run(deepclean, tmp_path, WIENER, line=other)
    refused(done, tmp_path, "it does not beat no cleaning beyond chance")


def test_a_band_without_a_coupling(deepclean: Run, tmp_path: Path) -> None:
    done = run(deepclean, tmp_path, f"{WIENER} --set couplings.30Hz.band=[70,80]")
    refused(done, tmp_path, "it does not beat no cleaning beyond chance")


def test_witnesses_that_are_late_after_the_training(deepclean: Run, tmp_path: Path) -> None:
    """By another part of a period each second, which no gain can follow."""
    line, rng = wandering(SECONDS)[LINE].copy(), np.random.default_rng(5)
    for second in line.reshape(SECONDS, -1)[TRAINED:]:
        second[:] = np.roll(second, rng.integers(2, 8))
    done = run(deepclean, tmp_path, line=line)
    figures = refused(done, tmp_path, "it does not beat no cleaning beyond chance")
    assert figures["gate_open"] < 0.5


def test_witnesses_in_another_order_than_the_strain(deepclean: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    made = wandering(SECONDS)
    line, motion = (
        np.concatenate(rng.permutation(made[name].reshape(16 * SECONDS, -1)))
        for name in (LINE, MOTION)
    )
    done = run(deepclean, tmp_path, WIENER, line=line, motion=motion)
    refused(done, tmp_path, "it does not beat no cleaning beyond chance")


def test_bad_guard_bands(deepclean: Run, tmp_path: Path) -> None:
    """A calibration line goes on in the monitor beside the band, where the bandpass falls."""
    line = wandering(SECONDS)[LINE].copy()
    time = np.arange(len(line)) / RATES[LINE]
    line += np.where(time > TRAINED, 1.0 * np.cos(2 * np.pi * 38.5 * time), 0).astype("f4")
    done = run(deepclean, tmp_path, line=line)
    figures = refused(done, tmp_path, "the site's gate would be shut most of the time", "guard")
    assert figures["asd_ratio"] < 0.9  # in the band it is good
    assert figures["gain_sigma"] > 3
    assert figures["closed_guard"] > 1.1


def test_a_worse_one_than_production(deepclean: Run, good: Path) -> None:
    done = deepclean(good, f"{TRAIN} {WIENER} --production")
    assert done.returncode == 3
    versions = good / "models/H1/30Hz"
    assert state(versions) == ((1, 2), 1, None)
    last = done.stdout.splitlines()[-1]
    said = "30Hz: version 2 is not put in force: it does not beat version 1, which is in production"
    assert last.startswith(said)
    figures = json.loads((versions / "2/manifest.json").read_text())["validation"]
    assert figures["gain_sigma"] > 3  # it beats nothing
    assert figures["production_sigma"] < -3
    assert figures["production_ratio"] < figures["asd_ratio"]
    # The same once more is no better than itself.
    again = deepclean(good, f"{TRAIN} --production")
    assert again.returncode == 3
    assert "0.0 standard errors where 3 are needed" in again.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_retraining_that_is_worse_than_production(deepclean: Run, good: Path) -> None:
    worse = "--set training.architecture=wiener --set retrain.criteria=[relative=none]"
    done = deepclean(good, f"{RETRAIN} {worse}").good()
    assert done.stdout.startswith("30Hz: not better: ")
    assert "it does not beat version 1, which is in production, beyond chance" in done.stdout
    versions = good / "models/H1/30Hz"
    assert state(versions) == ((1,), 1, None)
    (line,) = [json.loads(one) for one in (versions / "retrain.jsonl").read_text().splitlines()]
    assert line["figures"]["production_sigma"] < -3


@pytest.mark.slow
def test_a_retraining_of_a_drifted_coupling_is_the_canary(deepclean: Run, good: Path) -> None:
    made = wandering(SECONDS)
    drifted = {STRAIN: 2 * made[STRAIN] - made["floor"]}
    site.write(toy_config(good), made | drifted, seconds=SECONDS)
    done = deepclean(good, RETRAIN).good()
    versions = good / "models/H1/30Hz"
    assert state(versions) == ((1, 2), 1, 2), done.stdout
    facts = json.loads((versions / "2/manifest.json").read_text())
    assert facts["architecture"]["name"] == "closed_form"
    assert facts["validation"]["production_sigma"] > 3
    assert facts["validation"]["production_version"] == 1
    assert facts["validation"]["seconds"] >= 62
