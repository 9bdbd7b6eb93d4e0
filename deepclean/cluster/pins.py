"""The models and the configuration of a plan, pinned: later changes do not reach its shards.

The models are copied beside the file that pins them. Moving a pointer, pruning the store or
running on another machine therefore changes nothing. A model is identified by the sha256 that the
frames name it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deepclean import __version__
from deepclean.config import Config
from deepclean.errors import ConfigError, InputError, ModelError, output_errors
from deepclean.models import deepcleanv2
from deepclean.models.content import EQUATIONS, GOLDEN, SCALERS, WEIGHTS
from deepclean.models.loading import load_model, resolve_device
from deepclean.models.manifest import MANIFEST, Sha256
from deepclean.models.model import Model
from deepclean.system.atomic import publish

_FILES = (
    *(MANIFEST, WEIGHTS, SCALERS, GOLDEN, EQUATIONS),
    *(deepcleanv2.MODEL, deepcleanv2.CONFIG),
    *(deepcleanv2.WITNESS_SCALER, deepcleanv2.STRAIN_SCALER),
)
"""The files that a model directory may hold, in this project's format or deepcleanv2's."""


class ModelPin(BaseModel):
    """One pinned model: the path of its copy relative to the pinning file, version and hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    version: int
    sha256: Sha256


class RunPin(BaseModel):
    """The software, the configuration and the models that every shard of a plan runs with.

    Args:
        deepclean: version of the software.
        configuration: hash of the resolved configuration.
        models: the models by coupling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    deepclean: str
    configuration: Sha256
    models: Mapping[str, ModelPin]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the pins in a file.

        Raises:
            InputError: the file cannot be read, or it pins no models.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=path) from error
        except ValidationError as error:
            raise InputError("pins no models: name the pinned.json of a plan", path=path) from error


def pin(config: Config, loaded: Mapping[str, Model], path: Path) -> RunPin:
    """Copy the models beside the file that pins them, and write that file.

    Raises:
        OutputError: the files cannot be written.
        ModelError: a copy differs from the loaded model.
    """
    pinned = {}
    for name, model in loaded.items():
        place = Path("models", name, str(model.version))
        _copy(model.path, path.parent / place)
        pinned[name] = ModelPin(path=place, version=model.version, sha256=model.hash)
    whole = RunPin(deepclean=__version__, configuration=config.hash, models=pinned)
    publish(path, (whole.model_dump_json(indent=2) + "\n").encode())
    load_pinned(config, path, "cpu")
    return whole


def load_pinned(config: Config, path: Path, place: str | None = None) -> dict[str, Model]:
    """Load the models that a file pins, for the configuration that it pins.

    Args:
        config: the configuration in use.
        path: the pinning file.
        place: `cpu` or `cuda`; None for the configured device.

    Raises:
        InputError: the file cannot be read, or it pins no models.
        ConfigError: the configuration or the software differs from the pinned one.
        ModelError: a model is missing or differs from the pinned one.
        DeviceError: the device cannot be used (see `models.loading.load_models`).
    """
    pinned = RunPin.read(path)
    if pinned.deepclean != __version__:
        raise ConfigError(
            f"planned with deepclean {pinned.deepclean}, this is {__version__}: run that version, "
            "or plan again",
            path=path,
        )
    if pinned.configuration != config.hash:
        raise ConfigError(
            "the configuration is not the one that was planned with: name the config.yaml beside "
            "this file, without --set and without DEEPCLEAN__ variables",
            path=path,
        )
    place, loaded = place or resolve_device(config.runtime.device), {}
    for name, model in pinned.models.items():
        directory = path.parent / model.path
        loaded[name] = load_model(config, name, directory, place, named=True)
        if loaded[name].hash != model.sha256:
            raise ModelError("is another model than the one that was planned with", path=directory)
    return loaded


def _copy(source: Path, target: Path) -> None:
    with output_errors(target, "the model cannot be copied"):
        target.mkdir(parents=True)
        for name in _FILES:
            if (source / name).is_file():
                (target / name).write_bytes((source / name).read_bytes())
