"""The log of a coupling's store: who changed what, when, and why.

`changes.jsonl` lies beside the versions; each line is one change, a JSON object. Lines are only
ever appended (system.jsonl). A line that a power cut tore is passed over. What comes of retrainings
is in a log of its own beside it, with lines that begin with the same signature.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from deepclean.models import permissions
from deepclean.system import jsonl

LOG = "changes.jsonl"

What = Literal["publish", "import", "train", "promote", "canary", "rollback", "prune"]
"""The actions. `promote` and `rollback` move `production`, `canary` moves `canary`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a store.

    Args:
        when: UTC, ISO 8601.
        who: the user, and the user before `sudo`.
        what: the action.
        before: the version before; None where there was none. In the file it is called `from`.
        after: the version after; None where there is none. In the file it is called `to`.
        why: the reason that the user gave; may be empty.
    """

    when: str
    who: str
    what: What
    before: int | None
    after: int | None
    why: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the change as the log's line holds it."""
        return {
            "when": self.when,
            "who": self.who,
            "what": self.what,
            "from": self.before,
            "to": self.after,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """The content of a log.

    Args:
        changes: in the order in which they were made.
        damaged: number of lines that are no changes.
    """

    changes: tuple[Change, ...]
    damaged: int


def now(what: What, before: int | None, after: int | None, why: str = "") -> Change:
    """Return a change that this user makes at this moment."""
    signed = signature()
    return Change(signed["when"], signed["who"], what, before, after, why)


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
    held = [line for line in permissions.read(path).split(b"\n") if line.strip()]
    changes = [change for line in held if (change := _parse(line)) is not None]
    return ChangeLog(tuple(changes), len(held) - len(changes))


def productions(changes: Iterable[Change], current: int | None) -> list[int]:
    """Return the versions that rollbacks go back through, the version in force last.

    A promotion adds a version, a rollback takes the last away. Where the log is not complete (a
    pointer written by hand, a crash before the log's line), the pointer counts.

    Args:
        changes: the log's changes.
        current: the version that the pointer names.
    """
    stack: list[int] = []
    for change in changes:
        if change.what not in ("promote", "rollback"):
            continue
        _push(stack, change.before)
        if change.what == "rollback" and change.after in stack:
            last = len(stack) - 1 - stack[::-1].index(change.after)
            del stack[last + 1 :]
        _push(stack, change.after)
    _push(stack, current)
    return stack


def _push(stack: list[int], version: int | None) -> None:
    if version is not None and stack[-1:] != [version]:
        stack.append(version)


def _parse(line: bytes) -> Change | None:
    """Return the change in a line, or None where the line is none."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or facts.get("what") not in get_args(What):
        return None
    before, after = facts.get("from"), facts.get("to")
    if not all(number is None or type(number) is int for number in (before, after)):
        return None
    when, who, why = (str(facts.get(key, "")) for key in ("when", "who", "why"))
    return Change(when, who, facts["what"], before, after, why)
