"""Retraining at a cadence: what is published, what is not and why, and who waits for whom."""

from __future__ import annotations

import fcntl
import json
import pickle
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.io.history import History
from deepclean.models import files as models
from deepclean.models.manifest import sha256
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store import versions
from deepclean.train import train
from deepclean.train.retrain import Job, retrain
from deepclean.train.retrain.split import divide, newest
from tests.helpers import training_site as site
from tests.helpers.commands import Run
from tests.helpers.datafind_service import somewhere
from tests.helpers.deepcleanv2_directory import Danger
from tests.helpers.store_site import state
from tests.helpers.training_site import LINE, START, STATE, channels, toy_config, toy_data

SECONDS = 264
"""Of data: with 64 held out and 40 between, the gates of the candidates stay open."""

SETTINGS = (
    "training.architecture=wiener",
    *site.GATES,
    f"retrain.span={SECONDS}",
    f"retrain.within={SECONDS}",
    "retrain.min_ready=200",
    "retrain.held_out=64",
    # Gains that adapt follow the drift by themselves, and lengthen the history.
    "couplings.30Hz.adapt=off",
)
COMMAND = f"retrain -c toy.yaml --end {START + SECONDS} " + " ".join(
    f"--set {setting}" for setting in SETTINGS
)
TRAIN = f"train -c toy.yaml 30Hz --from 1 --start {START} --end {START + 100}"
HELD_OUT = [[START + SECONDS - 65, START + SECONDS - 1]]
AS_MADE = 6.0
"""What the line adds to the strain where production was trained."""


DRIFTED = 12.0


def made(line: float) -> dict[str, np.ndarray]:
    """Return the toy's channels with this coupling of the line, without anything else."""
    return channels(SECONDS, line=line, product=site.LINE_ONLY)


def write(
    config: Config,
    line: float,
    without: Collection[tuple[str, int]] = (),
    replaced: Mapping[str, np.ndarray] | None = None,
) -> None:
    site.write(config, made(line) | dict(replaced or {}), without, SECONDS)


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


