"""The daemon's account on disk: the ledger as a small file that `deepclean status` reads."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from deepclean.core.accounting import Ledger
from deepclean.errors import InputError, OutputError
from deepclean.system.atomic import publish
from deepclean.system.clock import Clock

_log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two writings."""


def path_in(directory: Path, description: str) -> Path:
    """Return where the daemon that writes these frames keeps its account."""
    return directory / f".{description}.account.json"


class StatusFile:
    """Writes the ledger now and then, by an atomic rename; a failure never stops the run.

    Args:
        path: of the file.
        clock: for the interval.
        models: says which versions are at work, by coupling.
    """

    def __init__(
        self, path: Path, clock: Clock, models: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._path = path
        self._clock = clock
        self._models = models
        self._written = clock.monotonic() - INTERVAL
        self._works = True

    def write(self, ledger: Ledger, *, now: bool = False) -> None:
        """Write the ledger, where the last writing is long enough ago or `now` is said."""
        instant = self._clock.monotonic()
        if not now and instant - self._written < INTERVAL:
            return
        self._written = instant
        try:
            publish(self._path, serialise(ledger, self._models()))
            self._works = True
        except OutputError as error:
            if self._works:
                _log.warning("the account is not kept: %s", error)
            self._works = False


def serialise(ledger: Ledger, models: Mapping[str, str]) -> bytes:
    """Return the bytes of an account file."""
    kept = {"process": os.getpid(), "ledger": facts(ledger), "models": dict(models)}
    return (json.dumps(kept) + "\n").encode()


def facts(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger as numbers and mappings of numbers, for JSON."""
    return {field.name: getattr(ledger, field.name) for field in fields(Ledger)}


@dataclass(frozen=True, slots=True)
class StatusContent:
    """An account that was read.

    Args:
        process: of the daemon that wrote it.
        ledger: at that time.
        age: seconds since.
        models: which versions were at work, in words, by coupling.
    """

    process: int
    ledger: Ledger
    age: float
    models: Mapping[str, str]


def read(path: Path, now: float) -> StatusContent:
    """Read an account file.

    Args:
        path: of the file.
        now: seconds of the wall clock, as the file's own time of change.

    Raises:
        InputError: there is none, or it is none.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        counts: dict[str, Any] = {
            key: Counter(value) if isinstance(value, dict) else value
            for key, value in content["ledger"].items()
        }
        models = {str(name): str(said) for name, said in content["models"].items()}
        return StatusContent(
            int(content["process"]), Ledger(**counts), now - path.stat().st_mtime, models
        )
    except FileNotFoundError as error:
        raise InputError("no account: no daemon has run here", path=path) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not an account: {error}", path=path) from error
