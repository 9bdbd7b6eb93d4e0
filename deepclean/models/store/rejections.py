"""Rejections: a small file beside a version that a daemon refused, with the reason.

`rejected-<version>.json` lies in the coupling's directory until the version is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepclean import __version__
from deepclean.models.store.log import signature
from deepclean.system.atomic import publish


def path_of(directory: Path, version: int) -> Path:
    """Return the path of a version's rejection in its coupling's directory."""
    return directory / f"rejected-{version}.json"


def write(directory: Path, version: int, why: str, figures: Mapping[str, float]) -> None:
    """Write that a version was rejected, why, and the figures, by name, that this rests on.

    Raises:
        OutputError: the file system refused.
    """
    facts = {
        "version": version,
        **signature(),
        "why": why,
        "figures": dict(figures),
        "software_version": __version__,
    }
    publish(path_of(directory, version), (json.dumps(facts, indent=2) + "\n").encode())


def read(directory: Path, version: int) -> dict[str, Any] | None:
    """Return a version's rejection; None where there is none, or it cannot be read."""
    try:
        facts = json.loads(path_of(directory, version).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def clear(directory: Path, version: int) -> None:
    """Remove a version's rejection, if there is one."""
    path_of(directory, version).unlink(missing_ok=True)
