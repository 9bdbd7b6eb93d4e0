"""Times on the command line: GPS seconds, dates, now and lengths."""

from __future__ import annotations

import re

import pytest

from deepclean.cli.terminal.times import said, seconds_of, whole_second, whole_span
from deepclean.core.time import NS, Span
from deepclean.errors import InputError

NOW = 1_400_000_000_700_000_000
TEN = 1_479_808_818
"""2026-11-27 10:00 UTC."""


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("1400000000", 1_400_000_000),
        ("1.4e9", 1_400_000_000),
        ("now", 1_400_000_000),
        ("now-2h", 1_399_992_800),
        ("now + 1d", 1_400_086_400),
        ("2026-11-27 10:00", TEN),
        ("2026-11-27T10:00:00", TEN),
        ("2026-11-27T11:00:00+01:00", TEN),
        ("2026-11-27T10:00Z", TEN),
        ("2026-11-27", TEN - 36_000),
        ("Nov 27 2026 10:00", TEN),
        ("27 November 2026", TEN - 36_000),
    ],
)
def test_a_time_is_taken(text: str, second: int) -> None:
    assert whole_second("--end", text, lambda: NOW) == second * NS


def test_dates_are_those_of_gwpy() -> None:
    from gwpy.time import to_gps

    for text in ("2026-11-27 10:00", "2015-09-14 09:50:45", "2016-12-31", "Jan 3 2017 12:00"):
        assert whole_second("--end", text) == to_gps(text).ns()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "not a time in seconds, nor a date"),
        ("never", "not a time in seconds, nor a date"),
        ("1400000000000", "no plausible GPS time"),
        ("-5", "no plausible GPS time"),
        ("1.5", "whole GPS seconds"),
        ("2026-02-30", "not a date"),
        ("2026-11-27 10:00:00.5", "whole GPS seconds"),
        ("1066-10-14", "no plausible GPS time"),
        ("now-5", None),
        ("now-5x", "must be whole seconds"),
    ],
)
def test_what_is_no_time_is_refused(text: str, why: str | None) -> None:
    if why is None:
        assert whole_second("--end", text, lambda: NOW) == (1_400_000_000 - 5) * NS
        return
    with pytest.raises(InputError, match=re.escape(why)) as refused:
        whole_second("--end", text, lambda: NOW)
    assert str(refused.value).startswith(f"--end {text}")


def test_an_end_may_be_a_length() -> None:
    assert whole_span("100", "+1h") == Span.of_seconds(100, 3600)
    assert whole_span("100", "+90") == Span.of_seconds(100, 90)
    assert whole_span("now-1h", "now", lambda: NOW) == Span.of_seconds(1_399_996_400, 3600)
    with pytest.raises(InputError, match="a span must end after it starts"):
        whole_span("100", "100")
    with pytest.raises(InputError, match="must be whole seconds"):
        whole_span("100", "+0")


def test_lengths_and_spans_in_words() -> None:
    assert [seconds_of("--for", text) for text in ("90", "2h", "1.5m", "1d")] == [
        *(90, 7200, 90, 86400)
    ]
    assert said(Span.of_seconds(TEN, 60)) == (
        f"GPS {TEN} to {TEN + 60} (2026-11-27 10:00:00 to 10:01:00 UTC)"
    )
    assert said(Span.of_seconds(TEN, 86400)).endswith(
        "(2026-11-27 10:00:00 to 2026-11-28 10:00:00 UTC)"
    )
