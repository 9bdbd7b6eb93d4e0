"""The models that a configuration names, loaded and checked for their couplings."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from deepclean.config import Config
from deepclean.errors import ConfigError, DeviceError, ModelError
from deepclean.models import device, packaged
from deepclean.models import files as models
from deepclean.models.content import model_path, model_store
from deepclean.models.model import Model
from deepclean.models.store import log as model_log
from deepclean.models.store.remote import RemoteStore, Transfer

_log = logging.getLogger(__name__)


def load_models(config: Config) -> dict[str, Model]:
    """Load every enabled coupling's model: the named directory, or the store's production version.

    Raises:
        ModelError: a model cannot be loaded, or was made for other witnesses or another rate.
        DeviceError: the device has no memory for the model, or is of no use.
    """
    place = resolve_device(config.runtime.device)
    pull_lacking(config)
    _require_production(config)
    return {
        name: load_model(config, name, model_path(config, name), place)
        for name in config.enabled_couplings
    }


def load_models_or_former(config: Config) -> dict[str, Model]:
    """Load as `load_models`; where a production version cannot be loaded, load a former one.

    This is for a daemon that starts again at night. It begins with the version that was in force
    before. It then takes the faulty version, and refuses it, as if that had been promoted now.

    Raises:
        ModelError: no version that was ever in production can be loaded; the message is about the
            last one.
        DeviceError: as load_models.
    """
    place, loaded = resolve_device(config.runtime.device), {}
    pull_lacking(config)
    _require_production(config)
    for name, coupling in config.enabled_couplings.items():
        try:
            loaded[name] = load_model(config, name, model_path(config, name), place)
        except ModelError as fault:
            directory = config.models.directory / config.interferometer / name
            if coupling.model is not None or not (directory / "production").exists():
                raise
            former = _former(config, name, place)
            if former is None:
                raise
            _log.error("%s: starting with version %d of before: %s", name, former.version, fault)
            loaded[name] = former
    return loaded


def remote_store(config: Config, name: str) -> RemoteStore | None:
    """Return the store elsewhere with a coupling's versions; None: no such store is configured."""
    if config.models.remote is None or config.couplings[name].model is not None:
        return None
    directory = config.models.directory / config.interferometer / name
    return RemoteStore(config.models.remote, directory)


def pull(config: Config, name: str, elsewhere: RemoteStore) -> Transfer:
    """Fetch a coupling's versions, and follow the pointers that changed there.

    Raises:
        ModelError, InputError, UnavailableError, OutputError: as RemoteStore.pull.
    """
    return elsewhere.pull(lambda path: load_model(config, name, path, "cpu"))


def pull_lacking(config: Config) -> None:
    """Fetch the models of the enabled couplings that have no production version here.

    Raises:
        ModelError, InputError, UnavailableError, OutputError: as RemoteStore.pull.
    """
    for name in config.enabled_couplings:
        directory = config.models.directory / config.interferometer / name
        elsewhere = remote_store(config, name)
        if elsewhere is not None and not os.path.lexists(directory / "production"):
            pull(config, name, elsewhere)


def _require_production(config: Config) -> None:
    """Raise ModelError where couplings have no production version; the message names them all."""
    store, ifo = config.models.directory, config.interferometer
    lacking = [
        name
        for name in config.enabled_couplings
        if config.couplings[name].model is None
        and not os.path.lexists(store / ifo / name / "production")
    ]
    if len(lacking) > 1 and (store / ifo).is_dir():
        raise ModelError(
            f"no production version of {', '.join(lacking)}: train them (`deepclean train -c "
            f"CONFIG {' '.join(lacking)} --start START --end END`), promote one that is there "
            f"(`deepclean models promote -c CONFIG {lacking[0]} VERSION`), or leave the coupling "
            f"out (`--set couplings.{lacking[0]}.enabled=false`, or in the file)",
            path=store / ifo,
        )


def _former(config: Config, name: str, place: str) -> Model | None:
    """Return the last version that was in production and can be loaded, or None."""
    directory = config.models.directory / config.interferometer / name
    for number in reversed(model_log.productions(model_log.read(directory).changes, None)):
        try:
            return load_model(config, name, directory / str(number), place)
        except ModelError:
            continue
    return None


def load_model(config: Config, name: str, path: Path, place: str, *, named: bool = False) -> Model:
    """Load a model for a coupling, checked as far as the configuration can tell.

    Args:
        config: holds the coupling.
        name: the coupling's name.
        path: the model's directory.
        place: the device, `cpu` or `cuda`.
        named: the directory was named outright and need not lie in the store.

    Raises:
        ModelError, DeviceError: as `load_models`.
    """
    packaged.admit(config.models.architectures)
    try:
        model = models.load(path, place, None if named else model_store(config, name))
    except RuntimeError as error:
        if not (device.is_short(error) or device.is_lost(error)):
            raise
        raise DeviceError(str(error).partition("\n")[0], coupling=name) from error
    coupling = config.couplings[name]
    model.require(coupling.witnesses, config.engine.rate, coupling.bands)
    return model


def load_version(config: Config, path: Path) -> Model:
    """Load a version of the configuration's store on the CPU, with the checks of the store.

    Raises:
        ModelError: as `files.load`.
    """
    packaged.admit(config.models.architectures)
    return models.load(path, store=config.models.directory)


def resolve_device(wanted: str) -> str:
    """Return the device that `wanted` names: `auto` is a GPU where there is one, else `cpu`.

    Raises:
        ConfigError: the wanted GPU is not there.
    """
    if wanted == "cpu":
        return wanted
    import torch

    kind, _, number = wanted.partition(":")
    if torch.cuda.is_available():
        if number and int(number) >= torch.cuda.device_count():
            raise ConfigError(
                f"{wanted}: there are only {torch.cuda.device_count()} CUDA devices here"
            )
        return wanted if number else "cuda"
    if kind == "cuda":
        raise ConfigError(f"{wanted}: no CUDA device here; use cpu or auto")
    return "cpu"