def test_drift_gets_a_canary(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    write(toy, DRIFTED)
    (coupling / ".retrain" / "H1").mkdir(parents=True)  # of a retraining that was killed
    done = deepclean(tmp_path, COMMAND).good()
    assert state(coupling) == ((1, 2), 1, 2)
    (line,) = log(coupling)
    ratio = line["asd_ratio"]
    # Production takes away half of the line.
    assert 0.8 < ratio["candidate"] < 0.95 * ratio["production"] < 0.95
    assert line["verdict"] == "published"
    assert (line["production"], line["version"], line["held_out"]) == (1, 2, HELD_OUT)
    assert all(each["met"] for each in line["criteria"])
    (relative,) = [each for each in line["criteria"] if each["criterion"] == "relative"]
    assert relative["at_most"] == 0.99
    # The engine's history of 39 s lies between what it saw and what it is judged by.
    assert line["training"] == [[START, START + SECONDS - 65 - 40]]
    kept = models.load(coupling / "2", store=toy.models.directory)
    manifest = json.loads((coupling / "2" / "manifest.json").read_text())
    assert kept.weights_hash == line["weights"]
    assert manifest["validation"]["held_out_production"] == ratio["production"]
    assert max(end for _, end in manifest["training"]) <= line["training"][-1][1] * 10**9
    *_, published, canary = model_log.read(coupling).changes
    assert (published.what, published.after) == ("train", 2)
    assert (canary.what, canary.before, canary.after) == ("canary", None, 2)
    assert published.why == canary.why == line["why"]
    assert line["why"] in done.stdout
    assert not (coupling / ".retrain").exists()
    # The next one finds it under test.
    again = deepclean(tmp_path, COMMAND).good()
    assert again.stdout == "30Hz: canary in place: version 2 is under test\n"
    assert state(coupling) == ((1, 2), 1, 2)
    assert log(coupling)[-1]["verdict"] == "canary in place"


def test_no_drift_no_canary(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    write(toy, AS_MADE, without={(LINE, 5)})
    done = deepclean(tmp_path, COMMAND).good()
    assert done.stdout.startswith("30Hz: not better: relative ")
    assert state(coupling) == ((1,), 1, None)
    (line,) = log(coupling)
    unmet = [each["criterion"] for each in line["criteria"] if not each["met"]]
    assert (line["verdict"], unmet) == ("not better", ["relative"])
    assert line["weights"] is not None
    assert not (coupling / ".retrain").exists()
    assert len(model_log.read(coupling).changes) == 2
    # A file of 8 s without a witness is a gap in what is trained on, no more.
    gap = START + 40
    assert line["training"] == [[START, gap], [gap + 8, START + SECONDS - 65 - 40]]


def test_unmet_criterion(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    write(toy, DRIFTED)
    done = deepclean(tmp_path, f"{COMMAND} --set retrain.criteria=[outside=0.5]").good()
    assert done.stdout.startswith("30Hz: not better: outside 1 is not at most 0.5")
    assert state(coupling) == ((1,), 1, None)
    criteria = {each["criterion"]: each["met"] for each in log(coupling)[0]["criteria"]}
    assert criteria.pop("outside") is False
    assert criteria.pop("relative") is True
    assert set(criteria.values()) == {True}


def test_without_production_the_criteria_alone_count(deepclean: Run, tmp_path: Path) -> None:
    config = toy_config(tmp_path, *SETTINGS)
    write(config, AS_MADE)
    done = deepclean(tmp_path, COMMAND).good()
    assert done.stdout.endswith("the first version\n")
    coupling = config.models.directory / "H1" / "30Hz"
    assert state(coupling) == ((1,), None, 1)
    (line,) = log(coupling)
    assert (line["production"], list(line["asd_ratio"])) == (None, ["candidate"])
    assert "relative" not in {each["criterion"] for each in line["criteria"]}


def not_observing(toy: Config) -> None:
    lost = np.full(16 * SECONDS, 1, dtype=np.uint32)
    write(toy, DRIFTED, replaced={STATE: lost})


def short_observing(toy: Config) -> None:
    """Enough seconds, but none with the engine's history before it."""
    bits = np.full((SECONDS, 16), 3, dtype=np.uint32)
    bits[::38] = 1
    write(toy, DRIFTED, replaced={STATE: bits.ravel()})


@pytest.mark.parametrize(("how", "found"), [(not_observing, 0), (short_observing, 257)])
def test_without_data_that_is_ready_nothing_is_done(
    deepclean: Run,
    toy: Config,
    coupling: Path,
    tmp_path: Path,
    how: Callable[[Config], None],
    found: int,
) -> None:
    how(toy)
    done = deepclean(tmp_path, COMMAND).good()
    said = f"30Hz: no data: {found} s of analysis-ready data in GPS {START} to {START + SECONDS}; "
    assert done.stdout.startswith(said + "200 s are needed, 64 s of them with ")
    assert log(coupling)[0]["verdict"] == "no data"
    assert state(coupling) == ((1,), 1, None)


def open_to_the_group(coupling: Path, trap: Path) -> None:
    (coupling / "1" / "weights.safetensors").chmod(0o664)


def elsewhere(coupling: Path, trap: Path) -> None:
    away = coupling.parents[2] / "away"
    (coupling / "1").rename(away)
    (coupling / "1").symlink_to(away)


def a_pickle(coupling: Path, trap: Path) -> None:
    (coupling / "1" / "weights.safetensors").write_bytes(pickle.dumps(Danger(trap)))


def a_pickle_with_its_hash(coupling: Path, trap: Path) -> None:
    a_pickle(coupling, trap)
    weights, manifest = (coupling / "1" / name for name in ("weights.safetensors", "manifest.json"))
    facts = json.loads(manifest.read_text())
    facts["files"]["weights.safetensors"] = sha256(weights.read_bytes())
    manifest.write_text(json.dumps(facts))


@pytest.mark.parametrize("command", [COMMAND, TRAIN])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (open_to_the_group, "its group can write it"),
        (elsewhere, "a symlink leads out of the store"),
        (a_pickle, "does not match the sha256"),
        (a_pickle_with_its_hash, "weights.safetensors"),
    ],
)
def test_a_parent_that_cannot_be_trusted_is_refused(
    deepclean: Run,
    toy: Config,
    coupling: Path,
    tmp_path: Path,
    command: str,
    spoil: Callable[[Path, Path], None],
    said: str,
) -> None:
    write(toy, DRIFTED)
    spoil(coupling, tmp_path / "sprung")
    done = deepclean(tmp_path, command)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("deepclean: ")]
    assert said in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sprung").exists()
    assert versions.versions(coupling) == (1,)
    assert not (coupling / "canary").exists()
    if command == COMMAND:
        (kept,) = log(coupling)
        assert kept["verdict"] == "failed"
        assert said in kept["why"]
        assert kept["training"] == []  # it is refused before anything is done


