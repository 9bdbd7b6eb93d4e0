"""The directory of a model: written whole, loaded with every check.

`models/<interferometer>/<coupling>/<version>/` holds `weights.safetensors`, `scalers.safetensors`,
`golden.safetensors`, `manifest.json` (models.manifest) and, for a closed form,
`equations.safetensors` (models.reduced.equations). A directory appears under its final name
complete, by a rename. Loading trusts nothing: every file is hashed as the very bytes that are then
used, and the network must reproduce the golden output. Nothing is unpickled. A training directory
of deepcleanv2 loads through the same function (models.deepcleanv2).
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from deepclean import __version__
from deepclean.errors import ModelError
from deepclean.models import deepcleanv2, tensors
from deepclean.models.closed_form import ClosedForm
from deepclean.models.content import EQUATIONS, GOLDEN, SCALERS, WEIGHTS, read_version
from deepclean.models.manifest import MANIFEST, Description, Manifest, Origin, sha256
from deepclean.models.model import Model, freeze
from deepclean.models.networks import build, measure
from deepclean.models.reduced.equations import Equations
from deepclean.models.store import directory as coupling_directory
from deepclean.models.store import permissions
from deepclean.models.tensors import Scalers


def write_model(
    models: Path, network: nn.Module, scalers: Scalers, description: Description
) -> Path:
    """Write a model into the store `models`, loaded before it appears; return its directory.

    Raises:
        ModelError: as `make`, or the version exists.
        OutputError: the file system refused.
    """
    content, manifest = make(network, scalers, description)
    directory = models / description.interferometer / description.coupling
    with coupling_directory.changing(directory):
        return coupling_directory.appear(
            directory, content, manifest, load, version=description.version
        )


def make(
    network: nn.Module, scalers: Scalers, description: Description, origin: Origin | None = None
) -> tuple[dict[str, bytes], Manifest]:
    """Return a model as it lies in the store: its files by name, and its manifest.

    The receptive field and the period are measured here.

    Args:
        network: a copy on the CPU, in evaluation mode, is measured and written.
        scalers: the scalers of its channels.
        description: everything else about the model.
        origin: where the model was copied from.

    Raises:
        ModelError: network, scalers and description do not fit one another, a weight is not
            finite, or the edge is shorter than the receptive field.
    """
    path = Path(description.interferometer, description.coupling, str(description.version))
    ready = freeze(copy.deepcopy(network).to("cpu"))
    count = len(description.channels)
    tensors.check_finite(ready, path)
    scalers.check(count, path)
    seen = measure(ready, count, description.kernel)
    if seen.period is not None and description.edge < seen.reach.after:
        raise ModelError(
            f"an edge of {description.edge} samples is shorter than the receptive field "
            f"of {seen.reach.after}",
            path=path,
        )
    short = seen.period is not None and description.kernel > tensors.GOLDEN_SAMPLES
    content = {
        WEIGHTS: tensors.serialise(ready.state_dict()),
        SCALERS: scalers.serialise([channel.name for channel in description.channels]),
        GOLDEN: tensors.golden(
            ready, count, tensors.GOLDEN_SAMPLES if short else description.kernel
        ),
    }
    if isinstance(ready, ClosedForm) and ready.equations is not None:
        ready.equations.check(len(ready.weights), count, path)
        content[EQUATIONS] = ready.equations.serialise()
    manifest = Manifest(
        **description.model_dump(),
        receptive_field=seen.reach.before if seen.reach.before == seen.reach.after else seen.reach,
        period=seen.period,
        files={name: sha256(data) for name, data in content.items()},
        software_version=__version__,
        origin=origin,
    )
    return content, manifest


def load(path: Path, device: str = "cpu", store: Path | None = None) -> Model:
    """Load a model directory, ours or deepcleanv2's, and check it.

    Args:
        path: the version's directory.
        device: where the network is to run (`cpu`, `cuda`, `cuda:1`).
        store: the store of which it is a version. The version must lie in it and be writable for
            its owner only (models.permissions). None for a directory named outright.

    Raises:
        ModelError: a file is missing, damaged, edited, not to be trusted or does not fit the
            others; weights or scalers are not finite; or the network does not reproduce its
            golden output.
    """
    script = not (path / MANIFEST).exists() and (path / "model.pt").exists()
    if store is not None:
        permissions.check_directory(path, store)
        if script:
            raise ModelError(
                "TorchScript does not belong in the store: import it (`deepclean models import -c "
                "CONFIG DIR COUPLING`), or name its directory as the coupling's `model`",
                path=path,
            )
    elif script:
        return deepcleanv2.load(path, device)
    raw, manifest, content = read_version(path, store)
    channels = tuple(channel.name for channel in manifest.channels)
    scalers = Scalers.parse(content[SCALERS], path / SCALERS, channels)
    scalers.check(len(channels), path / SCALERS)
    with torch.random.fork_rng(devices=[]):  # the random weights are about to be replaced
        network = build(manifest.architecture, len(channels))
    weights = path / WEIGHTS
    tensors.fill(network, tensors.parse(content[WEIGHTS], weights), weights)
    network = freeze(network.to(device))
    made_by = f"deepclean {manifest.software_version}"
    tensors.check_golden(network, content[GOLDEN], device, path / GOLDEN, made_by)
    if isinstance(network, ClosedForm) and EQUATIONS in content:
        network.equations = Equations.parse(content[EQUATIONS], path / EQUATIONS)
        network.equations.check(len(network.weights), len(channels), path / EQUATIONS)
    return Model(
        path=path,
        interferometer=manifest.interferometer,
        coupling=manifest.coupling,
        version=manifest.version,
        hash=sha256(raw),
        weights_hash=manifest.files[WEIGHTS],
        architecture=manifest.architecture,
        channels=channels,
        scalers=scalers,
        sample_rate=manifest.sample_rate,
        bands=manifest.bands,
        kernel=manifest.kernel,
        edge=manifest.edge,
        reach=manifest.reach,
        period=manifest.period,
        network=network,
        device=device,
        loudest=manifest.validation.get("loudest", 0.0),
    )
