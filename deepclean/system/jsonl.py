"""Logs of one JSON object a line, each appended by a single write and on the disk at once.

A line that a power cut tore costs itself only: the next one begins on a line of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Any

from deepclean.errors import OutputError
from deepclean.system import atomic


def append(path: Path, facts: Mapping[str, Any]) -> None:
    """Add a line to a log that all writers of its directory share; it is made if need be.

    Raises:
        OutputError: the file system refused.
    """
    line = json.dumps(facts, ensure_ascii=False).encode(errors="replace") + b"\n"
    try:
        descriptor = atomic.open_shared(path, os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(
            f"a line could not be logged: {error.strerror}", path=path, errno=error.errno
        ) from error
