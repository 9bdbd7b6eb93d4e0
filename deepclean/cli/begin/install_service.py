"""`deepclean install-service`: make this software a systemd service of the machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Literal

import typer

from deepclean.shipped import SHIPPED


def install_service(
    context: typer.Context,
    action: Annotated[
        Literal["install", "upgrade", "back", "remove"], typer.Argument(help="What is done.")
    ],
) -> None:
    """Make this software a systemd service of this machine, upgrade it, or take it away.

    The service runs the environment in which this command is installed, which must lie where a
    service sees it: not in a home folder. In a checkout a new environment is made. The options are
    those of scripts/install-service: --dry-run, --environment DIR, --prefix DIR, --gpu, --purge.
    """
    script = (SHIPPED / "scripts" / "install-service").resolve()
    options = context.args
    installed = not (script.parents[1] / "pyproject.toml").is_file()
    if installed and action in ("install", "upgrade") and "--environment" not in options:
        options = [*options, "--environment", sys.prefix]
    done = subprocess.run(["bash", str(script), action, *options], check=False)
    raise typer.Exit(done.returncode)
