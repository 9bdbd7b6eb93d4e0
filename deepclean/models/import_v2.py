"""Training directories of deepcleanv2 in our format, where the network is the published one.

TorchScript is code and cannot be read as an architecture. But the shapes of the published
autoencoder's tensors give its widths, and its output shows whether it is that network: the network
built here must give the same samples.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from deepclean.errors import ModelError, one_line
from deepclean.models import deepcleanv2, tensors
from deepclean.models import files as models
from deepclean.models.deepcleanv2 import DeepCleanV2Settings
from deepclean.models.manifest import Channel, Description, Manifest, Origin
from deepclean.models.model import freeze
from deepclean.models.networks import build

_log = logging.getLogger(__name__)

AGREEMENT = 1e-5
"""Largest difference between TorchScript's output and ours, in units of its rms: float32."""


def read(
    path: Path, interferometer: str, coupling: str, strain_rate: int, rate: int | None = None
) -> tuple[dict[str, bytes], Manifest]:
    """Return a training directory of deepcleanv2 as a model of ours: files by name, and manifest.

    Args:
        path: the directory.
        interferometer: the new model's; the channels must belong to it.
        coupling: the new model's.
        strain_rate: in Hz; the directory does not state it.
        rate: Hz at which the network runs; None: what the directory states, or 4096, which it may
            not state.

    A network that was traced in training mode is imported as it is in evaluation, with the
    statistics of its training; the log says so.

    Raises:
        ModelError: the directory cannot be used, is another interferometer's, or its network is
            not the published one.
    """
    settings = deepcleanv2.read_settings(path)
    architecture, network = _published(path, settings)
    script = deepcleanv2.load(path, evaluated=network, rate=rate)
    if script.interferometer != interferometer:
        raise ModelError(f"is of {script.interferometer}, not {interferometer}", path=path)
    if rate is None and "sample_rate" not in settings.model_fields_set:
        _log.warning("%s: states no rate; %d Hz is taken (--rate)", path, script.sample_rate)
    description = Description(
        interferometer=interferometer,
        coupling=coupling,
        version=1,
        architecture=architecture,
        strain=Channel(name=settings.channels[0], rate=strain_rate),
        channels=tuple(Channel(name=name) for name in script.channels),
        sample_rate=script.sample_rate,
        bands=script.bands,
        bandpass={"filter": "butterworth", "order": settings.filt_order},
        kernel=script.kernel,
        edge=script.edge,
    )
    origin = Origin(
        format="deepcleanv2", coupling=script.coupling, version=None, sha256=script.hash
    )
    return models.make(network, script.scalers, description, origin)


def _published(path: Path, settings: DeepCleanV2Settings) -> tuple[dict[str, object], nn.Module]:
    """Return the published architecture, and its network with the weights of a directory's script.

    It is in evaluation mode, whatever mode the script is in for ever.
    """
    count, kernel = len(settings.witnesses), settings.kernel
    script = deepcleanv2.read_network(path)
    # Copies: each run of a network that was traced in training mode changes its statistics.
    held = [(name, tensor.clone()) for name, tensor in script.state_dict().items()]
    try:
        architecture = _architecture([tensor for _, tensor in held if tensor.ndim == 3])
        network = build(architecture, count)
        ours = network.state_dict()
        kinds = [name.rpartition(".")[2] for name, _ in held]
        if kinds != [name.rpartition(".")[2] for name in ours]:
            raise _OtherError("its layers are others")
        network.load_state_dict({name: held[n][1] for n, name in enumerate(ours)}, strict=True)
        trained = copy.deepcopy(network).train()
        network = freeze(network)
        difference = _difference(script.eval(), network, count, kernel)
        if not difference <= AGREEMENT:
            if not _difference(script, trained, count, kernel) <= AGREEMENT:
                raise _OtherError(
                    f"the same weights give other samples, by {difference:.1e} of rms"
                )
            _log.warning(
                "%s: was traced in training mode; imported as it is in evaluation, with the "
                "statistics of its training: validate it before it is promoted",
                path,
            )
    except (_OtherError, ModelError, RuntimeError) as error:
        raise _refusal(one_line(error)[:200], path) from error
    return architecture, network


def _architecture(kernels: Sequence[Tensor]) -> dict[str, object]:
    """Return the architecture whose convolutions have these weights, in this order."""
    strided = len(kernels) - 2
    if strided < 2 or strided % 2:
        raise _OtherError(f"it has {len(kernels)} convolutions")
    hidden = [int(kernel.shape[0]) for kernel in kernels[1 : 1 + strided // 2]]
    return {
        "name": "autoencoder",
        "hidden": hidden,
        "kernel_size": int(kernels[0].shape[2]),
    }


def _difference(script: nn.Module, network: nn.Module, channels: int, kernel: int) -> float:
    """Return the largest difference of two networks' outputs, in units of the first's rms."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn((2, channels, kernel), generator=generator)
    expected, output = tensors.infer(script, inputs), tensors.infer(network, inputs)
    if output.shape != expected.shape:
        return float("inf")
    scale = float(expected.square().mean().sqrt())
    return float((output - expected).abs().max()) / scale if scale else float("inf")


class _OtherError(Exception):
    """The network is not the published one; the message names a difference."""


def _refusal(reason: str, path: Path) -> ModelError:
    return ModelError(
        f"not the published autoencoder ({reason}), so it cannot be imported; it runs as "
        "TorchScript as it is: name its directory as the coupling's `model`",
        path=path,
    )
