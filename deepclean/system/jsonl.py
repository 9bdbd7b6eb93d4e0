"""Logs of one JSON object a line. Each line is appended by a single write and is on the disk then.

A line that a power cut tore costs only itself: the next one begins on a line of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Any

from deepclean.errors import output_errors
from deepclean.system.atomic import open_shared


def append(path: Path, facts: Mapping[str, Any]) -> None:
    """Add a line to a log that all writers of its directory share; the log is made if need be.

    Raises:
        OutputError: the file system refused.
    """
    line = json.dumps(facts, ensure_ascii=False).encode(errors="replace") + b"\n"
    with output_errors(path, "a line could not be logged"):
        descriptor = open_shared(path, os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
