"""What a daemon would not take: a small file beside the version that says so, and why.

`rejected-<version>.json` lies in the coupling's directory. It stands until the version is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepclean import __version__
from deepclean.models import log as model_log
from deepclean.system.atomic import publish


def path_of(directory: Path, version: int) -> Path:
    """Return where a version's rejection is written, in its coupling's directory."""
    return directory / f"rejected-{version}.json"


def write(directory: Path, version: int, why: str, figures: Mapping[str, float]) -> None:
    """Say that a version was rejected.

    Args:
        directory: the coupling's.
        version: its number.
        why: for people.
        figures: what that rests on, by name.

    Raises:
        OutputError: the file system refused.
    """
    when, who = model_log.signed()
    facts = {
        "version": version,
        "when": when,
        "who": who,
        "why": why,
        "figures": dict(figures),
        "software_version": __version__,
    }
    publish(path_of(directory, version), (json.dumps(facts, indent=2) + "\n").encode())


def read(directory: Path, version: int) -> dict[str, Any] | None:
    """Return what is said of a version; None where it was not rejected, or nobody can tell."""
    try:
        facts = json.loads(path_of(directory, version).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def clear(directory: Path, version: int) -> None:
    """Take back that a version was rejected; one that was not is as good."""
    path_of(directory, version).unlink(missing_ok=True)
