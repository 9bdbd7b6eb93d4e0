"""`deepclean models`: what is in the model store, and which version is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli.options import ConfigOption, SetOption
from deepclean.config import load
from deepclean.errors import ConfigError, hint

app = typer.Typer(help="The model store.", no_args_is_help=True)


@app.command("list")
def list_versions(config: ConfigOption, override: SetOption = None) -> None:
    """List the versions of every coupling of a configuration."""
    settings = load(config, override or ())
    from rich.console import Console
    from rich.table import Table

    from deepclean.edge import versions

    table = Table()
    for column in ("coupling", "enabled", "versions", "production", "canary"):
        table.add_column(column)
    for name, coupling in settings.couplings.items():
        directory = settings.models.directory / settings.interferometer / name
        present = ", ".join(map(str, versions.versions(directory))) or "none"
        pointers = [versions.read_pointer(directory, p) for p in ("production", "canary")]
        shown = ["-" if version is None else str(version) for version in pointers]
        table.add_row(name, "yes" if coupling.enabled else "no", present, *shown)
    Console(highlight=False).print(table)


@app.command("promote")
def promote(
    config: ConfigOption,
    coupling: Annotated[str, typer.Argument(help="Coupling.")],
    version: Annotated[int, typer.Argument(help="Version to put in force.")],
    override: SetOption = None,
) -> None:
    """Make a version the production version; it is loaded and checked first."""
    settings = load(config, override or ())
    if coupling not in settings.couplings:
        raise ConfigError(f"no coupling {coupling}{hint(coupling, settings.couplings)}")
    from deepclean.edge import models, versions

    directory = settings.models.directory / settings.interferometer / coupling
    path: Path = directory / str(version)
    models.load(path).require(settings.couplings[coupling].witnesses, settings.engine.rate)
    versions.set_pointer(directory, "production", version)
    print(f"{coupling}: production is version {version}")
