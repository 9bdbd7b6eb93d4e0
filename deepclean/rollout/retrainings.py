"""What came of a coupling's retrainings, as far as an operator has to know: whether any had data.

A retraining without data is no fault, because the detector may be down, and its unit ends well. But
one that finds none day after day, since nobody named an archive, never replaces a model.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from deepclean.models.log import RETRAININGS

_FRUITLESS = frozenset({"no data", "failed"})
"""The verdicts of retrainings that judged nothing."""

_TAIL = 1 << 18
"""Bytes at the end of a log that are looked at: some hundred retrainings."""


class FruitlessRetrainings:
    """Follows the logs of a store's retrainings; a log that has not changed is not read again."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int]] = {}
        self._seconds: dict[Path, float] = {}

    def seconds(self, directory: Path) -> float:
        """Return for how long all retrainings were fruitless, up to the last one; 0: it was not.

        Args:
            directory: the coupling's, with its versions.

        Raises:
            OSError: the file system refused.
        """
        path = directory / RETRAININGS
        try:
            status = path.stat()
        except FileNotFoundError:
            return 0.0
        now = status.st_mtime_ns, status.st_size
        if self._seen.get(path) != now:
            self._seconds[path] = _seconds(_tail(path, status.st_size))
            self._seen[path] = now
        return self._seconds[path]


def _tail(path: Path, size: int) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(max(size - _TAIL, 0))
        return file.read().split(b"\n")


def _seconds(lines: list[bytes]) -> float:
    """Return the time from the last retraining that judged a candidate, or the first, to the last.

    >>> one = b'{"when": "2026-11-01T00:00:00Z", "verdict": "not better"}'
    >>> two = b'{"when": "2026-11-03T00:00:00Z", "verdict": "no data"}'
    >>> _seconds([one, two]), _seconds([two]), _seconds([two, b"torn", one])
    (172800.0, 0.0, 0.0)
    """
    began = last = None
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            fact = json.loads(line)
            verdict, last = fact["verdict"], datetime.fromisoformat(fact["when"]).timestamp()
            if began is None or verdict not in _FRUITLESS:
                began = last
    return 0.0 if began is None or last is None else max(last - began, 0.0)
