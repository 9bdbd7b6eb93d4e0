"""The log: lines for people, or JSON lines for machines, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Transitions:
    """Logs that something begins to fail, with its traceback, and that it works again; once each.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._failing: set[str] = set()

    def failed(self, what: str, message: str, error: Exception, *, brief: bool = False) -> None:
        """Note that something failed; log it where it worked before.

        Args:
            what: the thing's name.
            message: the line of the log.
            error: the fault, whose traceback goes with it.
            brief: leave the traceback out: the message says it all.
        """
        if what not in self._failing:
            self._log.error("%s", message, exc_info=None if brief else error)
        self._failing.add(what)

    def works(self, what: str, message: str) -> None:
        """Note that something works; log it where it failed before."""
        if what in self._failing:
            self._log.info("%s", message)
        self._failing.discard(what)


def configure(level: str, style: str) -> None:
    """Send this package's log to standard error.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        style: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonLines() if style == "json" else text)
    logger = logging.getLogger("deepclean")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
