"""The record of a run's model events, one JSON object a line.

Every line has the GPS instant from which on it holds. From the events that came from outside
(`started`, `offered`, `withdrawn`) a replay comes to the same decisions. The lines of an operator's
controls stand among them (control.lines).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from deepclean.control.lines import KINDS
from deepclean.core.block import Version
from deepclean.core.engine.state import Role
from deepclean.core.rollout.rollout import Event, What
from deepclean.core.time import format_gps, seconds_to_ns
from deepclean.errors import InputError
from deepclean.system import jsonl

_log = logging.getLogger(__name__)


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the record of the run that writes these frames."""
    return directory / f".{description}.models.jsonl"


class ModelRecord:
    """Appends to the record at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Event) -> None:
        """Add a line.

        Raises:
            OutputError: the file system refused.
        """
        facts = asdict(event)
        coupling, version = event.version
        facts |= {"instant": format_gps(event.instant), "coupling": coupling, "version": version}
        self.append_facts(facts)

    def append_facts(self, facts: Mapping[str, Any]) -> None:
        """Add a line of another kind.

        Raises:
            OutputError: the file system refused.
        """
        jsonl.append(self.path, facts)


def read(path: Path) -> list[Event]:
    """Return the events of a record, in order.

    Raises:
        InputError: the file cannot be read, or a line is of something else. A torn line is left
            out with a warning.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"no record of models can be read: {error}", path=path) from error
    return list(_events(content, path))


def _events(content: str, path: Path) -> Iterator[Event]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            facts = json.loads(line)
        except ValueError:
            # A line that a power cut tore; the next one begins on a line of its own.
            _log.warning("%s: line %d is torn and left out: %.40s", path, number, line)
            continue
        try:
            if facts["what"] in KINDS:
                continue
            what, role = facts["what"], facts["role"]
            if what not in get_args(What) or role not in get_args(Role):
                raise ValueError(f"{what} as {role}")
            yield Event(
                seconds_to_ns(str(facts["instant"])),
                what,
                Version(str(facts["coupling"]), int(facts["version"])),
                role,
                facts["former"],
                str(facts["why"]),
                dict(facts["figures"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"line {number} is not of a record of models: {error}", path=path
            ) from error
