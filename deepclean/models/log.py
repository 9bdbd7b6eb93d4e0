"""The log of a coupling's store: who changed what, when, and why.

`changes.jsonl` lies beside the versions; each line is one change, a JSON object. It is only ever
appended to (system.jsonl). A line that a power cut tore is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from deepclean.models import permissions
from deepclean.system import jsonl

LOG = "changes.jsonl"

What = Literal["publish", "import", "train", "promote", "canary", "rollback", "prune"]
"""What was done. `promote` and `rollback` move `production`, `canary` moves `canary`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a store.

    Args:
        when: UTC, ISO 8601.
        who: user, and who that was before `sudo`.
        what: the action.
        before: version; where there was none, None. In the file it is called `from`.
        after: likewise; in the file, `to`.
        why: as given by who did it; may be empty.
    """

    when: str
    who: str
    what: What
    before: int | None
    after: int | None
    why: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what the log's line holds."""
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
    """What a log holds.

    Args:
        changes: in the order in which they were made.
        damaged: lines that are no changes.
    """

    changes: tuple[Change, ...]
    damaged: int


def now(what: What, before: int | None, after: int | None, why: str = "") -> Change:
    """Return a change that this user makes at this moment."""
    return Change(*signed(), what, before, after, why)


def signed() -> tuple[str, str]:
    """Return this moment, and this user with who that was before `sudo`."""
    who, behind = permissions.user_name(os.getuid()), os.environ.get("SUDO_USER")
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return when, f"{who} ({behind})" if behind else who


def append(directory: Path, change: Change) -> None:
    """Add a change to the log of a coupling's directory, on the disk when this returns.

    Raises:
        OutputError: the file system refused.
    """
    jsonl.append(directory / LOG, change.facts())


def read(directory: Path) -> ChangeLog:
    """Return the log of a coupling's directory; an absent one is empty.

    Raises:
        ModelError: it cannot be read.
    """
    path = directory / LOG
    if not path.exists() and not path.is_symlink():
        return ChangeLog((), 0)
    held = [line for line in permissions.read(path).split(b"\n") if line.strip()]
    changes = [change for line in held if (change := _parse(line)) is not None]
    return ChangeLog(tuple(changes), len(held) - len(changes))


def productions(changes: Iterable[Change], current: int | None) -> list[int]:
    """Return the versions that a rollback goes back through, the one in force last.

    Promotions add to them, a rollback takes the last away. Where the log does not tell all (a
    pointer written by hand, a crash before the log's line), what the pointer says counts.

    Args:
        changes: of the log.
        current: what the pointer names.
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
