"""The state on disk: the status file, for `deepclean status`, and a monitor's beside it."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from errno import errorcode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepclean.core.accounting import Ledger
from deepclean.errors import InputError, OutputError
from deepclean.system.atomic import publish
from deepclean.system.clock import Clock

if TYPE_CHECKING:
    from deepclean.telemetry.status import StatusReport

_log = logging.getLogger(__name__)

Figures = Mapping[str, Mapping[str, Any]]
"""The figures of each coupling, by name; None for one that is not known."""

INTERVAL = 1.0
"""Seconds between two writings."""


CHECK_INTERVAL = 5.0
"""Seconds between two writings of the monitor's file while the level stays."""


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the status file of the daemon that writes these frames."""
    return directory / f".{description}.account.json"


def check_path_in(directory: Path, description: str) -> Path:
    """Return the path of the file that IGWN's `check_json` reads, beside the status file."""
    return directory / f".{description}.check.json"


class StatusFile:
    """Writes the state once a second, by an atomic rename; a failure never stops the run.

    Args:
        path: the file.
        clock: for the interval.
        models: returns the versions at work, by coupling.
        couplings: returns the figures of each coupling (StatusReport.couplings).
        rest: returns the other keys: what operators set (`controls`, in words), what became of the
            configuration that was read again (`reloaded`), and the seconds for which a stream has
            been waited for beyond its time (`waiting`), and why it does not come (`trouble`); while
            the history is read, how much of it is (`history`).
        report: gives the rest of the state; None where only the ledger is of interest.
        check: the monitor's file; None where there is none.

    Attributes:
        content: the state as it was written last, JSON; empty before the first time.
        written: when that was, monotonic seconds; None before the first time.
        failures: failed attempts to write a file, by the error's name.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        models: Callable[[], Mapping[str, str]] = dict,
        couplings: Callable[[], Figures] = dict,
        rest: Callable[[], Mapping[str, Any]] = dict,
        *,
        report: StatusReport | None = None,
        check: Path | None = None,
    ) -> None:
        self._path, self._clock = path, clock
        self._models, self._couplings, self._rest = models, couplings, rest
        self._report, self._check = report, check
        self._level, self._checked = -1, 0.0
        self._works = True
        self.content = b""
        self.written: float | None = None
        self.failures: Counter[str] = Counter()

    def write(self, ledger: Ledger, *, now: bool = False) -> None:
        """Write the state, where the last writing is long enough ago or `now` is true."""
        instant = self._clock.monotonic()
        if not now and self.written is not None and instant - self.written < INTERVAL:
            return
        content = {
            "process": os.getpid(),
            "ledger": facts(ledger),
            "models": dict(self._models()),
            "couplings": self._couplings(),
            **self._rest(),
        }
        if self._report is not None:
            content |= self._report.facts()
        self.content = json.dumps(content).encode()
        self.written = instant
        self._publish(self._path, self.content + b"\n")
        if self._report is not None and self._check is not None:
            self._write_check(self._report, self._check, instant)

    def _write_check(self, report: StatusReport, path: Path, instant: float) -> None:
        """Write the monitor's file where its level changed, or it is old."""
        from deepclean.telemetry.health import check_json

        level = report.health.level
        if level == self._level and instant - self._checked < CHECK_INTERVAL:
            return
        self._level, self._checked = level, instant
        self._publish(path, json.dumps(check_json(report.health, report.written)).encode() + b"\n")

    def _publish(self, path: Path, content: bytes) -> None:
        """Write a file; count where it cannot be written, and log that once."""
        try:
            publish(path, content)
            self._works = True
        except OutputError as error:
            self.failures[errorcode.get(error.errno or 0, "unknown")] += 1
            if self._works:
                _log.warning("the status file is not written: %s", error)
            self._works = False


def facts(ledger: Ledger) -> dict[str, Any]:
    """Return a ledger as numbers and mappings of numbers, for JSON."""
    return {one.name: getattr(ledger, one.name) for one in fields(Ledger)}


@dataclass(frozen=True, slots=True)
class StatusContent:
    """The content of a status file.

    Args:
        process: the id of the daemon that wrote it.
        ledger: the daemon's ledger at that time.
        age: seconds since then.
        models: the versions at work, in words, by coupling.
        couplings: the figures of each coupling (Counters.by_coupling).
        controls: what operators set, in words.
        reloaded: what became of the configuration that was read again (control.reload).
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
        history: while the history is read, the seconds that are `read` and those of the `whole`.
        latency: of the last frames, in seconds: `last`, `median` and `worst`, and their number
            `frames`; None where none was written.
        trouble: why the stream of a server does not come just now; empty where it does.
    """

    process: int
    ledger: Ledger
    age: float
    models: Mapping[str, str]
    couplings: Figures
    controls: Sequence[str] = ()
    reloaded: Mapping[str, Any] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, float] | None = None
    history: Mapping[str, float] = field(default_factory=dict)
    trouble: str = ""


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
        age = max(now - path.stat().st_mtime, 0.0)  # the clock may have been set back
        controls = [str(said) for said in content.get("controls", ())]
        process, ledger = int(content["process"]), Ledger(**counts)
        reloaded = dict(content.get("reloaded", {}))
        waited = content.get("waiting", {}).items()
        waiting = {str(name): float(seconds) for name, seconds in waited}
        held = content.get("latency")
        latency = None if held is None else {str(name): float(each) for name, each in held.items()}
        part = {str(name): float(each) for name, each in content.get("history", {}).items()}
        trouble = str(content.get("trouble", ""))
        return StatusContent(
            *(process, ledger, age, models, figures, controls, reloaded, waiting, latency, part),
            trouble,
        )
    except FileNotFoundError as error:
        raise InputError("no status file: no daemon has run here", path=path) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a status file: {error}", path=path) from error
