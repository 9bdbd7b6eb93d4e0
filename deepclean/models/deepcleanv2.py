"""Training directories of deepcleanv2, loaded as they are.

Such a directory holds `model.pt` (TorchScript), `X_scaler.pt` and `y_scaler.pt` (state dicts with
`mean` and `std`) and `config.yaml`. The first of `data.channels` is the strain. The network's input
is the others sorted by name, which is also the witness scaler's order. The config states no
interferometer, version or edge: the channels' prefix, 0 and the measured receptive field are taken.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from torch import Tensor, nn

from deepclean.core.block import Float64
from deepclean.errors import ModelError, one_line
from deepclean.models import permissions
from deepclean.models.manifest import sha256
from deepclean.models.model import Model, freeze
from deepclean.models.networks import measure
from deepclean.models.tensors import Scalers, check_finite

MODEL, CONFIG = "model.pt", "config.yaml"
WITNESS_SCALER, STRAIN_SCALER = "X_scaler.pt", "y_scaler.pt"

EDGE_SECONDS = 0.2
"""Seconds that deepcleanv2 drops at a window's end; the edge where no field can be measured."""

_Frequencies = Annotated[
    list[float], BeforeValidator(lambda value: value if isinstance(value, list) else [value])
]


class DeepCleanV2Settings(BaseModel):
    """The keys of a config's `data` that are read; its other keys concern training only.

    Args:
        channels: the strain, then the witnesses.
        freq_low: lower edges of the bands, Hz.
        freq_high: upper edges, Hz.
        filt_order: order of the Butterworth bandpass of training and cleaning.
        sample_rate: Hz.
        kernel_length: window in seconds.
        clean_kernel_length: window for cleaning, where it differs from the training's.
    """

    channels: list[str] = Field(min_length=2)
    freq_low: _Frequencies = Field(min_length=1)
    freq_high: _Frequencies = Field(min_length=1)
    filt_order: int = 8
    sample_rate: float = 4096.0
    kernel_length: float = 1.0
    clean_kernel_length: float | None = None

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Witnesses in the order of the network's input."""
        return tuple(sorted(self.channels[1:]))

    @property
    def bands(self) -> tuple[tuple[float, float], ...]:
        """The bands, `(low, high)` in Hz."""
        return tuple(zip(self.freq_low, self.freq_high, strict=True))


def read_settings(path: Path) -> DeepCleanV2Settings:
    """Return the settings in the config of the training directory `path`.

    Raises:
        ModelError: the config cannot be read, or a key is absent or wrong.
    """
    return _settings(permissions.read(path / CONFIG), path / CONFIG)


def load(path: Path, device: str = "cpu") -> Model:
    """Load a training directory of deepcleanv2 as version 0 of the coupling that it is named for.

    Args:
        path: the directory.
        device: where the network is to run.

    Raises:
        ModelError: a file is missing or damaged, or the files do not fit together.
    """
    content = {
        name: permissions.read(path / name) for name in (CONFIG, WITNESS_SCALER, STRAIN_SCALER)
    }
    script = permissions.read(path / MODEL)
    settings = _settings(content[CONFIG], path / CONFIG)
    count = len(settings.witnesses)
    scalers = _scalers(content, path)
    scalers.check(count, path / WITNESS_SCALER)
    network = freeze(_Flat(_script(script, path / MODEL)))
    check_finite(network, path / MODEL)
    rate = int(settings.sample_rate)
    kernel = (settings.clean_kernel_length or settings.kernel_length) * settings.sample_rate
    if rate != settings.sample_rate or not kernel.is_integer() or kernel <= 0:
        raise ModelError("data: sample rate or kernel is not a whole number", path=path / CONFIG)
    try:
        seen = measure(network, count, int(kernel))
    except ModelError as error:
        raise ModelError(str(error), path=path / MODEL) from error
    if seen.period is None:
        edge = round(EDGE_SECONDS * rate)
    else:  # the receptive field, in whole periods
        edge = seen.period * -(-max(seen.reach) // seen.period)
    return Model(
        path=path,
        interferometer=settings.channels[0].partition(":")[0],
        coupling=path.resolve().name,
        version=0,
        hash=sha256(b"".join((script, *content.values()))),
        weights_hash=sha256(script),
        architecture={},
        channels=settings.witnesses,
        scalers=scalers,
        sample_rate=rate,
        bands=settings.bands,
        kernel=int(kernel),
        edge=edge,
        reach=seen.reach,
        period=seen.period,
        network=network.to(device),
        device=device,
    )


class _Flat(nn.Module):
    """Gives `(batch, time)` for a network whose output may be `(batch, 1, time)`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, witnesses: Tensor) -> Tensor:
        output: Tensor = self.inner(witnesses)
        return output[:, 0] if output.ndim == 3 and output.shape[1] == 1 else output


def _settings(content: bytes, path: Path) -> DeepCleanV2Settings:
    try:
        tree = YAML(typ="safe", pure=True).load(content)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"not a YAML file: {one_line(error)}", path=path) from error
    data = tree.get("data") if isinstance(tree, dict) else None
    try:
        settings = DeepCleanV2Settings.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(["data", *map(str, fault["loc"])])
        raise ModelError(f"{key}: {fault['msg']}", path=path) from error
    if len(settings.freq_low) != len(settings.freq_high):
        raise ModelError("data.freq_low and data.freq_high differ in length", path=path)
    return settings


def _script(content: bytes, path: Path) -> nn.Module:
    with warnings.catch_warnings():
        # TorchScript is deprecated, but deepcleanv2 wrote it and there is no other reader.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            network: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]
                io.BytesIO(content), map_location="cpu"
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"not a TorchScript file: {reason}", path=path) from error
    return network


def _scalers(content: dict[str, bytes], path: Path) -> Scalers:
    witness = _state(content[WITNESS_SCALER], path / WITNESS_SCALER)
    strain = _state(content[STRAIN_SCALER], path / STRAIN_SCALER)
    if strain[0].size != 1 or strain[1].size != 1:
        raise ModelError("mean and std are not single numbers", path=path / STRAIN_SCALER)
    # A channel that was constant in training has std 0 and was left unscaled there.
    std = np.where(witness[1] == 0, 1.0, witness[1])
    return Scalers(witness[0], std, float(strain[0][0]), float(strain[1][0]))


def _state(content: bytes, path: Path) -> tuple[Float64, Float64]:
    """Return a scaler's mean and std, each flattened to one dimension."""
    # torch.load's faults on a damaged file have no common base but Exception.
    try:
        state: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        mean, std = (
            np.asarray(state[key].numpy().reshape(-1), dtype=np.float64) for key in ("mean", "std")
        )
    except Exception as error:
        raise ModelError(
            f"not a state dict with mean and std: {type(error).__name__}: {one_line(error)[:200]}",
            path=path,
        ) from error
    return mean, std
