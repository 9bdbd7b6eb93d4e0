"""How far a stream has been published, kept in a file so that no restart publishes it twice."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from deepclean.errors import output_errors
from deepclean.system.atomic import open_shared

_log = logging.getLogger(__name__)


class PublishedPosition:
    """The end of the last block that was handed to the client, in GPS nanoseconds.

    It is written before the block is handed over: a process that dies in between leaves a gap, not
    a block that comes twice.

    Args:
        path: the file, made if it is not there.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with output_errors(path, "cannot be opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_shared(path)
        text = os.pread(self._file, 64, 0).strip()
        self.reached = int(text) if text.isdigit() else 0
        if text and not text.isdigit():
            _log.warning("%s: holds no time; blocks may be published again", path)

    def claim(self, end: int) -> None:
        """Note that a block up to an instant is handed over now.

        Raises:
            OSError: the operating system refused.
        """
        self.reached = end
        os.pwrite(self._file, b"%019d\n" % end, 0)  # ten digits of seconds, nine of nanoseconds

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._file)


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the file of the daemon that writes these frames."""
    return directory / f".{description}.published"