def test_second_is_refused(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    write(toy, DRIFTED)
    with (coupling / ".retrain.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # with which only an exclusive one does not go together
        held.write("4711\n")
        held.flush()
        done = deepclean(tmp_path, COMMAND)
    assert done.returncode == 1
    assert done.stderr == (
        f"deepclean: 30Hz: {coupling}: process 4711 retrains this coupling already\n"
    )
    assert state(coupling) == ((1,), 1, None)


@pytest.mark.parametrize("pointer", versions.POINTERS)
def test_moved_pointer_is_kept(toy: Config, coupling: Path, pointer: versions.Pointer) -> None:
    """It moves between the last look and the lock under which the canary is set."""
    write(toy, DRIFTED)

    def check(path: Path) -> None:
        versions.set_pointer(coupling, pointer, 2)

    history = History([toy.input.strain_frames.directory])
    end = (START + SECONDS) * NS
    record = retrain(Job(toy, "30Hz", end, lambda span: (history, history), check))
    assert record.verdict == "overtaken"
    assert state(coupling) == ((1, 2), *((2, None) if pointer == "production" else (1, 2)))
    assert log(coupling)[0]["verdict"] == "overtaken"


OTHER = """
  10Hz:
    band: [8, 12]
    witnesses: [MOTION]
    predict: {edge: 0.25}
    bandpass: {transition: 4}
training:"""


def test_faults_stay_apart(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    not_observing(toy)
    text = (tmp_path / "toy.yaml").read_text()
    (tmp_path / "toy.yaml").write_text(text.replace("\ntraining:", OTHER))
    (coupling.parent / "10Hz").mkdir()
    (coupling.parent / "10Hz" / "production").write_text("one\n")
    done = deepclean(tmp_path, COMMAND).refused("deepclean: 10Hz: ", "not a version number")
    assert done.stdout.startswith("30Hz: no data: ")
    only = deepclean(tmp_path, f"{COMMAND} --coupling 30Hz")
    assert (only.returncode, only.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ("--coupling 30hz", 2, "no coupling 30hz; did you mean 30Hz?"),
        ("--set couplings.30Hz.model=models/H1/30Hz/1", 2, "all of them name their model's dir"),
        ("--coupling 30Hz --set couplings.30Hz.model=m", 2, "couplings.30Hz.model: names a dir"),
        ("--set retrain.criteria=[outsid=1]", 2, "no criterion outsid; did you mean outside?"),
        ("--set retrain.strain=[nowhere]", 2, "nowhere: no such"),
        ("--set strain.state_vector=NONE", 2, "no such channel: H1:NONE"),
        ("--end 1.5", 2, "--end 1.5: must be whole GPS seconds"),
        ("--device cuda:1", 2, "cuda:1: "),
        ("--device gpu", 2, "is not cpu, auto, cuda or one GPU"),
    ],
)
def test_what_a_person_has_to_mend_is_one_message(
    deepclean: Run,
    toy: Config,
    coupling: Path,
    tmp_path: Path,
    options: str,
    status: int,
    said: str,
) -> None:
    write(toy, DRIFTED)
    done = deepclean(tmp_path, f"{COMMAND} {options}")
    assert done.returncode == status
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("deepclean: ")]
    assert said in line
    assert state(coupling) == ((1,), 1, None)


def test_device_from_the_environment(deepclean: Run, toy: Config, tmp_path: Path) -> None:
    write(toy, DRIFTED)
    deepclean(tmp_path, COMMAND, DEEPCLEAN_RETRAIN_DEVICE="cuda:9").refused("cuda:9: ")


@pytest.mark.slow
def test_data_through_gwpy(deepclean: Run, toy: Config, coupling: Path, tmp_path: Path) -> None:
    write(toy, AS_MADE)
    toy.input.strain_frames.directory.rename(tmp_path / "away")
    with somewhere(tmp_path / "away"):
        done = deepclean(tmp_path, f"{COMMAND} --fetch")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30Hz: not better: relative ")
    assert log(coupling)[0]["held_out"] == HELD_OUT


NETWORK = [
    "training.architecture=autoencoder",
    "training.architecture_options={hidden: [16]}",
    "training.loss=log_asd_ratio",
    "training.batch_size=1",
    "training.epochs=40",
    "retrain.epochs=12",
    "retrain.learning_rate=0.01",
    # A few minutes of training leave something beside the band, which a gate would not let through.
    "couplings.30Hz.bandpass.transition=4",
    "gate.enabled=false",
    "retrain.criteria=[guard=1.5]",
]


@pytest.mark.slow
def test_fine_tuning_is_repeatable(deepclean: Run, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    config = toy_config(tmp_path / "made", *SETTINGS, *NETWORK)
    first = train(config, "30Hz", toy_data(SECONDS, line=AS_MADE))
    command = f"{COMMAND} {' '.join(f'--set {shlex.quote(each)}' for each in NETWORK)}"
    lines = []
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        config = toy_config(place, *SETTINGS, *NETWORK)
        store.promote(store.publish(config.models.directory, first).parent, 1, lambda _: None)
        site.write(config, channels(SECONDS, line=DRIFTED), seconds=SECONDS)
        done = deepclean(place, command).good()
        coupling = config.models.directory / "H1" / "30Hz"
        assert state(coupling) == ((1, 2), 1, 2), done.stdout
        lines += log(coupling)
        manifest = json.loads((coupling / "2" / "manifest.json").read_text())
        parent = models.load(coupling / "1")
        assert (manifest["parent_version"], manifest["parent_weights"]) == (1, parent.weights_hash)
        assert "epoch 12," in done.stderr
        assert "epoch 13," not in done.stderr
    one, two = lines
    assert one["asd_ratio"]["candidate"] < 0.95 * one["asd_ratio"]["production"]
    assert (one["weights"], one["asd_ratio"]) == (two["weights"], two["asd_ratio"])
    assert one["parent"] == 1


# The parts


def spans(*ends: tuple[int, int]) -> list[Span]:
    return [Span(low * NS, high * NS) for low, high in ends]


def usable(held: list[Span]) -> Callable[[Span], list[Span]]:
    return lambda span: [part for each in held if (part := each.overlap(span))]


def test_the_newest_seconds_are_taken_whatever_lies_between() -> None:
    held = spans((0, 700), (1000, 1100), (1500, 2100))
    within = Span(0, 2200 * NS)
    assert newest(usable(held), within, 650) == spans((1050, 1100), (1500, 2100))
    assert newest(usable(held), within, 5000) == held
    assert newest(usable(held), Span(600 * NS, 2000 * NS), 5000) == spans(
        (600, 700), (1000, 1100), (1500, 2000)
    )
    assert newest(usable([]), within, 10) == []


def test_no_more_is_looked_through_than_is_needed() -> None:
    asked: list[Span] = []

    def look(span: Span) -> list[Span]:
        asked.append(span)
        return [span]

    newest(look, Span(0, 10_000 * NS), 600)
    assert min(asked).start == (10_000 - 1024) * NS


def test_what_the_engine_reads_for_the_held_out_is_not_trained_on() -> None:
    ready = spans((0, 100), (200, 300))
    history, lookahead = int(19.5 * NS), int(0.5 * NS)
    training, held_out = divide(ready, 50, history, lookahead)
    assert list(held_out) == spans((249, 299))
    assert list(training) == spans((0, 100), (200, 228))
    # What lies within 20 s after a gap, or 1 s before one, is not fit to be judged by.
    training, held_out = divide(ready, 100, history, lookahead)
    assert list(held_out) == spans((78, 99), (220, 299))
    assert list(training) == spans((0, 57))
    assert divide(ready, 160, history, lookahead)[1] == ()
