"""Which time counts: segments from a file, or of a data-quality flag from its database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

from deepclean.core.time import NS, Span
from deepclean.errors import InputError, hint

_PATIENCE = 60.0
"""Seconds that the segment database may be silent."""


def read_segments(path: Path, flag: str | None = None) -> list[Span]:
    """Return the segments of a file, inward to whole seconds, in order, none touching the next.

    Args:
        path: HDF5 or LIGO_LW XML as gwpy writes data-quality flags, or text of two columns (start,
            end) or four (number, start, end, duration).
        flag: which of a file with several; None: the only one.

    Raises:
        InputError: not readable, or it holds no such flag, or several.
    """
    from gwpy.segments import DataQualityDict, SegmentList

    if not path.is_file():
        raise InputError("no such file", path=path)
    suffixes = path.suffixes
    # Whatever the libraries under gwpy raise has no common base.
    try:
        if ".xml" in suffixes:
            flags = DataQualityDict.read(str(path), format="ligolw")
        elif suffixes[-1:] in ([".h5"], [".hdf5"], [".hdf"]):
            flags = DataQualityDict.read(str(path), format="hdf5")
        else:
            return whole(SegmentList.read(str(path), format="segwizard"))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"no segments can be read: {reason}", path=path) from error
    names = sorted(flags)
    if flag is None and len(names) == 1:
        flag = names[0]
    if flag not in names:
        said = f"no flag {flag}{hint(flag, names)}" if flag else f"name one of {', '.join(names)}"
        raise InputError(said, path=path)
    return whole(flags[flag].active)


def query_segments(flag: str, span: Span) -> list[Span]:
    """Return the active segments of a flag from the segment database (network).

    It is the one of the environment's DEFAULT_SEGMENT_SERVER, a URL; without, IGWN's.

    Args:
        flag: `H1:NAME:VERSION`; without a version, those of all versions.
        span: whole seconds.

    Raises:
        InputError: the database does not answer, or knows no such flag.
    """
    from gwpy.segments import DataQualityFlag

    start, end = span.start // NS, span.end // NS
    # Whatever the libraries under gwpy raise has no common base.
    try:
        # Without a host the environment is asked now, not when gwpy was imported.
        found = DataQualityFlag.query(flag, start, end, host=None, timeout=_PATIENCE)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the segments of {flag} cannot be had: {reason}") from error
    return whole(found.active)


def whole(segments: Iterable[Any]) -> list[Span]:
    """Return segments in seconds as spans of whole seconds, merged, in order."""
    merged: list[Span] = []
    for low, high in sorted((ceil(low), floor(high)) for low, high in segments):
        if high <= low:
            continue
        if merged and low * NS <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, high * NS))
        else:
            merged.append(Span(low * NS, high * NS))
    return merged


def within(segments: Sequence[Span], span: Span) -> list[Span]:
    """Return what the segments have of a span."""
    return [part for each in segments if (part := each.overlap(span)) is not None]
