"""The tensor files of a model directory: weights, scalers and the golden pair, and their checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deepclean import __version__
from deepclean.core.block import Float64
from deepclean.errors import ModelError, one_line

GOLDEN_SAMPLES = 256
"""Length of the golden input; a multiple of every shift period that is measured."""

GOLDEN_TOLERANCE = 1e-4
"""Largest departure from the golden output, in units of its rms: float32 on any device."""


@dataclass(frozen=True, slots=True, eq=False)
class Scalers:
    """Means and standard deviations of a network's input and target: `(x - mean) / std`.

    Args:
        witness_mean: shape `(channels,)`, in the order of the network's input.
        witness_std: positive, shape `(channels,)`.
        strain_mean: mean of the bandpassed strain.
        strain_std: standard deviation of the bandpassed strain, positive.
    """

    witness_mean: Float64
    witness_std: Float64
    strain_mean: float
    strain_std: float

    def check(self, channels: int, path: Path) -> None:
        """Raise ModelError unless there is a finite mean and a positive std per channel."""
        for name, values in (("mean", self.witness_mean), ("std", self.witness_std)):
            if values.shape != (channels,):
                raise ModelError(
                    f"{values.size} witness {name} values for {channels} channels", path=path
                )
        means = np.append(self.witness_mean, self.strain_mean)
        stds = np.append(self.witness_std, self.strain_std)
        if not (np.isfinite(means).all() and np.isfinite(stds).all() and (stds > 0).all()):
            raise ModelError("a mean or std is not finite, or a std is not positive", path=path)

    def serialise(self, channels: Sequence[str]) -> bytes:
        """Return the bytes of the scalers' file, which names their channels."""
        names = "\n".join(channels).encode()
        return serialise(
            {
                "channels": torch.frombuffer(bytearray(names), dtype=torch.uint8),
                "witness_mean": torch.from_numpy(self.witness_mean.copy()),
                "witness_std": torch.from_numpy(self.witness_std.copy()),
                "strain_mean": torch.tensor(self.strain_mean, dtype=torch.float64),
                "strain_std": torch.tensor(self.strain_std, dtype=torch.float64),
            }
        )

    @staticmethod
    def parse(content: bytes, path: Path, channels: Sequence[str]) -> Scalers:
        """Return the scalers of these channels, which `content` holds.

        Raises:
            ModelError: a scaler is absent, or they belong to other channels or another order.
        """
        tensors = parse(content, path)
        # The first files of this format do not name the channels.
        if "channels" in tensors:
            made_for = bytes(tensors["channels"].tolist()).decode(errors="replace").split("\n")
            if made_for != list(channels):
                raise ModelError(
                    "was made for other channels, or another order of them, than the manifest "
                    "says: edited; copy the version again",
                    path=path,
                )
        try:
            mean, std = (tensors[f"witness_{name}"].numpy() for name in ("mean", "std"))
            strain_mean, strain_std = (float(tensors[f"strain_{name}"]) for name in ("mean", "std"))
        except KeyError as error:
            raise ModelError(f"holds no {error.args[0]}", path=path) from error
        return Scalers(mean.astype(np.float64), std.astype(np.float64), strain_mean, strain_std)


def serialise(tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None) -> bytes:
    """Return a safetensors file of copies of `tensors`; equal ones, and notes, give equal bytes."""
    return safetensors.torch.save(
        {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()},
        None if notes is None else dict(notes),
    )


def parse(content: bytes, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file that was read from `path`.

    Raises:
        ModelError: it is not such a file.
    """
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise ModelError(f"not a safetensors file: {error}", path=path) from error


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load `weights` into `network`: all its weights and no others.

    Raises:
        ModelError: names or shapes differ, or a weight is not finite.
    """
    try:
        network.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit the architecture: {one_line(error)}", path=path
        ) from error
    check_finite(network, path)


def check_finite(network: nn.Module, path: Path) -> None:
    """Raise ModelError where a weight or buffer of `network` is not finite."""
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"weight {name} is not finite", path=path)


# Networks run in full float32, and the same each time, on any device. TF32, the default of
# convolutions on recent GPUs, keeps ten bits: 1e-3 of the scale. The flags are the process's. So
# they are set once, before any thread runs a network: to set and reset them around each call would
# let a thread reset them under another's call.
torch.backends.cudnn.benchmark = False
torch.backends.cudnn.deterministic = True
torch.backends.cudnn.allow_tf32 = False


def infer(network: nn.Module, witnesses: Tensor) -> Tensor:
    """Return a network's output without gradients and in full float32, on any device."""
    with torch.inference_mode():
        output: Tensor = network(witnesses)
    return output


def software() -> str:
    """Return the versions that the output of a network depends on, in words."""
    return f"deepclean {__version__}, torch {torch.__version__}"


def golden(network: nn.Module, channels: int, samples: int) -> bytes:
    """Return the golden file: a fixed standardised input and this network's output for it.

    Notes in it name the software that gave the output.
    """
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1, channels, samples, generator=generator)
    made = {"input": inputs, "output": infer(network, inputs)}
    return serialise(made, {"software": software()})


def _notes(content: bytes) -> Mapping[str, str]:
    """Return the notes of a safetensors file; none where it has none.

    The file begins with the length of its header, 8 bytes, and the header, which is JSON.
    """
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: Mapping[str, str] = header.get("__metadata__", {})
    return found


def check_golden(network: nn.Module, content: bytes, device: str, path: Path, made_by: str) -> None:
    """Raise ModelError unless a network gives the golden output.

    Args:
        network: on `device`.
        content: of the golden file.
        device: where the network runs.
        path: of the golden file.
        made_by: the software that made the model, in words, where the file does not say more.
    """
    tensors = parse(content, path)
    if not {"input", "output"} <= tensors.keys():
        raise ModelError("holds no golden input and output", path=path)
    expected = tensors["output"]
    try:
        output = infer(network, tensors["input"].to(device)).cpu()
    except (torch.AcceleratorError, torch.OutOfMemoryError):
        raise  # the device failed, not the model
    except RuntimeError as error:
        raise ModelError(
            f"the network refuses its golden input: {one_line(error)}", path=path
        ) from error
    scale = float(expected.square().mean().sqrt())
    if output.shape != expected.shape or not bool(
        ((output - expected).abs() <= GOLDEN_TOLERANCE * scale).all()
    ):
        raise ModelError(
            f"the network does not reproduce its golden output on {device}: weights and software "
            f"do not belong together (made by {_notes(content).get('software', made_by)}, run by "
            f"{software()})",
            path=path,
        )
