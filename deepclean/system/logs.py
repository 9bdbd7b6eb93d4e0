"""The log: lines for people, or JSON lines for machines, on standard error."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
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


class LibraryLines(logging.Filter):
    """Makes the lines of another library fit for the log, and holds back those that repeat.

    What a line says in raw bytes is left out. Lines that differ in numbers only are one line: it
    comes once a minute, with the number of those that were held back.

    Args:
        monotonic: seconds, for the minute.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Make the record readable; return whether it is logged."""
        message = " ".join(_BYTES.sub("", record.getMessage()).split())
        message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
        kind, now = _NUMBER.sub("#", message), self._monotonic()
        since, held = self._said.get(kind, (-math.inf, 0))
        if now - since < _EVERY:
            self._said[kind] = since, held + 1
            return False
        if len(self._said) >= _KINDS:
            self._said.clear()
        self._said[kind] = now, 0
        more = f" ({held} more like this in the meantime)" if held else ""
        record.msg, record.args = f"{record.name}: {message}{more}", None
        return True


_LIBRARIES = ("arrakis",)
"""The libraries whose loggers have no place of their own to write to."""

_BYTES = re.compile(r"""\s*\(?b'(?:[^'\\]|\\.)*'\)?|\s*\(?b"(?:[^"\\]|\\.)*"\)?|[^\x20-\x7e\s]""")
"""The text of a bytes object, in brackets or without, and what is no plain text."""

_NUMBER = re.compile(r"[0-9]+")

_LONGEST = 300
"""Characters of a line at most."""

_EVERY = 60.0
"""Seconds between two lines that differ in numbers only."""

_KINDS = 256
"""Kinds of lines that are remembered."""


def configure(level: str, style: str) -> None:
    """Send this package's log to standard error, with priorities where that is the journal.

    So do the libraries that have no log of their own, with what is at least a warning.

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
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(handler.formatter)
    lines.addFilter(LibraryLines())
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [lines], False
        library.setLevel(max(logger.level, logging.WARNING))
