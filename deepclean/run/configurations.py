"""The configurations by which the frames of a directory were made, kept beside them.

A frame's history record names its configuration by a hash. The file of that name says what it was,
so that a person learns which keys differ from now.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from deepclean.config import Config
from deepclean.config.render import flat
from deepclean.errors import OutputError
from deepclean.system.atomic import publish

_log = logging.getLogger(__name__)

_DIGITS = 16
"""Digits of the hash in a file's name: among a directory's few configurations none are alike."""

_FEW = 6
"""Keys that are named at most."""

_LONGEST = 60
"""Characters of a value that are shown at most."""


def path_in(directory: Path, description: str, digest: str) -> Path:
    """Return the path of the configuration with a hash, of frames of a description."""
    return directory / f".{description}.{digest[:_DIGITS]}.configuration.json"


def keep(config: Config, directory: Path) -> None:
    """Write a configuration beside the frames that are made by it, 5 kB; failing is no fault."""
    path = path_in(directory, config.output.description, config.hash)
    if path.exists():
        return
    try:
        publish(path, json.dumps(flat(config)).encode() + b"\n")
    except OutputError as error:
        _log.warning("the configuration is not kept beside the frames: %s", error)


def differences(config: Config, directory: Path, digest: str) -> list[str]:
    """Return the keys whose values differ from those of the configuration with a hash, in words.

    Returns:
        Nothing where that configuration was not kept.
    """
    try:
        there = json.loads(path_in(directory, config.output.description, digest).read_bytes())
    except (OSError, ValueError):
        return []
    now = flat(config)
    keys = [key for key in sorted({*there, *now}) if there.get(key) != now.get(key)]
    said = [f"{key}: {_shown(there, key)} there, {_shown(now, key)} now" for key in keys[:_FEW]]
    return said + ([f"{len(keys) - _FEW} more keys"] if len(keys) > _FEW else [])


def _shown(values: dict[str, Any], key: str) -> str:
    """Return a value as it stands in a configuration file, shortened where it is long."""
    text = json.dumps(values[key]) if key in values else "nothing"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
