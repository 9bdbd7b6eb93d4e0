"""What the commands of `deepclean models` share: options, and what their arguments stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.config import Config
from deepclean.errors import ConfigError, ModelError, hint

if TYPE_CHECKING:
    from rich.console import Console

CouplingArgument = Annotated[str, typer.Argument(help="Coupling.", show_default=False)]
AnyCoupling = Annotated[
    str | None, typer.Argument(help="Coupling; default: all of them.", show_default=False)
]
VersionArgument = Annotated[
    str,
    typer.Argument(
        metavar="VERSION", help="A number, `production` or `canary`.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
WhyOption = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="Reason, for the log.", show_default=False)
]

_WIDTH = 110
"""Columns that the tables need; a narrower terminal wraps them."""


def directory(config: Config, coupling: str) -> Path:
    """Return a coupling's directory in the store.

    Raises:
        ConfigError: no such coupling; with the nearest one.
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
    """Return strain, its state vector and the witnesses: what a coupling's training reads.

    Raises:
        ConfigError: no such coupling.
    """
    directory(config, coupling)
    strain = config.strain
    state = [] if strain.state_vector is None else [strain.state_vector]
    return [strain.channel, *state, *config.couplings[coupling].witnesses]


def number(place: Path, text: str) -> int:
    """Return the version that a command names: by its number or by a pointer.

    Raises:
        ModelError: there is no such version or pointer; with the nearest one.
    """
    from deepclean.models import versions

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

    It is loaded as the daemon loads it, and has to be made for the configured witnesses and rate.
    """
    from deepclean.models import load as models

    def check(path: Path) -> None:
        model = models.load(path, store=config.models.directory)
        model.require(config.couplings[coupling].witnesses, config.engine.rate)

    return check


def console() -> Console:
    """Return where tables go, wide enough for them."""
    from rich.console import Console

    made = Console(highlight=False)
    made.width = max(made.width, _WIDTH)
    return made
