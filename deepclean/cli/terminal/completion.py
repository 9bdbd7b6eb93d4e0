"""What the shell completes: files of configurations, couplings, versions of models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer

from deepclean.config import Config, load
from deepclean.errors import DeepCleanError
from deepclean.models.store import versions

VARIABLE = "DEEPCLEAN_CONFIG"
"""The environment variable that stands for `--config`."""


def configurations(incomplete: str) -> Iterator[str]:
    """Yield the directories and the YAML files whose paths begin so."""
    head, _, begun = incomplete.rpartition("/")
    folder = Path(f"{head}/" if "/" in incomplete else ".").expanduser()
    lead = f"{head}/" if "/" in incomplete else ""
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return
    for path in found:
        if not path.name.startswith(begun) or (path.name.startswith(".") and not begun):
            continue
        if path.is_dir():
            yield f"{lead}{path.name}/"
        elif path.suffix in {".yaml", ".yml"}:
            yield f"{lead}{path.name}"


def couplings(context: typer.Context, incomplete: str) -> list[str]:
    """Return the couplings of the configuration whose names begin so."""
    config = _config(context)
    return [] if config is None else [n for n in config.couplings if n.startswith(incomplete)]


def model_versions(context: typer.Context, incomplete: str) -> list[str]:
    """Return the pointers and versions of the coupling that the command line names."""
    config, coupling = _config(context), context.params.get("coupling")
    if config is None or not isinstance(coupling, str) or coupling not in config.couplings:
        return [name for name in versions.POINTERS if name.startswith(incomplete)]
    place = config.models.directory / config.interferometer / coupling
    names = [*versions.POINTERS, *map(str, versions.versions(place))]
    return [name for name in names if name.startswith(incomplete)]


def _config(context: typer.Context) -> Config | None:
    """Return the configuration that the command line or the environment names, if it can be used.

    A fault is no matter here: it would be printed into the line that a person types.
    """
    named = context.params.get("config") or context.params.get("file") or os.environ.get(VARIABLE)
    if named is None:
        return None
    try:
        return load(Path(str(named)).expanduser(), context.params.get("override") or ())
    except DeepCleanError:
        return None
