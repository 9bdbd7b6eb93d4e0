"""Refits at a cadence: a drift is followed, nothing is read twice, what is no fault is quiet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models import files as models
from deepclean.models.closed_form import ClosedForm
from deepclean.models.content import read_version
from deepclean.models.store import changes as store
from deepclean.models.store import log as model_log
from deepclean.models.store import rejections, versions
from deepclean.models.store.retrainings import STATE, read_state
from deepclean.train import TrainingData, train
from deepclean.train.retrain import Job, RetrainRecord, retrain
from deepclean.train.retrain.cells import CELLS
from tests.helpers import training_site as site
from tests.helpers.commands import Run
from tests.helpers.datafind_service import somewhere
from tests.helpers.model_stream import Stream
from tests.helpers.store_site import state
from tests.helpers.training_site import FLOOR, LINE, MOTION, RATES, START, STRAIN, toy_config

SECONDS = 632
STEADY, DRIFTED = 192, 456
"""Seconds up to which the coupling is as it was for the first model, and until which it drifts."""

CADENCE = 96
"""Seconds between two retrainings."""

SETTINGS = (
    *site.GATES,
    "retrain.refit.span=192",
    "retrain.refit.min_ready=100",
    "retrain.refit.held_out=64",
    "retrain.search_every=3600",
    "output.retention.age=3600",
    "models.trial.validation_time=16",
    "models.trial.patience=64",
)
COMMAND = "retrain -c toy.yaml " + " ".join(f"--set {setting}" for setting in SETTINGS)


@pytest.fixture(scope="module")
def made() -> dict[str, np.ndarray]:
    """The toy's channels; the coupling grows eightfold and turns by two radians."""
    toy, rate = dict(site.channels(SECONDS)), RATES[STRAIN]
    time = np.arange(SECONDS * rate) / rate
    share = np.clip((time - STEADY) / (DRIFTED - STEADY), 0, 1)
    motion = signal.resample_poly(toy[MOTION].astype("f8"), rate, RATES[MOTION])
    late = np.cos(2 * np.pi * 30 * time - 0.5 - 2 * share)
    return toy | {STRAIN: toy["floor"] + FLOOR * 8.0**share * late * (3 + 3 * motion)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, made: dict[str, np.ndarray]) -> Config:
    """A site whose first model was trained before the drift, and is in force."""
    config = toy_config(tmp_path_factory.mktemp("trained"), *SETTINGS)
    site.write(config, made, seconds=SECONDS)
    history = History([config.input.strain_frames.directory])
    path = train(config, "30Hz", TrainingData(history, history, Span.of_seconds(START, STEADY)))
    store.promote(path.parent, 1, lambda _: None)
    return config


@pytest.fixture
def toy(tmp_path: Path, trained: Config) -> Config:
    """A copy of that site, for one test."""
    return copy_of(trained, tmp_path)


def copy_of(trained: Config, place: Path, *settings: str) -> Config:
    config = toy_config(place, *SETTINGS, *settings)
    shutil.copytree(trained.models.directory, config.models.directory)
    config.input.strain_frames.directory.symlink_to(trained.input.strain_frames.directory)
    return config


def directory(config: Config) -> Path:
    return config.models.directory / "H1" / "30Hz"


def job(config: Config, second: int, frames: Path | None = None) -> Job:
    """Return a retraining of data before a second after `START`."""
    history = History([frames or config.input.strain_frames.directory])
    end = (START + second) * NS
    return Job(config, "30Hz", end, lambda _: (history, history), lambda _: None)


