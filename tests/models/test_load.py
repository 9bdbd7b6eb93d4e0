import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deepclean import __version__
from deepclean.errors import ModelError, OutputError
from deepclean.models.files import load, write_model
from deepclean.models.manifest import Channel, sha256
from deepclean.models.model import Model
from deepclean.models.store import directory as coupling_directory
from tests.helpers.store_site import CHANNELS, SMALL, description, network, scalers


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_model(tmp_path, network(), scalers(), description())


def fault(path: Path) -> str:
    """Return what loading says; it is one line that names the place."""
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def visible(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))


def edit_manifest(path: Path, **changed: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changed))


def replace_file(path: Path, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Put other tensors in a file and make the manifest agree: a fault the hash cannot see."""
    save_file(tensors, path / name)
    files = json.loads((path / "manifest.json").read_text())["files"]
    edit_manifest(path, files=files | {name: sha256((path / name).read_bytes())})


def test_what_was_written_is_loaded(written: Path, tmp_path: Path) -> None:
    model = load(written)
    assert written == tmp_path / "H1" / "60Hz" / "1"
    assert (model.interferometer, model.coupling, model.version) == ("H1", "60Hz", 1)
    assert model.channels == CHANNELS  # the network's order, not the alphabet's
    assert (model.sample_rate, model.kernel, model.edge) == (512, 512, 32)
    assert model.bands == ((55.0, 65.0),)
    assert model.period == 4
    assert 0 < model.reach.after <= 32
    assert model.architecture == SMALL
    assert model.scalers.witness_mean.dtype == model.scalers.witness_std.dtype == np.float64
    assert np.array_equal(model.scalers.witness_mean, scalers().witness_mean)
    assert np.array_equal(model.scalers.witness_std, scalers().witness_std)
    assert (model.scalers.strain_mean, model.scalers.strain_std) == (-1.25e-25, 3.5e-22)
    assert model.hash == sha256((written / "manifest.json").read_bytes())


def test_a_loaded_network_gives_the_written_ones_samples(written: Path) -> None:
    inputs = torch.randn(2, 3, 512, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = network().eval()(inputs)
    output = load(written).predict(inputs)
    assert torch.equal(output, expected)
    assert output.is_inference()


def test_a_loaded_network_is_frozen(written: Path) -> None:
    model = load(written)
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    with pytest.raises(AttributeError):
        model.version = 2  # type: ignore[misc]


def test_writing_leaves_the_network_in_training(tmp_path: Path) -> None:
    trained = network().train()
    write_model(tmp_path, trained, scalers(), description())
    assert trained.training
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_equal_models_are_equal_bytes(tmp_path: Path) -> None:
    one = write_model(tmp_path / "one", network(), scalers(), description())
    two = write_model(tmp_path / "two", network(), scalers(), description())
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()
    assert len(list(one.iterdir())) == 4


def test_the_manifest_states_every_file_and_the_software(written: Path) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    assert manifest["schema_version"] == 2
    assert manifest["files"] == {
        file.name: sha256(file.read_bytes())
        for file in written.iterdir()
        if file.name != "manifest.json"
    }
    assert manifest["software_version"]
    assert manifest["validation"] == {"asd_ratio": 0.25}
    assert manifest["training"] == [[1_400_000_000 * 10**9, 1_400_000_064 * 10**9]]


def test_a_version_is_never_overwritten(written: Path, tmp_path: Path) -> None:
    before = (written / "manifest.json").read_bytes()
    with pytest.raises(ModelError, match="this version exists"):
        write_model(tmp_path, network(), scalers(), description(seed=8))
    assert (written / "manifest.json").read_bytes() == before
    assert visible(written.parent) == ["1"]
    assert not coupling_directory.leftovers(written.parent)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_model(tmp_path, network(), scalers(), description())
    assert caught.value.errno == 28
    assert not visible(tmp_path / "H1" / "60Hz")
    assert not coupling_directory.leftovers(tmp_path / "H1" / "60Hz")


@pytest.mark.parametrize("name", ["weights.safetensors", "scalers.safetensors"])
@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_flipped_bit_is_refused(written: Path, name: str, place: int) -> None:
    content = bytearray((written / name).read_bytes())
    content[place] ^= 1
    (written / name).write_bytes(content)
    assert "does not match the sha256" in fault(written)


@pytest.mark.parametrize(
    "name",
    ["weights.safetensors", "scalers.safetensors", "golden.safetensors", "manifest.json"],
)
def test_a_missing_file_is_named(written: Path, name: str) -> None:
    (written / name).unlink()
    message = fault(written)
    assert name in message
    assert "No such file" in message


def test_weights_of_another_shape_are_refused(written: Path) -> None:
    other = network(channels=4).state_dict()
    replace_file(written, "weights.safetensors", dict(other))
    assert "do not fit the architecture" in fault(written)


def test_weights_that_are_not_finite_are_refused(written: Path) -> None:
    weights = load_file(written / "weights.safetensors")
    weights["last.weight"][0, 0, 0] = torch.nan
    replace_file(written, "weights.safetensors", weights)
    assert "weight last.weight is not finite" in fault(written)


def test_other_weights_fail_the_golden_output(written: Path) -> None:
    weights = load_file(written / "weights.safetensors")
    weights["last.weight"] *= 1.001
    replace_file(written, "weights.safetensors", weights)
    said, this = fault(written), f"deepclean {__version__}, torch {torch.__version__}"
    assert "does not reproduce its golden output" in said
    assert f"(made by {this}, run by {this})" in said
    golden = load_file(written / "golden.safetensors")  # as the first versions wrote it
    replace_file(written, "golden.safetensors", golden)
    assert f"(made by deepclean {__version__}, run by {this})" in fault(written)


def test_a_file_that_is_no_tensor_file_is_refused(written: Path) -> None:
    (written / "weights.safetensors").write_bytes(b"not tensors")
    files = json.loads((written / "manifest.json").read_text())["files"]
    edit_manifest(written, files=files | {"weights.safetensors": sha256(b"not tensors")})
    assert "not a safetensors file" in fault(written)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("witness_std", [1.0, 0.0, 1.0], "not positive"),
        ("witness_mean", [1.0, float("nan"), 1.0], "not finite"),
        ("witness_mean", [1.0, 1.0], "2 witness mean values for 3 channels"),
    ],
)
def test_bad_scalers_are_refused(written: Path, name: str, value: list[float], said: str) -> None:
    tensors = load_file(written / "scalers.safetensors")
    tensors[name] = torch.tensor(value, dtype=torch.float64)
    replace_file(written, "scalers.safetensors", tensors)
    assert said in fault(written)


def test_an_absent_scaler_is_named(written: Path) -> None:
    tensors = load_file(written / "scalers.safetensors")
    del tensors["strain_std"]
    replace_file(written, "scalers.safetensors", tensors)
    assert "holds no strain_std" in fault(written)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"schema_version": 3}, "schema_version 3 is newer than what this software reads (2)"),
        ({"schema_version": 0}, "schema_version"),
        ({"kernel": 0}, "kernel"),
        ({"colour": "red"}, "colour"),
        ({"files": {"weights.safetensors": "short"}}, "files"),
        ({"interferometer": "../H1"}, "interferometer"),
        ({"architecture": {"name": "autoencodr"}}, "did you mean autoencoder"),
        ({"channels": [{"name": "H1:A", "rate": 256}]}, "made for other channels"),
        ({"channels": [{"name": f"H1:{n}", "rate": 256} for n in "ABC"]}, "another order of them"),
    ],
)
def test_unsuitable_manifest_is_refused(written: Path, changed: dict[str, Any], said: str) -> None:
    edit_manifest(written, **changed)
    with pytest.raises(ModelError) as caught:
        load(written)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_json_is_refused(written: Path) -> None:
    (written / "manifest.json").write_bytes(b"{")
    assert "not a valid manifest" in fault(written)


def test_a_copied_directory_keeps_its_number(written: Path) -> None:
    written.rename(written.with_name("2"))
    assert "holds version 1" in fault(written.with_name("2"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"edge": 8}, "an edge of 8 samples is shorter than the receptive field"),
        ({"kernel": 510}, "multiple of its total stride"),
        ({"channels": (Channel(name="H1:A", rate=16),)}, "3 witness mean values"),
    ],
)
def test_unfit_model_is_not_written(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        write_model(tmp_path, network(), scalers(), description(**changed))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    broken = network()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.inf)
    with pytest.raises(ModelError, match="is not finite"):
        write_model(tmp_path, broken, scalers(), description())


@pytest.fixture
def model(written: Path) -> Model:
    return load(written)


def test_a_model_for_the_configured_witnesses_passes(model: Model) -> None:
    model.require(("H1:A", "H1:B", "H1:C"), 512)


@pytest.mark.parametrize(
    ("channels", "rate", "said"),
    [
        (("H1:A", "H1:B", "H1:CC"), 512, r"not configured: H1:C$"),
        (("H1:A", "H1:B", "H1:C", "H1:D"), 512, "trained without H1:D"),
        (CHANNELS, 4096, "runs at 512 Hz, the configuration says 4096 Hz"),
    ],
)
def test_a_model_for_something_else_says_so(
    model: Model, channels: tuple[str, ...], rate: int, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        model.require(channels, rate)


@pytest.mark.parametrize("bands", [[(55.0, 65.0)], [(58.0, 62.0)], []])
def test_a_band_within_those_of_the_training_is_taken(
    model: Model, bands: list[tuple[float, float]]
) -> None:
    assert model.bands == ((55.0, 65.0),)
    model.require(model.channels, model.sample_rate, bands)


@pytest.mark.parametrize("band", [(105.0, 115.0), (54.0, 65.0), (60.0, 66.0)])
def test_a_band_that_the_model_was_not_trained_for_is_refused(
    model: Model, band: tuple[float, float]
) -> None:
    with pytest.raises(ModelError, match="was trained for 55-65 Hz, the configuration cleans"):
        model.require(model.channels, model.sample_rate, [band])
