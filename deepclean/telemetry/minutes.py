"""The minutes of a daemon's days, a file for each day in UTC beside the frames.

Each line is a minute as telemetry.timeline makes it, a JSON object that begins at `t`, seconds
since the Unix epoch. A minute in which the daemon started again has a line for each start. The page
shows the last hours of them, and `deepclean summary` the day.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deepclean.system import jsonl

DAYS = 3
"""The days that are kept. A day of one coupling takes 0.4 MB, of fifteen 1.7 MB."""

Minute = dict[str, Any]


def path_in(directory: Path, description: str, day: str) -> Path:
    """Return the file of a day (2026-11-27) of the daemon that writes these frames."""
    return directory / f".{description}.minutes-{day}.jsonl"


def append(directory: Path, description: str, minute: Minute) -> None:
    """Add a minute to the file of its day; a day that begins makes room for itself.

    Raises:
        OutputError: the file system refused.
    """
    path = path_in(directory, description, _day(minute["t"]))
    begins = not path.exists()
    jsonl.append(path, minute)
    if begins:
        kept = sorted(directory.glob(path_in(Path(), description, "*").name))
        for old in kept[:-DAYS]:
            with suppress(OSError):
                old.unlink()


def read(directory: Path, description: str, start: int, end: int) -> list[Minute]:
    """Return the minutes that begin in `[start, end)`, in the order of the files.

    A line that is no minute is left out.

    Args:
        directory: of the frames.
        description: of the frames.
        start: seconds since the Unix epoch.
        end: seconds since the Unix epoch.
    """
    return list(_read(directory, description, start, end))


def _read(directory: Path, description: str, start: int, end: int) -> Iterable[Minute]:
    first, last = (datetime.fromtimestamp(each, UTC).date() for each in (start, end))
    for number in range((last - first).days + 1):
        path = path_in(directory, description, f"{first + timedelta(days=number)}")
        try:
            lines = path.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                minute = json.loads(line)
                begins = minute["t"]
            except (ValueError, KeyError, TypeError):
                continue
            if isinstance(begins, int) and start <= begins < end:
                yield minute


def _day(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC).date()}"
