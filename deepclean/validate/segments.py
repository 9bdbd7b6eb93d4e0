"""Which time counts: segments from a file, or of a data-quality flag from its database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import ceil, floor
from pathlib import Path
from typing import Any

from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, hint, one_line

_TIMEOUT = 60.0
"""Seconds that the segment database may take to answer."""


def read_segments(path: Path, flag: str | None = None) -> list[Span]:
    """Return the segments of a file, inward to whole seconds, in order, none touching the next.

    Args:
        path: HDF5 or LIGO_LW XML as gwpy writes data-quality flags, JSON of the segment server, or
            text of two columns (start, end) or four (number, start, end, duration).
        flag: name of the flag in a file with several flags; None for the only flag.

    Raises:
        InputError: the file cannot be read, has no such flag, or has several and none is named.
    """
    from gwpy.segments import DataQualityDict

    if not path.is_file():
        raise InputError("no such file", path=path)
    suffixes = path.suffixes
    # The exceptions of the libraries under gwpy have no common base.
    try:
        if ".xml" in suffixes:
            flags = DataQualityDict.read(str(path), format="ligolw")
        elif suffixes[-1:] in ([".h5"], [".hdf5"], [".hdf"]):
            flags = DataQualityDict.read(str(path), format="hdf5")
        elif suffixes[-1:] == [".json"]:
            return _whole(json.loads(path.read_bytes())["active"])
        else:
            return _whole(_columns(path.read_text(encoding="utf-8")))
    except Exception as error:
        kind = type(error).__name__
        raise InputError(
            f"no segments can be read ({kind}: {one_line(error)}); readable are text of two "
            "columns (start, end) or four (number, start, end, duration), .json of the segment "
            "server, .hdf5 and .xml",
            path=path,
        ) from error
    names = sorted(flags)
    if flag is None and len(names) == 1:
        flag = names[0]
    if flag not in names:
        said = f"no flag {flag}{hint(flag, names)}" if flag else f"name one of {', '.join(names)}"
        raise InputError(said, path=path)
    return _whole(flags[flag].active)


def _columns(text: str) -> Iterator[tuple[float, float]]:
    """Yield the start and the end of each line; blank lines and comments (#) count for nothing.

    Raises:
        ValueError: a line has other columns.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.partition("#")[0].split()
        if not columns:
            continue
        if len(columns) not in (2, 4):
            raise ValueError(f"line {number} has {len(columns)} columns")
        start, end = columns[-2:] if len(columns) == 2 else columns[1:3]
        yield float(start), float(end)


def query_segments(flag: str, span: Span) -> list[Span]:
    """Return the active segments of a flag from the segment database, over the network.

    The environment variable DEFAULT_SEGMENT_SERVER holds the URL of the database; the default is
    IGWN's.

    Args:
        flag: `H1:NAME:VERSION`; a name without a version means all versions.
        span: whole seconds.

    Raises:
        InputError: the database does not answer, or has no such flag.
    """
    from gwpy.segments import DataQualityFlag

    start, end = span.start // NS, span.end // NS
    # The exceptions of the libraries under gwpy have no common base.
    try:
        # host=None: the environment is read now, not when gwpy was imported.
        found = DataQualityFlag.query(flag, start, end, host=None, timeout=_TIMEOUT)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the segments of {flag} cannot be had: {reason}") from error
    return _whole(found.active)


def _whole(segments: Iterable[Any]) -> list[Span]:
    """Return segments in seconds as spans of whole seconds, merged, in order."""
    inward = ((ceil(low), floor(high)) for low, high in segments)
    return union(Span(low * NS, high * NS) for low, high in inward if low < high)
