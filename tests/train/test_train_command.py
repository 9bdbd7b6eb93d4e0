"""Training from data to a published model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepclean.errors import ConfigError, DeepCleanError, InputError, ModelError, OutputError
from deepclean.models.files import load
from deepclean.models.model import Model
from deepclean.models.store.versions import read_pointer
from deepclean.train import Progress, TrainingData, train
from tests.helpers.training_site import LINE, MOTION, STRAIN, channels, toy_config, toy_data

SECONDS = 120
SHORT = ("training.epochs=4", "training.validation_seconds=16", "training.validation_fraction=0.25")
SMALL = ("training.architecture=autoencoder", "training.architecture_options={hidden: [8, 8]}")
QUICK = (
    "training.architecture_options={hidden: [16]}",
    "training.loss=log_asd_ratio",
    "training.epochs=15",
    "training.batch_size=1",
    "training.learning_rate=0.01",
)
WIENER = ("training.architecture=wiener", "training.architecture_options={taps: 33}")


def trained(
    place: Path, *overrides: str, data: TrainingData | None = None, **options: Any
) -> Model:
    chosen = overrides if "training.architecture=wiener" in overrides else (*SMALL, *overrides)
    config = toy_config(place, *SHORT, *chosen)
    return load(train(config, "30Hz", data or toy_data(SECONDS), place / "models", **options))


def weights(model: Model) -> dict[str, torch.Tensor]:
    return dict(model.network.state_dict())


def same(one: Model, two: Model) -> bool:
    """Return whether two models have the same weights, bit for bit."""
    return all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(one).items())


def manifest(model: Model) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((model.path / "manifest.json").read_text())
    return read


class StoppedError(Exception):
    """Somebody pressed control-C."""


def stop_after(epoch: int) -> Callable[[Progress], None]:
    def stop(progress: Progress) -> None:
        if progress.epoch == epoch and progress.step == 1 and progress.asd_ratio is None:
            raise StoppedError

    return stop


TOLD: list[Progress] = []
"""What the training of the reference told of its progress."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return trained(tmp_path_factory.mktemp("reference"), progress=TOLD.append)


def test_a_training_publishes_a_model_with_its_manifest(reference: Model) -> None:
    facts = manifest(reference)
    assert (reference.coupling, reference.version) == ("30Hz", 1)
    assert reference.channels == (LINE, MOTION)
    assert facts["channels"] == [{"name": LINE, "rate": 256}, {"name": MOTION, "rate": 64}]
    assert facts["strain"] == {"name": STRAIN, "rate": 512}
    assert facts["architecture"] == {"name": "autoencoder", "hidden": [8, 8]}
    assert facts["bandpass"]["transition"] == 16
    assert (facts["sample_rate"], facts["kernel"], facts["edge"]) == (256, 256, 64)
    assert (reference.period, facts["seed"]) == (4, 5)
    first, last = facts["training"][0]
    assert (last - first) == 90 * 10**9
    figures = facts["validation"]
    assert set(figures) >= {
        "asd_ratio",
        "asd_ratio_error",
        "worst_outside",
        "seconds",
        "gain_sigma",
        "out_dq_ratio",
        "gate_open",
        "gate_seconds",
        "epoch",
        "epoch_asd_ratio",
        "network_gain",
        "network_gain_sigma",
    }
    assert 1 <= figures["epoch"] <= 4
    assert 0 < figures["asd_ratio"] < 2  # hardly trained
    assert not (reference.path.parent / ".training").exists()
    assert read_pointer(reference.path.parent, "production") is None


@pytest.mark.slow
def test_seed_decides_the_weights(reference: Model, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    again = trained(tmp_path)
    assert same(reference, again)
    assert torch.equal(before, torch.get_rng_state())
    assert not same(reference, trained(tmp_path, "training.seed=6"))


@pytest.mark.parametrize("epoch", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_interrupted_training_ends_the_same(reference: Model, tmp_path: Path, epoch: int) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, progress=stop_after(epoch))
    assert (tmp_path / "models/H1/30Hz/.training/checkpoint.pt").exists()
    epochs: list[int] = []
    model = trained(tmp_path, resume=True, progress=lambda p: epochs.append(p.epoch))
    assert min(epochs) == epoch
    assert same(reference, model)
    assert manifest(model)["validation"] == manifest(reference)["validation"]
    assert model.version == 1


def test_without_resume_a_checkpoint_is_ignored(reference: Model, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, progress=stop_after(2))
    epochs: list[int] = []
    assert same(reference, trained(tmp_path, progress=lambda p: epochs.append(p.epoch)))
    assert min(epochs) == 0


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, progress=stop_after(2))
    with pytest.raises(ConfigError, match="other settings or data"):
        trained(tmp_path, "training.learning_rate=0.003", resume=True)
    with pytest.raises(ConfigError, match="other settings or data"):
        trained(tmp_path, resume=True, data=toy_data(SECONDS - 10))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, progress=stop_after(2))
    checkpoint = tmp_path / "models/H1/30Hz/.training/checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match="the checkpoint cannot be read"):
        trained(tmp_path, resume=True)


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    seen: list[Progress] = []
    model = trained(
        tmp_path,
        "training.epochs=30",
        "training.patience=1",
        "training.learning_rate=1.0",
        progress=seen.append,
    )
    ratios = [p.asd_ratio for p in seen if p.asd_ratio is not None]
    assert len(ratios) < 30
    figures = manifest(model)["validation"]
    assert figures["epoch"] == len(ratios) - 1  # one without a better score, and it stops
    if figures["epoch"] > 0:
        assert figures["epoch_asd_ratio"] == ratios[int(figures["epoch"]) - 1]


