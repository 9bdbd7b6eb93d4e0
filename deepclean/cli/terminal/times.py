"""Times and durations on the command line: GPS seconds, UTC dates, `now`, `+1h`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError
from deepclean.system import instants
from deepclean.system.clock import gps_now
from deepclean.system.instants import FORMS, whole_seconds
from deepclean.system.utc import utc

StartOption = Annotated[
    str, typer.Option(metavar="TIME", help=f"Start of the span: {FORMS}, as now-2h.")
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
        first = instants.whole_second(start, now)
        if end.startswith("+"):
            return Span(first, first + whole_seconds(end[1:]) * NS)
        return Span(first, instants.whole_second(end, now))
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
        return instants.whole_second(text, now)
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
        return whole_seconds(text)
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from error


def said(span: Span) -> str:
    """Return a span of whole seconds for a person, in GPS and in UTC.

    >>> said(Span.of_seconds(1126259462, 4))
    'GPS 1126259462 to 1126259466 (2015-09-14 09:50:45 to 09:50:49 UTC)'
    """
    first, last = (utc(instant // NS) for instant in (span.start, span.end))
    until = last.removeprefix(first[:11])
    return f"GPS {format_gps(span.start)} to {format_gps(span.end)} ({first} to {until} UTC)"
