"""How a running daemon is, as a level and in words, for monitors and people.

The levels are those of the plugins of Nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. A monitor of
the IGWN reads them from a file or an address with its plugin `check_json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from deepclean.core import reasons
from deepclean.core.accounting import Ledger
from deepclean.core.time import NS
from deepclean.telemetry.counters import UNOPENED, Counters

LEVELS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""The words of the levels."""

SILENT = 30.0
"""Seconds without a turn of the work loop after which it hangs: the watchdog of the service."""

OVERDUE = 60.0
"""Seconds without strain that make a WARNING."""

_LONG_OVERDUE = 300.0
"""Seconds without strain that make a CRITICAL."""

_SLOW = 5.0
"""Seconds by which latencies exceed the look-ahead where something is slow."""

_FRESH = 60
"""Seconds for which a file of `check_json` holds; it is written every few seconds."""


class Health(NamedTuple):
    """How the daemon is.

    >>> Health(1, ("no strain for 75 s", "the gate of 60Hz is closed")).text
    'WARNING: no strain for 75 s; the gate of 60Hz is closed'

    Args:
        level: an index of `LEVELS`.
        why: what is wrong, the worst first; empty where nothing is.
        well: what is said where nothing is wrong.
    """

    level: int
    why: tuple[str, ...] = ()
    well: str = ""

    @property
    def text(self) -> str:
        """The level and the reasons in one line."""
        return f"{LEVELS[self.level]}: {'; '.join(self.why) or self.well}"


def hung(age: float) -> Health:
    """Return the health of a daemon whose work loop has not turned for `age` seconds."""
    return Health(2, (f"the work loop has not turned for {age:.0f} s",))


def judge(
    ledger: Ledger,
    counters: Counters,
    latencies: Sequence[float],
    *,
    lookahead: int,
    losing: bool,
) -> Health:
    """Return how a daemon is whose work loop turns.

    Args:
        ledger: of its frames.
        counters: of what happens beside them.
        latencies: of the last frames, seconds.
        lookahead: nanoseconds of input that the engine needs after a frame.
        losing: whether frames were lost within the last minute.
    """
    found: list[tuple[int, str]] = []
    if losing:
        errors = ", ".join(sorted(ledger.lost))
        found.append((2, f"frames cannot be written and are lost ({errors})"))
    overdue = counters.waiting.get("strain", 0.0)
    if overdue >= OVERDUE:
        level = 2 if overdue >= _LONG_OVERDUE else 1
        found.append((level, f"no strain for {overdue:.0f} s"))
    elif ledger.last_out is None:
        found.append((1, "no frame has been written yet"))
    else:
        found += [(1, why) for why in _troubles(counters, ledger.last_out)]
        limit = lookahead / NS + _SLOW
        if latencies and (median := sorted(latencies)[len(latencies) // 2]) > limit:
            found.append((1, f"frames come out {median:.1f} s after their strain"))
    level = max((one for one, _ in found), default=0)
    found.sort(key=lambda one: -one[0])
    count = len(counters.gains)
    well = f"frames are written, {count} coupling{'' if count == 1 else 's'} at work"
    return Health(level, tuple(why for _, why in found), well)


def _troubles(counters: Counters, last_out: int) -> list[str]:
    """Return what is wrong with the couplings and the witnesses in the last frame, in words."""
    found = []
    for coupling in counters.gains:
        if counters.closed_seconds(coupling) >= UNOPENED / NS:
            found.append(f"the gate of {coupling} is {counters.gate(coupling)}")
        if reasons.MODEL_ERROR in counters.reasons.get(coupling, ()):
            found.append(f"the network of {coupling} fails")
    faulty: dict[str, list[str]] = {}
    for (channel, reason), last in counters.witness_last.items():
        if last == last_out and reason != reasons.ZERO:
            faulty.setdefault(channel, []).append(reason)
    found += [f"{channel}: {', '.join(why)}" for channel, why in list(faulty.items())[:3]]
    if len(faulty) > 3:
        found.append(f"{len(faulty) - 3} more witnesses")
    return found


def check_json(health: Health, written: float) -> Mapping[str, Any]:
    """Return what IGWN's `check_json` reads: the level while it is fresh, then UNKNOWN.

    >>> check_json(Health(0, (), "all is well"), 1.0)["status_intervals"][0]["txt_status"]
    'OK: all is well'

    Args:
        health: as it is now.
        written: seconds since the Unix epoch.
    """
    stale = f"UNKNOWN: deepclean has not written this for {_FRESH} s"
    return {
        "created_unix": int(written),
        "author": "deepclean",
        "ok_status": "Frames come in and go out, every gate is open, no witness is in trouble.",
        "status_intervals": [
            {
                "start_sec": 0,
                "end_sec": _FRESH,
                "num_status": health.level,
                "txt_status": health.text,
            },
            {"start_sec": _FRESH, "num_status": 3, "txt_status": stale},
        ],
    }
