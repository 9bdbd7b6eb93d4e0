"""Arguments that the commands of `deepclean models` share, and the lookup of what they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli.terminal import completion
from deepclean.config import Config
from deepclean.errors import ConfigError, ModelError, hint
from deepclean.models.store import versions

CouplingArgument = Annotated[
    str, typer.Argument(help="Name of the coupling.", autocompletion=completion.couplings)
]
AnyCoupling = Annotated[
    str | None,
    typer.Argument(
        help="Name of the coupling; default: all couplings.", autocompletion=completion.couplings
    ),
]
VersionArgument = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="A number, `production` or `canary`.",
        autocompletion=completion.model_versions,
    ),
]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason for the log.")]


def directory(config: Config, coupling: str) -> Path:
    """Return a coupling's directory in the store.

    Raises:
        ConfigError: no such coupling; the message names the nearest one.
    """
    if coupling not in config.couplings:
        raise ConfigError(f"no coupling {coupling}{hint(coupling, config.couplings)}")
    return config.models.directory / config.interferometer / coupling


def directories(config: Config, coupling: str | None) -> dict[str, Path]:
    """Return the directories of one coupling or of all, by name.

    Raises:
        ConfigError: no such coupling.
    """
    names = list(config.couplings) if coupling is None else [coupling]
    return {name: directory(config, name) for name in names}


def channels(config: Config, coupling: str) -> list[str]:
    """Return the channels that a coupling's training reads: strain, state vector, witnesses.

    Raises:
        ConfigError: no such coupling.
    """
    directory(config, coupling)
    strain = config.strain
    state = [] if strain.state_vector is None else [strain.state_vector]
    return [strain.channel, *state, *config.couplings[coupling].witnesses]


def number(place: Path, text: str) -> int:
    """Return the version that a command names, by its number or by a pointer.

    Raises:
        ModelError: no such version or pointer; the message names the nearest one.
    """
    present = versions.versions(place)
    for pointer in versions.POINTERS:
        if text == pointer:
            named = versions.read_pointer(place, pointer)
            if named is None:
                raise ModelError(f"there is no {pointer} version", path=place)
            text = str(named)
    if text not in map(str, present):
        listed = ", ".join(map(str, present)) or "none"
        meant = f"; there: {listed}" if text.isdecimal() else hint(text, versions.POINTERS)
        raise ModelError(f"no version {text}{meant}", path=place)
    return int(text)


def fits(config: Config, coupling: str) -> Callable[[Path], None]:
    """Return the check that a version passes before it is put in force for a coupling.

    The version is loaded as the daemon loads it. It must fit the configured witnesses and rate.
    """
    from deepclean.models.loading import load_version

    def check(path: Path) -> None:
        model = load_version(config, path)
        model.require(config.couplings[coupling].witnesses, config.engine.rate)

    return check


def send(config: Config, coupling: str) -> None:
    """Send a coupling's versions and pointers to the store elsewhere, if models.remote names one.

    Raises:
        ModelError, InputError, UnavailableError: as RemoteStore.push; what is here stays here.
    """
    if config.models.remote is None:
        return
    from deepclean.models.loading import remote_store

    elsewhere = remote_store(config, coupling)
    if elsewhere is not None:
        done = elsewhere.push()
        if done.versions or done.pointers:
            print(f"{coupling}: sent to {elsewhere.address}")
