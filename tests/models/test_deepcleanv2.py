"""A training directory of deepcleanv2, made as deepcleanv2 makes one."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from deepclean.errors import ModelError
from deepclean.models.deepcleanv2 import read_settings
from deepclean.models.load import load

CHANNELS = ["H1:GDS-CALIB_STRAIN", "H1:PEM-MAINS", "H1:ASC-Y", "H1:ASC-P"]
WITNESSES = ("H1:ASC-P", "H1:ASC-Y", "H1:PEM-MAINS")
DATA: dict[str, Any] = {
    "channels": CHANNELS,
    "kernel_length": 8,
    "clean_kernel_length": 1,
    "freq_low": [58.0],
    "freq_high": [62.0],
    "filt_order": 8,
    "train_duration": 1024,
}


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, transpose: bool = False) -> None:
        super().__init__()
        self.conv: nn.Module
        if transpose:
            self.conv = nn.ConvTranspose1d(before, after, 7, stride, 3, output_padding=1)
        else:
            self.conv = nn.Conv1d(before, after, 7, stride, 3)
        self.bn = nn.BatchNorm1d(after)
        self.activation = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.activation(self.bn(self.conv(x)))
        return y


class Autoencoder(nn.Module):
    """Laid out as the predecessor's; `keep` keeps the channel dimension of its output."""

    def __init__(self, witnesses: int, keep: bool = False) -> None:
        super().__init__()
        self.keep = keep
        self.input_conv = Block(witnesses, witnesses, 1)
        self.downsampler = nn.Sequential(Block(witnesses, 8, 2), Block(8, 16, 2))
        self.upsampler = nn.Sequential(Block(16, 8, 2, True), Block(8, witnesses, 2, True))
        self.output_conv = nn.Conv1d(witnesses, 1, 7, padding=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.output_conv(self.upsampler(self.downsampler(self.input_conv(x))))
        if self.keep:
            return y
        return y[:, 0]


def script(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        # What deepcleanv2 used; deprecated since.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]


def config(directory: Path, **changed: Any) -> None:
    data = {key: value for key, value in (DATA | changed).items() if value is not None}
    with (directory / "config.yaml").open("w") as file:
        YAML().dump({"model": {"patience": 20}, "data": data, "optimizer": {"lr": 0.2}}, file)


def network() -> Autoencoder:
    torch.manual_seed(4)
    return Autoencoder(3)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("v2") / "60Hz-run"
    directory.mkdir()
    script(network().train(), directory / "model.pt")
    mean, std = torch.tensor([[1.0], [-2.0], [3.0]]), torch.tensor([[0.5], [4.0], [0.0]])
    torch.save({"mean": mean, "std": std, "built": torch.tensor(True)}, directory / "X_scaler.pt")
    torch.save(
        {"mean": torch.tensor([2e-25]), "std": torch.tensor([3e-22])}, directory / "y_scaler.pt"
    )
    config(directory)
    return directory


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "60Hz-run"))


def fault(directory: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    assert str(directory) in str(caught.value)
    return str(caught.value)


def test_it_loads_as_it_is(directory: Path) -> None:
    model = load(directory)
    assert model.channels == WITNESSES
    assert (model.interferometer, model.coupling, model.version) == ("H1", "60Hz-run", 0)
    assert (model.sample_rate, model.kernel) == (4096, 4096)
    assert model.bands == ((58.0, 62.0),)
    assert model.period == 4
    assert model.receptive_field <= model.edge < model.receptive_field + 4
    assert model.scalers.witness_mean.tolist() == [1.0, -2.0, 3.0]
    assert model.scalers.witness_std.tolist() == [0.5, 4.0, 1.0]  # constant in training: unscaled
    assert model.scalers.strain_mean == pytest.approx(2e-25)
    assert model.scalers.strain_std == pytest.approx(3e-22)
    assert read_settings(directory).filt_order == 8


def test_it_predicts_as_deepcleanv2_does(directory: Path) -> None:
    inputs = torch.randn(2, 3, 4096, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network().eval()(inputs)
    output = load(directory).predict(inputs)
    assert torch.allclose(output, expected, rtol=0, atol=1e-6)


def test_loading_warns_of_nothing(directory: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(directory)


def test_an_output_with_a_channel_dimension_is_flattened(directory: Path) -> None:
    torch.manual_seed(4)
    script(Autoencoder(3, keep=True), directory / "model.pt")
    model = load(directory)
    assert model.predict(torch.zeros(2, 3, 4096)).shape == (2, 4096)
    assert model.period == 4


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_scalers_of_either_shape_are_taken(directory: Path, shape: tuple[int, ...]) -> None:
    values = torch.arange(1.0, 4.0).reshape(shape)
    torch.save({"mean": values, "std": values}, directory / "X_scaler.pt")
    torch.save({"mean": torch.tensor(0.0), "std": torch.tensor(2.0)}, directory / "y_scaler.pt")
    model = load(directory)
    assert np.array_equal(model.scalers.witness_std, [1.0, 2.0, 3.0])
    assert model.scalers.strain_std == 2.0


@pytest.mark.parametrize(
    ("changed", "rate", "kernel"),
    [
        ({"sample_rate": 2048}, 2048, 2048),
        ({"clean_kernel_length": None}, 4096, 8 * 4096),
        ({"clean_kernel_length": None, "kernel_length": None}, 4096, 4096),
        ({"clean_kernel_length": 0.5}, 4096, 2048),
    ],
)
def test_rate_and_kernel_are_read_where_they_are_stated(
    directory: Path, changed: dict[str, Any], rate: int, kernel: int
) -> None:
    config(directory, **changed)
    model = load(directory)
    assert (model.sample_rate, model.kernel) == (rate, kernel)


def test_several_bands_are_read(directory: Path) -> None:
    config(directory, freq_low=[58, 118], freq_high=[62, 122])
    assert load(directory).bands == ((58.0, 62.0), (118.0, 122.0))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": None}, "data.channels: Field required"),
        ({"freq_low": "low"}, "data.freq_low"),
        ({"freq_low": [58, 118]}, "differ in length"),
        ({"sample_rate": 4096.5}, "not a whole number"),
        ({"clean_kernel_length": 0.3}, "not a whole number"),
        ({"channels": CHANNELS[:3]}, "3 witness mean values for 2 channels"),
    ],
)
def test_an_unsuitable_config_is_refused(
    directory: Path, changed: dict[str, Any], said: str
) -> None:
    config(directory, **changed)
    assert said in fault(directory)


@pytest.mark.parametrize("content", [b"{", b"data: [1", b"just words", b"\xff\xfe\x00"])
def test_a_config_that_is_none_is_refused(directory: Path, content: bytes) -> None:
    (directory / "config.yaml").write_bytes(content)
    assert "config.yaml" in fault(directory)


@pytest.mark.parametrize("name", ["model.pt", "X_scaler.pt", "y_scaler.pt"])
@pytest.mark.parametrize("content", [b"", b"not a file of torch's"])
def test_a_damaged_file_is_named(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    assert name in fault(directory)


@pytest.mark.parametrize("name", ["config.yaml", "X_scaler.pt", "y_scaler.pt"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    message = fault(directory)
    assert name in message
    assert "No such file" in message


class Danger:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(directory: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    torch.save({"mean": Danger(trap), "std": torch.ones(3)}, directory / "X_scaler.pt")
    assert "not a state dict with mean and std" in fault(directory)
    assert not trap.exists()


def test_a_network_for_other_channels_is_refused(directory: Path) -> None:
    script(Autoencoder(4), directory / "model.pt")
    assert "model.pt" in fault(directory)
