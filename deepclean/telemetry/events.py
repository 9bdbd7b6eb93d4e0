"""The last lines of the log, for the page. The log says every transition once, in words.

They are kept in a file beside the frames too, so that what led to a restart can be read after it.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from pathlib import Path
from typing import Self

from deepclean.errors import OutputError
from deepclean.system.atomic import publish

_log = logging.getLogger(__name__)

_MOST = 200
"""The number of lines that are kept."""


def path_in(directory: Path, description: str) -> Path:
    """Return the file of the daemon that writes these frames."""
    return directory / f".{description}.events.jsonl"


class RecentEvents(logging.Handler):
    """Keeps the last lines of this package's log while it is entered.

    Args:
        path: the file in which they are kept. What was kept there before comes first.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._path, self._works = path, True
        self._lines: deque[tuple[int, bytes]] = deque(_read(path), maxlen=_MOST)
        self._count = self._saved = self._lines[-1][0] if self._lines else 0

    def __enter__(self) -> Self:
        """Keep what is logged from now on. That the daemon starts is the first line."""
        again = ("WARNING", "the daemon started again") if self._lines else ("INFO", "it starts")
        self._keep(time.time(), *again)
        logging.getLogger("deepclean").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("deepclean").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._keep(record.created, record.levelname, record.getMessage())

    def _keep(self, when: float, level: str, message: str) -> None:
        self._count += 1
        line = {"id": self._count, "time": round(when, 3), "level": level, "message": message}
        self._lines.append((self._count, json.dumps(line).encode()))

    def content(self, since: int) -> bytes:
        """Return the lines after that of number `since` as JSON, in order of time."""
        lines = [line for number, line in tuple(self._lines) if number > since]
        return b'{"events": [' + b", ".join(lines) + b"]}"

    def save(self) -> None:
        """Write the file where lines have come; a failure is logged once."""
        lines = tuple(self._lines)
        if not lines or lines[-1][0] == self._saved:
            return
        self._saved = lines[-1][0]
        try:
            publish(self._path, b"".join(line + b"\n" for _, line in lines))
            self._works = True
        except OutputError as error:
            if self._works:
                _log.warning("the events of the page are not kept: %s", error)
            self._works = False


def _read(path: Path) -> list[tuple[int, bytes]]:
    """Return the lines of a file by their numbers; from the first that is no event on, none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found: list[tuple[int, bytes]] = []
    for line in lines[-_MOST:]:
        try:
            number = json.loads(line)["id"]
        except (ValueError, KeyError, TypeError):
            break
        if not isinstance(number, int) or (found and number <= found[-1][0]):
            break
        found.append((number, line))
    return found