def test_fine_tuning_starts_from_the_parent(reference: Model, tmp_path: Path) -> None:
    slow = ("training.learning_rate=1e-9", "training.epochs=1", "training.freeze_after=0.001")
    moved = {LINE: channels(SECONDS)[LINE] * 2}
    child = trained(tmp_path, *slow, parent=reference, data=toy_data(SECONDS, replaced=moved))
    assert manifest(child)["parent_version"] == 1
    assert manifest(child)["parent_weights"] == reference.weights_hash
    assert np.array_equal(child.scalers.witness_std, reference.scalers.witness_std)
    assert child.scalers.strain_std == reference.scalers.strain_std
    for name, tensor in weights(child).items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, weights(reference)[name], atol=1e-3)


def test_a_parent_of_another_kind_is_refused(reference: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be fine-tuned"):
        trained(tmp_path, "training.architecture_options={hidden: [4]}", parent=reference)
    baseline = trained(tmp_path, *WIENER)
    with pytest.raises(ConfigError, match="solved, not fine-tuned"):
        trained(tmp_path, *WIENER, parent=baseline)


@pytest.mark.slow
def test_network_beats_the_wiener_filter_at_a_product(tmp_path: Path) -> None:
    data = toy_data(300)
    baseline = trained(tmp_path, *WIENER, data=data)
    learned = trained(tmp_path, *QUICK, data=data)
    made = channels(300)
    from deepclean.core.spectra import band_ratio

    part = slice(225 * 512, 300 * 512)
    best = band_ratio(made["floor"][part], made[STRAIN][part], 512, ((25.0, 35.0),))
    ratios = [manifest(model)["validation"]["asd_ratio"] for model in (baseline, learned)]
    assert best < 0.75
    # The line is linear, what it is multiplied with is not.
    assert 1.15 * best < ratios[0] < 1
    assert ratios[1] < 1.1 * best


@pytest.mark.usefixtures("reference")
def test_progress_is_told_of_every_batch_and_every_epoch() -> None:
    ends = [p for p in TOLD if p.asd_ratio is not None]
    steps = TOLD[0].steps
    # 88 s of data in batches of four windows of 4 s.
    assert steps == 5
    assert [(p.epoch, p.step) for p in ends] == [(epoch, steps) for epoch in (1, 2, 3, 4)]
    assert len(TOLD) == 4 * (steps + 1)
    assert all(p.loss is not None and np.isfinite(p.loss) for p in ends)


@pytest.mark.parametrize(
    ("overrides", "kind", "said"),
    [
        (("training.architecture=autoencodr",), ModelError, "did you mean autoencoder"),
        (("training.loss=asd_ration",), ConfigError, "did you mean asd_ratio"),
        (("training.loss_options={fft_length: 0.02}",), ConfigError, "no bin of a 0.02 s"),
        (("training.window=100",), InputError, "no training stretch holds one window"),
        (("training.window=1",), ConfigError, "training.window: too short for the loss log1p"),
        (("training.window=2.50390625",), ConfigError, "641 samples are not a multiple of the"),
        (("couplings.30Hz.predict.edge=0.03125",), ConfigError, "receptive field"),
        (("couplings.30Hz.witnesses=[LINE, MOTON]",), InputError, "did you mean H1:MOTION"),
        (("training.learning_rate=1e30",), ModelError, "no longer finite"),
    ],
)
def test_what_cannot_be_trained_says_why(
    tmp_path: Path, overrides: tuple[str, ...], kind: type[DeepCleanError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        trained(tmp_path, *overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("models/H1/30Hz/[0-9]*"))


def test_a_table_that_cannot_be_written_is_the_outputs_fault(tmp_path: Path) -> None:
    (tmp_path / "models/H1/30Hz").mkdir(parents=True)
    (tmp_path / "models/H1/30Hz/.training").write_text("in the way")
    with pytest.raises(OutputError, match=r"/\.training/epochs\.csv: cannot be written"):
        trained(tmp_path)