def lines(config: Config) -> list[dict[str, object]]:
    text = (directory(config) / "retrain.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


# A drift


def excess(stream: Stream, made: dict[str, np.ndarray], first: int, last: int) -> float:
    """Return the ASD of OUT_DQ in the band over the floor's."""
    name, rate = f"{STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ", RATES[STRAIN]
    cleaned = History([stream.config.output.directory])
    series = cleaned.read([name], Span.of_seconds(START + first, last - first))[name]
    assert isinstance(series, Series)
    frequency, above = signal.welch(np.asarray(series.samples), rate, nperseg=2 * rate)
    _, below = signal.welch(made["floor"][first * rate : last * rate], rate, nperseg=2 * rate)
    inside = (frequency >= 25) & (frequency <= 35)
    return float(np.mean(np.sqrt(above[inside] / below[inside])))


@pytest.mark.slow
def test_a_drift_beyond_the_gains_bound_is_followed(
    toy: Config, made: dict[str, np.ndarray]
) -> None:
    """A daemon's work runs over the frames; beside it a retraining takes place at a cadence."""
    stream, told = Stream(toy), list[RetrainRecord]()
    history = History([toy.input.strain_frames.directory])
    span = Span.of_seconds(START, SECONDS)
    for frame in HistorySource(channels_of(toy), history, history).frames(span, span):
        second = frame.span.start // NS - START
        if second > STEADY and second % CADENCE == 0:
            told.append(retrain(job(toy, second)))
        stream.take(frame)
    verdicts = [record.verdict for record in told]
    published = verdicts.count("published")
    assert published >= 2
    assert {record.mode for record in told} == {"refit"}
    # Each was a canary first, and was promoted by the rules that hold for any canary.
    events = [(event["what"], event["version"]) for event in stream.events()]
    for version in range(2, 2 + published):
        assert events.index(("offered", version)) < events.index(("promoted", version))
    assert versions.read_pointer(directory(toy), "production") == 1 + published
    # The gains may make no group four times as loud as the model has it. Then the gate closes.
    assert excess(stream, made, DRIFTED - 64, DRIFTED) > 5
    assert excess(stream, made, SECONDS - 64, SECONDS - 8) < 1.3
    # What was refitted is a closed form of the same features, and knows its equations.
    first, last = (models.load(directory(toy) / str(v)) for v in (1, 1 + published))
    assert last.architecture == first.architecture
    assert isinstance(last.network, ClosedForm)
    assert last.equations is not None
    manifest = json.loads((directory(toy) / str(1 + published) / "manifest.json").read_text())
    assert manifest["parent_version"] == published
    assert manifest["validation"]["production_sigma"] > 3
    made_so = model_log.made_by(model_log.read(directory(toy)).changes, "refit")
    assert made_so == list(range(2, 2 + published))


def test_a_site_without_gates_is_judged_as_well(trained: Config, tmp_path: Path) -> None:
    record = retrain(job(copy_of(trained, tmp_path, "gate.enabled=false"), DRIFTED))
    assert record.verdict == "published"
    ratios = record.asd_ratio
    assert ratios["candidate"] is not None
    assert ratios["production"] is not None
    assert ratios["candidate"] < 0.9 * ratios["production"]


# The statistics


@pytest.fixture(scope="module")
def at_once(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> RetrainRecord:
    """A first refit, which reads all of its data."""
    config = copy_of(trained, tmp_path_factory.mktemp("once"))
    return retrain(job(config, DRIFTED))


def same(record: RetrainRecord, other: RetrainRecord) -> bool:
    kept = ("weights", "figures", "training", "held_out", "verdict")
    return all(getattr(record, name) == getattr(other, name) for name in kept)


def test_many_runs_come_to_the_same_as_one(toy: Config, at_once: RetrainRecord) -> None:
    """The first of them rests on none of the data of the last."""
    for end in range(DRIFTED - 240, DRIFTED + 1, 60):
        store.set_canary(directory(toy), None, lambda _: None)
        record = retrain(job(toy, end))
    assert same(record, at_once)
    assert record.weights is not None
    # It has read what came since the run before, and what it judges by.
    assert record.read <= at_once.read - 64


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def anybodys(path: Path) -> None:
    path.chmod(0o666)


@pytest.fixture(scope="module")
def refitted(trained: Config, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A site that was refitted a minute ago."""
    config = copy_of(trained, tmp_path_factory.mktemp("refitted"))
    retrain(job(config, DRIFTED - 60))
    store.set_canary(directory(config), None, lambda _: None)
    return config


@pytest.mark.parametrize("spoil", [damaged, cut, emptied, anybodys])
def test_statistics_that_are_of_no_use_are_read_again(
    refitted: Config, at_once: RetrainRecord, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    toy = copy_of(refitted, tmp_path)
    assert (directory(toy) / CELLS).stat().st_size > 1000
    spoil(directory(toy) / CELLS)
    (directory(toy) / STATE).write_text("{")
    record = retrain(job(toy, DRIFTED))
    assert same(record, at_once)
    assert record.read == at_once.read


def test_other_settings_are_other_statistics(
    refitted: Config, at_once: RetrainRecord, tmp_path: Path
) -> None:
    """With the same settings less is read (above)."""
    other = copy_of(refitted, tmp_path, "strain.state_vector=null")
    assert retrain(job(other, DRIFTED)).read == at_once.read


# What is no fault


def files_without(config: Config, place: Path, made: dict[str, np.ndarray], gone: str) -> Path:
    """Write the frames anew, all without a channel from the drift on; return where."""
    place.mkdir()
    other = toy_config(place, *SETTINGS)
    files = [(gone, number) for number in range(STEADY // 8, SECONDS // 8)]
    site.write(other, made, files, SECONDS)
    return other.input.strain_frames.directory


@pytest.mark.parametrize(
    ("gone", "said"),
    [(LINE, f"witnesses that fail: {LINE} for "), (STRAIN, "no 64 s of analysis-ready data to")],
)
def test_without_data_nothing_is_done(
    toy: Config, tmp_path: Path, made: dict[str, np.ndarray], gone: str, said: str
) -> None:
    frames = files_without(toy, tmp_path / "other", made, gone)
    record = retrain(job(toy, DRIFTED, frames))
    assert record.verdict == "no data"
    assert said in record.why
    assert state(directory(toy)) == ((1,), 1, None)
    before = read_state(directory(toy)).succeeded  # the time of the first, which judged nothing
    assert before is not None
    retrain(job(toy, DRIFTED, frames))
    assert read_state(directory(toy)).succeeded == before


def test_the_same_outcome_is_said_once(deepclean: Run, toy: Config, tmp_path: Path) -> None:
    steady = f"{COMMAND} --changes --end"
    first = deepclean(tmp_path, f"{steady} {START + STEADY + 76}").good()
    assert first.stdout.startswith("30Hz: not better: ")
    assert deepclean(tmp_path, f"{steady} {START + STEADY + 80}").good().stdout == ""
    assert [line["verdict"] for line in lines(toy)] == ["not better"]
    assert read_state(directory(toy)).succeeded is not None
    drifted = deepclean(tmp_path, f"{steady} {START + DRIFTED}").good()
    assert drifted.stdout.startswith("30Hz: version 2 is the canary: refitted: ASD ratio ")
    assert "canary in place" in deepclean(tmp_path, f"{steady} {START + DRIFTED}").good().stdout
    assert deepclean(tmp_path, f"{steady} {START + DRIFTED + 8}").good().stdout == ""
    assert [line["verdict"] for line in lines(toy)[1:]] == ["published", "canary in place"]


def test_other_witnesses_need_a_person_who_is_told_in_one_line(
    deepclean: Run, toy: Config, tmp_path: Path
) -> None:
    other = f"{COMMAND} --end {START + DRIFTED} --set couplings.30Hz.witnesses=[LINE]"
    for _ in range(2):
        deepclean(tmp_path, other).refused(
            "deepclean: 30Hz: ", f"needs witnesses that are not configured: {MOTION}"
        )
    assert [line["verdict"] for line in lines(toy)] == ["failed"]
    assert state(directory(toy)) == ((1,), 1, None)


@pytest.mark.slow
def test_no_more_than_the_new_data_is_fetched(
    deepclean: Run, toy: Config, at_once: RetrainRecord, tmp_path: Path
) -> None:
    with somewhere(toy.input.strain_frames.directory) as asked:
        deepclean(tmp_path, f"{COMMAND} --fetch --end {START + DRIFTED - 8}").good()
        store.set_canary(directory(toy), None, lambda _: None)
        deepclean(tmp_path, f"{COMMAND} --fetch --end {START + DRIFTED}").good()
    (first, stop), (second, end) = asked[0], asked[-1]
    assert (stop, end) == (START + DRIFTED - 8, START + DRIFTED)
    assert second > first + 64
    assert lines(toy)[-1]["weights"] == at_once.weights


# When a full training is done

BRIEF = (
    "retrain.span=128",
    "retrain.within=128",
    "retrain.min_ready=128",
    "retrain.held_out=100",
)
"""A full training of two minutes of data."""


def test_a_full_training_at_intervals_and_on_demand(trained: Config, tmp_path: Path) -> None:
    config = copy_of(
        trained,
        tmp_path,
        "retrain.search_every=100",
        *BRIEF,
    )
    modes = [retrain(job(config, second)).mode for second in (260, 350, 361, 370)]
    # The first of them finds a closed form, whose features somebody has found before.
    assert modes == ["refit", "refit", "search", "refit"]
    assert retrain(replace(job(config, 380), search=True)).mode == "search"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("retrain.refit.enabled=false", "refits are off (retrain.refit.enabled)"),
        ("couplings.30Hz.band=[26,34]", "version 1 cannot be refitted: its filters are those of"),
    ],
)
def test_what_cannot_be_refitted_waits_for_a_full_training(
    trained: Config, tmp_path: Path, setting: str, said: str
) -> None:
    config = copy_of(
        trained,
        tmp_path,
        setting,
        *BRIEF,
    )
    first, second = retrain(job(config, 260)), retrain(job(config, 270))
    assert (first.mode, first.verdict, second.verdict) == ("search", "no data", "not due")
    assert second.why.startswith(said)
    assert second.why.endswith(f"due at GPS {START + 260 + 3600}, or with --search")


def test_witnesses_that_tell_nothing_any_more_are_no_fault(trained: Config, tmp_path: Path) -> None:
    """The full training finds no feature: that is an outcome, and nobody is called."""
    config = copy_of(
        trained,
        tmp_path,
        "retrain.span=240",
        "retrain.within=240",
        "retrain.min_ready=200",
        "retrain.held_out=64",
        "couplings.30Hz.adapt=off",
    )
    rng = np.random.default_rng(0)
    silent = {
        name: np.asarray(rng.standard_normal(len(each)), dtype=each.dtype)
        for name, each in site.channels(SECONDS).items()
        if name in (LINE, MOTION)
    }
    other = tmp_path / "other"
    other.mkdir()
    place = toy_config(other, *SETTINGS)
    site.write(place, dict(site.channels(SECONDS)) | silent, seconds=SECONDS)
    wanted = job(config, 400, place.input.strain_frames.directory)
    record = retrain(replace(wanted, search=True))
    assert record.verdict == "not better"
    assert "no feature of the witnesses predicts the strain" in record.why


# The store


def test_old_refits_go_and_nothing_else(trained: Config, tmp_path: Path) -> None:
    config = copy_of(trained, tmp_path, "retrain.refit.keep=1")
    place = directory(config)
    content, manifest = read_version(place / "1")[2], read_version(place / "1")[1]
    made_by: list[model_log.What] = ["train", "refit", "refit", "refit"]  # 2 to 5
    for what in made_by:
        store.add(config.models.directory, content, manifest, what=what)
    rejections.write(place, 3, "its gate did not open", {})
    record = retrain(job(config, DRIFTED))
    assert record.version == 6
    # 1 is in production and its parent; 2 a person trained.
    assert state(place) == ((1, 2, 6), 1, 6)
    assert [c.before for c in model_log.read(place).changes if c.what == "prune"] == [3, 4, 5]
    assert rejections.read(place, 3) is None
