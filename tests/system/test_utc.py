"""UTC and GPS: the same dates as gwpy's, and every leap second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from deepclean.system.utc import LEAP_SECONDS, gps_second, utc


def date(year: int, month: int = 1) -> datetime:
    """Return the first of a month in UTC, without a time zone."""
    return datetime(year, month, 1, tzinfo=UTC).replace(tzinfo=None)


def test_a_leap_second_has_a_date() -> None:
    leap = 1167264017  # the end of 2016
    dates = [utc(leap + second) for second in (-1, 0, 1)]
    assert dates == ["2016-12-31 23:59:59", "2016-12-31 23:59:60", "2017-01-01 00:00:00"]
    assert gps_second(date(2017)) == leap + 1
    assert gps_second(date(2017) - timedelta(seconds=1)) == leap - 1


def test_dates_are_those_of_lal() -> None:
    import lal

    assert float(lal.GPSLeapSeconds(1_400_000_000)) == LEAP_SECONDS
    for year in range(1981, 2031):
        for month in (1, 4, 7, 10):
            for moved in (-1, 0, 1):
                when = date(year, month) + timedelta(seconds=moved)
                second = int(lal.UTCToGPS(when.timetuple()))
                assert gps_second(when) == second
                assert utc(second) == f"{when:%Y-%m-%d %H:%M:%S}"


@given(st.integers(0, 2_000_000_000))
def test_a_date_leads_back_to_its_second(second: int) -> None:
    said = utc(second)
    if said.endswith(":60"):
        said = utc(second - 1)
        second -= 1
    assert gps_second(datetime.fromisoformat(said)) == second
