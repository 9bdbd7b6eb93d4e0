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
from deepclean.models.manifest import sha256
from deepclean.models.model import Model, freeze
from deepclean.models.networks import measure
from deepclean.models.store import permissions
from deepclean.models.tensors import Scalers, check_finite, infer

MODEL, CONFIG = "model.pt", "config.yaml"
WITNESS_SCALER, STRAIN_SCALER = "X_scaler.pt", "y_scaler.pt"

EDGE_SECONDS = 0.2
"""Seconds that deepcleanv2 drops at a window's end; the edge where no field can be measured."""

_REPEATED = 1e-4
"""Largest difference of the same samples from another batch, in units of their rms: float32."""

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
    def kernel(self) -> int:
        """The window for cleaning in samples, rounded."""
        return round((self.clean_kernel_length or self.kernel_length) * self.sample_rate)

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


def load(
    path: Path,
    device: str = "cpu",
    *,
    evaluated: nn.Module | None = None,
    rate: int | None = None,
) -> Model:
    """Load a training directory of deepcleanv2 as version 0 of the coupling that it is named for.

    Args:
        path: the directory.
        device: where the network is to run.
        evaluated: a network that runs in place of the directory's TorchScript.
        rate: Hz; None: `data.sample_rate`, or deepcleanv2's default.

    Raises:
        ModelError: a file is missing or damaged, the files do not fit together, or the network
            gives other samples each time.
    """
    content = {
        name: permissions.read(path / name) for name in (CONFIG, WITNESS_SCALER, STRAIN_SCALER)
    }
    script = permissions.read(path / MODEL)
    settings = _settings(content[CONFIG], path / CONFIG)
    if rate is not None:
        settings = settings.model_copy(update={"sample_rate": float(rate)})
    count = len(settings.witnesses)
    scalers = _scalers(content, path)
    scalers.check(count, path / WITNESS_SCALER)
    network = freeze(evaluated or _Flat(_script(script, path / MODEL)))
    check_finite(network, path / MODEL)
    rate = int(settings.sample_rate)
    kernel = (settings.clean_kernel_length or settings.kernel_length) * settings.sample_rate
    if rate != settings.sample_rate or not kernel.is_integer() or kernel <= 0:
        raise ModelError("data: sample rate or kernel is not a whole number", path=path / CONFIG)
    check_repeatable(network, count, int(kernel), path / MODEL)
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


def read_network(path: Path) -> nn.Module:
    """Return the network of a training directory as it was written, unlike `load` unchecked.

    Raises:
        ModelError: the file cannot be read, or is no TorchScript.
    """
    return _Flat(_script(permissions.read(path / MODEL), path / MODEL))


def check_repeatable(network: nn.Module, channels: int, kernel: int, path: Path) -> None:
    """Raise ModelError unless a network takes float32 and gives a window the same samples always.

    Other weights than float32, dropout that was left on, or a network that was traced in training
    mode would else be found at the first frame, and at each one after it.
    """
    inputs = torch.randn(2, channels, kernel, generator=torch.Generator().manual_seed(3))
    try:
        both, again, alone = (infer(network, one) for one in (inputs, inputs, inputs[:1]))
    except RuntimeError as error:
        said = one_line(error)[-200:]
        raise ModelError(f"the network does not run on float32: {said}", path=path) from error
    if not (torch.isfinite(both).all() and torch.isfinite(alone).all()):
        raise ModelError("the network gives values that are no numbers", path=path)
    scale = float(both.square().mean().sqrt())
    if not float((both[:1] - alone).abs().max()) <= _REPEATED * scale:
        raise ModelError(
            "the network's output depends on what else is in the batch: it was traced in training "
            "mode, without eval(); `deepclean models import -c CONFIG DIR COUPLING` makes the "
            "evaluated network of it, where it is the published one",
            path=path,
        )
    if not float((both - again).abs().max()) <= _REPEATED * scale:
        raise ModelError(
            "the network gives other samples each time: dropout was left on", path=path
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
