"""What a training logs: a table beside the weights, event files, a run of Weights & Biases."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from deepclean.errors import ConfigError
from deepclean.models.store import verify
from deepclean.train import Progress, train
from tests.helpers.training_site import toy_config, toy_data

SECONDS = 100
QUICK = (
    "training.epochs=3",
    "training.validation_seconds=16",
    "training.validation_fraction=0.25",
    "training.architecture=autoencoder",
    "training.architecture_options={hidden: [8, 8]}",
)


def trained(place: Path, *overrides: str, stop: int | None = None, resume: bool = False) -> Path:
    def end(told: Progress) -> None:
        if told.epoch == stop and told.step == 1 and told.asd_ratio is None:
            raise KeyboardInterrupt

    config = toy_config(place, *QUICK, *overrides)
    return train(config, "30Hz", toy_data(SECONDS), resume=resume, progress=end)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((path / "epochs.csv").read_text().splitlines()))


def test_table_is_among_the_version_s_files(tmp_path: Path) -> None:
    path = trained(tmp_path)
    rows = table(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(float(row["loss"]) > 0 and float(row["asd_ratio"]) > 0 for row in rows)
    assert verify.version(path, tmp_path / "models") == []


@pytest.mark.slow
def test_interrupted_training_has_the_same_table(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    whole = trained(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", stop=2)
    assert len(table(tmp_path / "b/models/H1/30Hz/.training")) == 2
    resumed = trained(tmp_path / "b", resume=True)
    assert table(resumed) == table(whole)


def test_model_without_epochs_has_no_table(tmp_path: Path) -> None:
    config = toy_config(tmp_path, "training.architecture=wiener")
    assert not (train(config, "30Hz", toy_data(SECONDS)) / "epochs.csv").exists()
    assert not (
        trained(tmp_path, "training.loggers=[]", "training.epochs=1") / "epochs.csv"
    ).exists()


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra dashboards")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = trained(tmp_path, "training.loggers=[csv, tensorboard]")
    (run,) = (tmp_path / "models-logs/tensorboard").iterdir()
    assert run.name.startswith("H1-30Hz-")
    events = EventAccumulator(str(run))
    events.Reload()
    written = {event.step: event.value for event in events.Scalars("asd_ratio")}
    expected = {int(row["epoch"]): float(row["asd_ratio"]) for row in table(path)}
    assert written == pytest.approx(expected, rel=1e-6)
    assert len(events.Scalars("result/asd_ratio")) == 1


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="needs the extra dashboards")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logs = tmp_path / "runs"
    trained(tmp_path, "training.loggers=[wandb]", f"training.log_directory={logs}")
    wandb.teardown()  # its service writes what is left, as at the end of a process
    (run,) = (logs / "wandb").glob("offline-run-*")
    written = next(run.glob("*.wandb")).read_bytes()
    for name in (b"asd_ratio", b"loss", b"result/worst_outside", b"learning_rate"):
        assert name in written


@pytest.mark.parametrize(
    ("kind", "library", "said"),
    [
        ("tensorboard", "torch.utils.tensorboard", "no TensorBoard here"),
        ("wandb", "wandb", "no Weights & Biases here"),
    ],
)
def test_missing_library_is_said_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=said) as caught:
        trained(tmp_path, f"training.loggers=[{kind}]")
    assert "deepclean-production[dashboards]" in str(caught.value)
    assert not list(tmp_path.glob("models/H1/30Hz/[0-9]*"))
