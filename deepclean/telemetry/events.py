"""The last lines of the log, for the page. The log says every transition once, in words."""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Self

_MOST = 200
"""The number of lines that are kept."""


class RecentEvents(logging.Handler):
    """Keeps the last lines of this package's log while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[tuple[int, bytes]] = deque(maxlen=_MOST)
        self._count = 0

    def __enter__(self) -> Self:
        logging.getLogger("deepclean").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("deepclean").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._count += 1
        line = {
            "id": self._count,
            "time": round(record.created, 3),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        self._lines.append((self._count, json.dumps(line).encode()))

    def content(self, since: int) -> bytes:
        """Return the lines after that of number `since` as JSON, in order of time."""
        lines = [line for number, line in tuple(self._lines) if number > since]
        return b'{"events": [' + b", ".join(lines) + b"]}"
