"""The log: lines for people, or JSON lines for machines, on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO


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


class JournalLines(logging.Formatter):
    """Lines for systemd's journal: each begins with its priority, as sd-daemon(3) defines it.

    The journal adds the time itself, so these lines have none.

    Args:
        style: formats the record.
    """

    def __init__(self, style: logging.Formatter) -> None:
        super().__init__()
        self._lines = style

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line or more, those of a traceback too with the priority."""
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in self._lines.format(record).splitlines())


_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


def goes_to_journal(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a stream is the one that systemd connected to its journal.

    Args:
        stream: an open file.
        environment: has JOURNAL_STREAM, the stream's device and inode; None: the process's own.
    """
    environment = os.environ if environment is None else environment
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file of the system
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def complain(message: str) -> None:
    """Print a fault that ends a command on standard error, one line each, also without a log."""
    mark = f"<{_PRIORITIES[logging.ERROR]}>" if goes_to_journal(sys.stderr) else ""
    for line in message.splitlines():
        sys.stderr.write(f"{mark}deepclean: {line}\n")


def configure(level: str, style: str) -> None:
    """Send this package's log to standard error, with priorities where that is the journal.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        style: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    journal = goes_to_journal(sys.stderr)
    words = "%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s"
    formatter = JsonLines() if style == "json" else logging.Formatter(words)
    handler.setFormatter(JournalLines(formatter) if journal else formatter)
    logger = logging.getLogger("deepclean")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
