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

    Beside it stands the instant before which all blocks are confirmed. Both are written before the
    block is handed over: a process that dies in between leaves a gap, not a block that comes twice.

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
        known = text.split()
        valid = len(known) in {1, 2} and all(one.isdigit() for one in known)
        self.reached = int(known[0]) if valid else 0
        self.confirmed = int(known[1]) if valid and len(known) == 2 else None
        """None: all but the last block."""
        if text and not valid:
            _log.warning("%s: holds no time; blocks may be published again", path)

    def claim(self, end: int, confirmed: int) -> None:
        """Note that a block up to an instant is handed over now, and to where all is confirmed.

        Raises:
            OSError: the operating system refused.
        """
        self.reached = end
        # Ten digits of seconds, nine of nanoseconds.
        os.pwrite(self._file, b"%019d %019d\n" % (end, confirmed), 0)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            os.close(self._file)


def path_in(directory: Path, description: str) -> Path:
    """Return the path of the file of the daemon that writes these frames."""
    return directory / f".{description}.published"
