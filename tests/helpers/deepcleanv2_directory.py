"""Training directories as deepcleanv2 leaves them, and a pickle that does harm."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn

from deepclean.models.model import Model

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


class Danger:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


class Reordered(nn.Module):
    """A network that takes its witnesses sorted by name, as deepcleanv2 gives them."""

    def __init__(self, network: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.order = list(order)

    def forward(self, witnesses: Tensor) -> Tensor:
        noise: Tensor = self.network(witnesses[:, self.order])
        return noise


class Plain(nn.Module):
    """The layers of our network one after the other, as TorchScript can hold them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = (network.first, network.down, network.up, network.last)
        self.layers = nn.Sequential(*layers)  # type: ignore[arg-type]

    def forward(self, witnesses: Tensor) -> Tensor:
        noise: Tensor = self.layers(witnesses)
        return noise[:, 0]


def write_deepcleanv2(model: Model, strain: str, directory: Path) -> None:
    """Write a model as deepcleanv2 leaves one."""
    directory.mkdir()
    witnesses = sorted(model.channels)
    order = [witnesses.index(name) for name in model.channels]
    script(Reordered(Plain(model.network), order), directory / "model.pt")
    position = [model.channels.index(name) for name in witnesses]
    scalers = model.scalers
    for name, mean, std in (
        ("X_scaler.pt", scalers.witness_mean[position], scalers.witness_std[position]),
        ("y_scaler.pt", np.array([scalers.strain_mean]), np.array([scalers.strain_std])),
    ):
        state = {"mean": torch.from_numpy(mean), "std": torch.from_numpy(std)}
        torch.save(state, directory / name)
    bands = {"freq_low": [low for low, _ in model.bands], "freq_high": [h for _, h in model.bands]}
    data = {"channels": [strain, *witnesses], **bands, "filt_order": 8}
    with (directory / "config.yaml").open("w") as file:
        YAML().dump({"data": data}, file)
