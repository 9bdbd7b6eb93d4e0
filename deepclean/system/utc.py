"""UTC dates and GPS seconds.

GPS time runs without leap seconds from 1980-01-06 00:00 UTC. UTC falls behind by a second at the
end of the days before those below (IERS Bulletin C).
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta

from deepclean.core.time import NS, format_gps

_EPOCH = datetime(1980, 1, 6)  # noqa: DTZ001  (all dates here are UTC)

_DAY = 86_400

_JULY = (1981, 1982, 1983, 1985, 1992, 1993, 1994, 1997, 2012, 2015)
_JANUARY = (1988, 1990, 1991, 1996, 1999, 2006, 2009, 2017)
"""Years on whose first of July, or January, UTC had fallen behind by a further second."""

_DAYS = sorted(
    (datetime(year, month, 1) - _EPOCH).days  # noqa: DTZ001
    for years, month in ((_JULY, 7), (_JANUARY, 1))
    for year in years
)

_AFTER = tuple(day * _DAY + passed for passed, day in enumerate(_DAYS, start=1))
"""GPS second of the midnight after each leap second: the days, and the leap seconds so far."""

LEAP_SECONDS = len(_AFTER)
"""Seconds by which GPS time is ahead of UTC since 2017."""


def utc(second: int) -> str:
    """Return a GPS second as a date and a time of day, a leap second as the sixtieth.

    >>> utc(1126259462), utc(1167264017)
    ('2015-09-14 09:50:45', '2016-12-31 23:59:60')
    """
    passed = bisect_right(_AFTER, second)
    if second + 1 in _AFTER:
        return f"{_EPOCH + timedelta(seconds=second - 1 - passed):%Y-%m-%d %H:%M}:60"
    return f"{_EPOCH + timedelta(seconds=second - passed):%Y-%m-%d %H:%M:%S}"


def gps_second(date: datetime) -> float:
    """Return the GPS time of a date in UTC, in seconds.

    >>> gps_second(datetime(2015, 9, 14, 9, 50, 45))
    1126259462.0

    Args:
        date: without a time zone.
    """
    seconds = (date - _EPOCH).total_seconds()
    return seconds + bisect_right(_DAYS, seconds // _DAY)


def with_date(instant: int) -> str:
    """Return an instant (GPS nanoseconds) for a person: GPS seconds, and the date.

    >>> with_date(1126259462_400000000)
    '1126259462.4 (2015-09-14 09:50:45 UTC)'
    """
    return f"{format_gps(instant)} ({utc(instant // NS)} UTC)"
