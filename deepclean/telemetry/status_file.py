"""The daemon's status file: the ledger on disk, for `deepclean status`."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deepclean.core.accounting import Ledger
from deepclean.errors import InputError, OutputError
from deepclean.system.atomic import publish
from deepclean.system.clock import Clock
from deepclean.telemetry.counters import Stream

_log = logging.getLogger(__name__)

Figures = Mapping[str, Mapping[str, float | str | None]]
"""The figures of each coupling, by name; None for one that is not known."""

INTERVAL = 1.0
"""Seconds between two writings."""


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the status file of the daemon that writes these frames."""
    return directory / f".{description}.account.json"


class StatusFile:
    """Writes the ledger once a second, by an atomic rename; a failure never stops the run.

    Args:
        path: the file.
        clock: for the interval.
        models: returns the versions at work, by coupling.
        couplings: returns the figures of each coupling (Counters.by_coupling).
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        models: Callable[[], Mapping[str, str]] = dict,
        couplings: Callable[[], Figures] = dict,
        waiting: Mapping[Stream, float] = MappingProxyType({}),
    ) -> None:
        self._path, self._clock, self._models, self._couplings = path, clock, models, couplings
        self._waiting = waiting
        self._written = clock.monotonic() - INTERVAL
        self._works = True

    def write(self, ledger: Ledger, *, now: bool = False) -> None:
        """Write the ledger, where the last writing is long enough ago or `now` is true."""
        instant = self._clock.monotonic()
        if not now and instant - self._written < INTERVAL:
            return
        self._written = instant
        content = {
            "process": os.getpid(),
            "ledger": facts(ledger),
            "models": dict(self._models()),
            "couplings": self._couplings(),
            "waiting": dict(self._waiting),
        }
        try:
            publish(self._path, (json.dumps(content) + "\n").encode())
            self._works = True
        except OutputError as error:
            if self._works:
                _log.warning("the status file is not written: %s", error)
            self._works = False


def facts(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger as numbers and mappings of numbers, for JSON."""
    return {field.name: getattr(ledger, field.name) for field in fields(Ledger)}


@dataclass(frozen=True, slots=True)
class StatusContent:
    """The content of a status file.

    Args:
        process: the id of the daemon that wrote it.
        ledger: the daemon's ledger at that time.
        age: seconds since then.
        models: the versions at work, in words, by coupling.
        couplings: the figures of each coupling (Counters.by_coupling).
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
    """

    process: int
    ledger: Ledger
    age: float
    models: Mapping[str, str]
    couplings: Figures
    waiting: Mapping[str, float]


def read(path: Path, now: float) -> StatusContent:
    """Read a status file.

    Args:
        path: the file.
        now: seconds of the wall clock, as the file's own time of change.

    Raises:
        InputError: there is no such file, or it is not a status file.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        counts: dict[str, Any] = {
            key: Counter(value) if isinstance(value, dict) else value
            for key, value in content["ledger"].items()
        }
        models = {str(name): str(said) for name, said in content["models"].items()}
        figures = {str(name): dict(said) for name, said in content["couplings"].items()}
        waiting = {str(name): float(seconds) for name, seconds in content["waiting"].items()}
        age = now - path.stat().st_mtime
        process = int(content["process"])
        return StatusContent(process, Ledger(**counts), age, models, figures, waiting)
    except FileNotFoundError as error:
        raise InputError("no status file: no daemon has run here", path=path) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a status file: {error}", path=path) from error
