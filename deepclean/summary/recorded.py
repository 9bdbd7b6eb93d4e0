"""What the daemon noted of a day minute by minute, hour by hour: what frames do not tell.

These are why frames were not fully cleaned or there are none, which were the slowest, and how the
gates and the in-band ratios were as the gates measured them (telemetry.minutes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from deepclean.telemetry.minutes import Minute

_HOUR = 3600

_SLOWEST = 10
"""Frames that are listed, each the slowest of its minute."""

_COUNTS = ("frames", "gaps", "lost")


def recorded(minutes: Sequence[Minute], start: int, gps: int) -> dict[str, Any] | None:
    """Return the numbers of a day's minutes; None where there are none.

    Args:
        minutes: of the day.
        start: of the day, seconds since the Unix epoch.
        gps: the same in GPS seconds.
    """
    if not minutes:
        return None
    hours: dict[int, list[Minute]] = {}
    for minute in minutes:
        hours.setdefault((minute["t"] - start) // _HOUR, []).append(minute)
    slow = [
        {"gps": minute["slowest"], "latency": minute["latency"]}
        for minute in minutes
        if minute.get("slowest") is not None
    ]
    return {
        **_sums(minutes),
        "slowest": sorted(slow, key=lambda one: -one["latency"])[:_SLOWEST],
        "hours": [
            {
                "start": gps + _HOUR * hour,
                **_sums(found),
                "latency": max((one["latency"] or 0.0 for one in found), default=0.0),
                "couplings": _couplings(found),
            }
            for hour, found in sorted(hours.items())
        ],
    }


def _sums(minutes: Sequence[Minute]) -> dict[str, Any]:
    """Return the counts by reason, and how often the daemon started."""
    totals = {what: Counter[str]() for what in _COUNTS}
    for minute in minutes:
        for what, total in totals.items():
            total.update(minute[what])
    return {
        "starts": sum(minute["starts"] for minute in minutes),
        **{what: dict(sorted(total.items())) for what, total in totals.items()},
    }


def _couplings(minutes: Sequence[Minute]) -> dict[str, dict[str, float | None]]:
    """Return of each coupling its mean gain, the share of closed gate, and its median ratio."""
    names = sorted({name for minute in minutes for name in minute["couplings"]})
    found = {}
    for name in names:
        ones = [minute["couplings"][name] for minute in minutes if name in minute["couplings"]]
        ratios = [one["asd_ratio"] for one in ones if one["asd_ratio"] is not None]
        found[name] = {
            "gain": round(mean(one["gain"] for one in ones), 4),
            "closed": round(mean(one["closed"] for one in ones), 4),
            "asd_ratio": median(ratios) if ratios else None,
        }
    return found
