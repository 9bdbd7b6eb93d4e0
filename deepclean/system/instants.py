"""Instants and lengths as people write them: GPS seconds, UTC dates, `now`, `2h`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from deepclean.core.time import NS, seconds_to_ns
from deepclean.errors import one_line
from deepclean.system.clock import gps_now
from deepclean.system.utc import gps_second

FORMS = "GPS seconds, a date in UTC as '2026-11-27 10:00', or now"
"""What is taken for an instant, in words."""

_LAST = 4_000_000_000
"""GPS seconds from which on a time is taken for a mistake, as milliseconds are: the year 2106."""

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def whole_second(text: str, now: Callable[[], int] = gps_now) -> int:
    """Return an instant of whole GPS seconds, in nanoseconds.

    >>> whole_second("2015-09-14 09:50:45"), whole_second("1126259462.0")
    (1126259462000000000, 1126259462000000000)

    Args:
        text: GPS seconds, a date, `now`, or `now-2h`.
        now: gives the present, GPS nanoseconds.

    Raises:
        ValueError: the text is no such instant.
    """
    instant = _instant(text, now)
    if instant % NS:
        raise ValueError("must be whole GPS seconds")
    if not 0 <= instant < _LAST * NS:
        raise ValueError("no plausible GPS time; GPS seconds have up to ten digits")
    return instant


def whole_seconds(text: str) -> int:
    """Return a duration in whole seconds.

    >>> whole_seconds("2h"), whole_seconds("1.5m")
    (7200, 90)

    Raises:
        ValueError: the text is no duration of whole seconds.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    seconds = float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
    if seconds < 1 or seconds % 1:
        raise ValueError(f"must be whole seconds, as 90s, 30m, 2h or 1d, not {text!r}")
    return int(seconds)


def _instant(text: str, now: Callable[[], int]) -> int:
    """Return GPS nanoseconds.

    Raises:
        ValueError: the text is no time.
    """
    text = text.strip()
    if re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", text):
        return seconds_to_ns(text)
    if found := re.fullmatch(r"now\s*(?:([-+])\s*(.+))?", text):
        moved = whole_seconds(found[2]) if found[1] else 0
        return (now() // NS + (-moved if found[1] == "-" else moved)) * NS
    # A date names its year, or a day. gwpy's parser takes almost any text for a date: "x" is the
    # tenth month.
    if not re.search(r"\b\d{4}\b|\b(?:yesterday|today|tomorrow)\b", text):
        raise ValueError(f"not a time in seconds, nor a date: {text!r}; give {FORMS}")
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        if re.match(r"\d{4}-\d", text):
            raise ValueError(f"not a date: {error}; give {FORMS}") from error
        return _as_gwpy(text)
    if date.tzinfo is not None:
        date = date.astimezone(UTC).replace(tzinfo=None)
    return seconds_to_ns(gps_second(date))


def _as_gwpy(text: str) -> int:
    """Return what gwpy takes a text for, GPS nanoseconds. Its import takes two seconds."""
    from gwpy.time import to_gps

    try:
        return int(to_gps(text).ns())
    except Exception as error:  # (the parsers under it raise what they like)
        why = one_line(error) if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(f"not a date: {why}; give {FORMS}") from error
