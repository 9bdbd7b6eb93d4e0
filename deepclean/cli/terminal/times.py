"""Times and durations on the command line: GPS seconds, UTC dates, `now`, `+1h`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from deepclean.core.time import NS, Span, format_gps, seconds_to_ns
from deepclean.errors import InputError, one_line
from deepclean.system.clock import gps_now
from deepclean.system.utc import gps_second, utc

_LAST = 4_000_000_000
"""GPS seconds from which on a time is taken for a mistake, as milliseconds are: the year 2106."""

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_FORMS = "GPS seconds, a date in UTC as '2026-11-27 10:00', or now"

StartOption = Annotated[
    str, typer.Option(metavar="TIME", help=f"Start of the span: {_FORMS}, as now-2h.")
]
EndOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="End of the span, exclusive: the same, or as +1h so long after its start.",
    ),
]


def whole_span(start: str, end: str, now: Callable[[], int] = gps_now) -> Span:
    """Return the span between two instants of whole GPS seconds.

    Args:
        start: as `--start` gives it.
        end: as `--end` gives it; `+1h` is that long after the start.
        now: gives the present, GPS nanoseconds.

    Raises:
        InputError: a text is no time or not a whole second, or the end is not after the start.
    """
    given = f"--start {start} --end {end}"
    try:
        first = _whole_second(given, start, now)
        if end.startswith("+"):
            return Span(first, first + _seconds(end[1:]) * NS)
        return Span(first, _whole_second(given, end, now))
    except ValueError as error:
        raise InputError(f"{given}: {error}") from error


def whole_second(option: str, text: str, now: Callable[[], int] = gps_now) -> int:
    """Return an instant of whole GPS seconds, in nanoseconds.

    Args:
        option: its name, for the message.
        text: GPS seconds, a date, `now`, or `now-2h`.
        now: gives the present, GPS nanoseconds.

    Raises:
        InputError: the text is no such instant.
    """
    try:
        return _whole_second(f"{option} {text}", text, now)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from error


def seconds_of(option: str, text: str) -> int:
    """Return a duration in whole seconds.

    >>> seconds_of("--for", "2h"), seconds_of("--for", "90"), seconds_of("--for", "1.5m")
    (7200, 90, 90)

    Raises:
        InputError: the text is no duration of whole seconds.
    """
    try:
        return _seconds(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from error


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    seconds = float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
    if seconds < 1 or seconds % 1:
        raise ValueError(f"must be whole seconds, as 90s, 30m, 2h or 1d, not {text!r}")
    return int(seconds)


def said(span: Span) -> str:
    """Return a span of whole seconds for a person, in GPS and in UTC.

    >>> said(Span.of_seconds(1126259462, 4))
    'GPS 1126259462 to 1126259466 (2015-09-14 09:50:45 to 09:50:49 UTC)'
    """
    first, last = (utc(instant // NS) for instant in (span.start, span.end))
    until = last.removeprefix(first[:11])
    return f"GPS {format_gps(span.start)} to {format_gps(span.end)} ({first} to {until} UTC)"


def _whole_second(given: str, text: str, now: Callable[[], int]) -> int:
    instant = _instant(text, now)
    if instant % NS:
        raise InputError(f"{given}: must be whole GPS seconds")
    if not 0 <= instant < _LAST * NS:
        raise InputError(f"{given}: no plausible GPS time; GPS seconds have up to ten digits")
    return instant


def _instant(text: str, now: Callable[[], int]) -> int:
    """Return GPS nanoseconds.

    Raises:
        ValueError: the text is no time.
    """
    text = text.strip()
    if re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", text):
        return seconds_to_ns(text)
    if found := re.fullmatch(r"now\s*(?:([-+])\s*(.+))?", text):
        moved = _seconds(found[2]) if found[1] else 0
        return (now() // NS + (-moved if found[1] == "-" else moved)) * NS
    # A date names its year, or a day. gwpy's parser takes almost any text for a date: "x" is the
    # tenth month.
    if not re.search(r"\b\d{4}\b|\b(?:yesterday|today|tomorrow)\b", text):
        raise ValueError(f"not a time in seconds, nor a date: {text!r}; give {_FORMS}")
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        if re.match(r"\d{4}-\d", text):
            raise ValueError(f"not a date: {error}; give {_FORMS}") from error
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
        raise ValueError(f"not a date: {why}; give {_FORMS}") from error
