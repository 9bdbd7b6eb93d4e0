"""The files of a version of a model: found, read and held against their hashes, without torch."""

from __future__ import annotations

from pathlib import Path

from deepclean.config import Config
from deepclean.errors import ModelError
from deepclean.models.manifest import MANIFEST, Manifest, sha256
from deepclean.models.store import permissions, versions

WEIGHTS, SCALERS, GOLDEN = "weights.safetensors", "scalers.safetensors", "golden.safetensors"

EQUATIONS = "equations.safetensors"
"""The normal equations of a closed form (models.reduced.equations). With `p` parameters it holds
`8 (p^2 + 4 p)` bytes and `p` times the number of channels: 50 kB for 63 parameters and 21
witnesses."""

PICTURE = "training.png"
"""What a training drew. It lies beside a model and is no part of it: nothing depends on it."""

EPOCHS = "epochs.csv"
"""The table of a training's epochs, for people: nothing depends on it, so it has no hash."""


def read_version(path: Path, store: Path | None = None) -> tuple[bytes, Manifest, dict[str, bytes]]:
    """Return a version's manifest, as bytes and parsed, and its files, whose hashes agree with it.

    Args:
        path: the version's directory.
        store: as `files.load`.

    Raises:
        ModelError: a file is missing, damaged, edited or not to be trusted.
    """
    raw = permissions.read(path / MANIFEST, store)
    manifest = Manifest.parse(raw, path / MANIFEST)
    if path.name.isdigit() and int(path.name) != manifest.version:
        raise ModelError(
            f"holds version {manifest.version}: a copied directory keeps its number", path=path
        )
    names = [WEIGHTS, SCALERS, GOLDEN, *([EQUATIONS] if EQUATIONS in manifest.files else [])]
    content = {name: permissions.read(path / name, store) for name in names}
    for name, data in content.items():
        if manifest.files.get(name) != sha256(data):
            raise ModelError(
                "does not match the sha256 in the manifest: damaged or edited; copy it again",
                path=path / name,
            )
    return raw, manifest, content


def model_path(config: Config, name: str) -> Path:
    """Return the directory of the model in force for a coupling.

    Raises:
        ModelError: the store has no production version of it.
    """
    named = config.couplings[name].model
    if named is not None:
        return named
    return versions.resolve(config.models.directory, config.interferometer, name)


def model_store(config: Config, name: str) -> Path | None:
    """Return the store that a coupling's model is from; None where its directory was named."""
    return config.models.directory if config.couplings[name].model is None else None
