"""The log of a coupling's store: who changed what, when, and why.

`changes.jsonl` lies beside the versions; each line is one change, a JSON object. Lines are only
ever appended (system.jsonl). A line that a power cut tore is passed over. The log of retrainings
beside it has lines that begin with the same signature.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from deepclean.models.store import permissions
from deepclean.system import jsonl

LOG = "changes.jsonl"

What = Literal["publish", "import", "train", "refit", "promote", "canary", "rollback", "prune"]
"""The actions. `refit` adds a version as `train` does: a closed form that was solved anew.
`promote` and `rollback` move `production`, `canary` moves `canary`."""


class Change(BaseModel):
    """One change of a store.

    Args:
        when: UTC, ISO 8601.
        who: the user, and the user before `sudo`.
        what: the action.
        before: the version before; None where there was none. In the file it is called `from`.
        after: the version after; None where there is none. In the file it is called `to`.
        why: the reason that the user gave; may be empty.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    when: str = ""
    who: str = ""
    what: What
    before: StrictInt | None = Field(default=None, alias="from")
    after: StrictInt | None = Field(default=None, alias="to")
    why: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the change as the log's line holds it."""
        return self.model_dump(by_alias=True)


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """The changes in a log, in their order, and the number of its damaged lines."""

    changes: tuple[Change, ...]
    damaged: int


def now(what: What, before: int | None, after: int | None, why: str = "") -> Change:
    """Return a change that this user makes at this moment."""
    return Change(**signature(), what=what, before=before, after=after, why=why)


def signature() -> dict[str, str]:
    """Return this moment (`when`), and this user with the user before `sudo` (`who`)."""
    who, behind = permissions.user_name(os.getuid()), os.environ.get("SUDO_USER")
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"when": when, "who": f"{who} ({behind})" if behind else who}


def append(directory: Path, change: Change) -> None:
    """Add a change to the log of a coupling's directory; it is on the disk when this returns.

    Raises:
        OutputError: the file system refused.
    """
    jsonl.append(directory / LOG, change.facts())


def append_signed(path: Path, facts: Mapping[str, Any]) -> None:
    """Add a line with a signature to another log of the store.

    Raises:
        OutputError: the file system refused.
    """
    jsonl.append(path, {**signature(), **facts})


def read(directory: Path) -> ChangeLog:
    """Return the log of a coupling's directory; an absent log is empty.

    Raises:
        ModelError: the log cannot be read.
    """
    path = directory / LOG
    if not path.exists() and not path.is_symlink():
        return ChangeLog((), 0)
    changes: list[Change] = []
    damaged = 0
    for line in permissions.read(path).split(b"\n"):
        try:
            changes += [Change.model_validate_json(line)] if line.strip() else []
        except ValidationError:
            damaged += 1
    return ChangeLog(tuple(changes), damaged)


def made_by(changes: Iterable[Change], what: What) -> list[int]:
    """Return the versions that an action made, in order."""
    return [each.after for each in changes if each.what == what and each.after is not None]


def productions(changes: Iterable[Change], current: int | None) -> list[int]:
    """Return the versions that rollbacks go back through, the version in force last.

    A promotion adds a version, a rollback takes the last away. Where the log is not complete (a
    pointer written by hand, a crash before the log's line), the pointer counts.

    Args:
        changes: the log's changes.
        current: the version that the pointer names.
    """
    stack: list[int] = []

    def push(version: int | None) -> None:
        if version is not None and stack[-1:] != [version]:
            stack.append(version)

    for change in changes:
        if change.what not in ("promote", "rollback"):
            continue
        push(change.before)
        if change.what == "rollback" and change.after in stack:
            last = len(stack) - 1 - stack[::-1].index(change.after)
            del stack[last + 1 :]
        push(change.after)
    push(current)
    return stack
