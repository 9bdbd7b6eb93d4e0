"""What the daemon did in each minute of the last hours, for the page.

The work loop samples the run's accounts once a second. A minute that is over becomes a line of JSON
and never changes. They are kept in files too (telemetry.minutes), so that a restart can be seen on
the page.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from deepclean.core import reasons
from deepclean.core.time import NS
from deepclean.errors import OutputError
from deepclean.telemetry import minutes
from deepclean.telemetry.accounts import Accounts

_log = logging.getLogger(__name__)

HOURS = 12
"""The hours that are kept."""

_MINUTE = 60
_OVERDUE = 5.0
"""Seconds that strain may be overdue before a second counts as one without input."""

_CHANNELS = 8
"""The largest number of witnesses in trouble that a minute names."""


class Timeline:
    """The minutes of the last hours.

    Args:
        accounts: of the run.
        directory: of the frames, in which the minutes are kept.
        description: of the frames.
        wall: seconds since the Unix epoch.
    """

    def __init__(
        self,
        accounts: Accounts,
        directory: Path,
        description: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._accounts, self._wall = accounts, wall
        self._place = directory, description
        self._minutes: deque[tuple[int, bytes]] = deque(maxlen=HOURS * 60)
        now = int(wall())
        for minute in minutes.read(*self._place, now - HOURS * 3600 + 1, now + 1):
            self._minutes.append((minute["t"], json.dumps(minute).encode()))
        self._unsaved: deque[bytes] = deque(maxlen=HOURS * 60)
        self._tried: bytes | None = None
        """The newest minute with which the last attempt to save was made."""
        self._works = True
        self._minute = _Minute(int(wall()) // _MINUTE * _MINUTE, starts=1)
        self._second = -1
        self._before = _counts(accounts)
        self._now = self._minute.encoded()

    def step(self) -> None:
        """Sample the accounts, once a second; called by the work loop at every turn."""
        second = int(self._wall())
        if second == self._second:
            return
        self._second = second
        start = second // _MINUTE * _MINUTE
        if start != self._minute.start:
            self._end_minute()
            self._minute = _Minute(start)
        counts = _counts(self._accounts)
        new = {what: counts[what] - self._before[what] for what in counts}
        self._before = counts
        written = new["frames"].total()
        recent = list(islice(reversed(self._accounts.latencies), written))
        self._minute.add(self._accounts, new, max(recent, default=None))
        self._now = self._minute.encoded()

    def content(self, since: int) -> bytes:
        """Return the minutes that begin after `since` (Unix seconds) as JSON, this one too."""
        lines = [line for start, line in tuple(self._minutes) if start > since]
        return b'{"minutes": [' + b", ".join([*lines, self._now]) + b"]}"

    def save(self) -> None:
        """Keep the minutes that are over; a failure is logged once, and tried with the next one."""
        newest = self._unsaved[-1] if self._unsaved else None
        if newest is None or newest is self._tried:
            return
        self._tried = newest
        try:
            while self._unsaved:
                minutes.append(*self._place, json.loads(self._unsaved[0]))
                self._unsaved.popleft()
            self._works = True
        except OutputError as error:
            if self._works:
                _log.warning("the timeline of the page is not kept: %s", error)
            self._works = False

    def close(self) -> None:
        """Keep the minute that is not over too: the daemon ends."""
        self._end_minute()
        self.save()

    def _end_minute(self) -> None:
        line = self._minute.encoded()
        self._minutes.append((self._minute.start, line))
        self._unsaved.append(line)


class _Minute:
    """The sums of one minute.

    Args:
        start: seconds since the Unix epoch.
        starts: how often the daemon started in it.
    """

    def __init__(self, start: int, starts: int = 0) -> None:
        self.start = start
        self._starts, self._seconds, self._waiting = starts, 0, 0
        self._latency: float | None = None
        self._slowest: int | None = None
        self._sums = {what: Counter[str]() for what in ("frames", "gaps", "lost")}
        self._channels: dict[str, None] = {}
        self._gates: dict[str, tuple[int, int, float, float | None]] = {}

    def add(
        self, accounts: Accounts, new: Mapping[str, Counter[str]], latency: float | None
    ) -> None:
        """Add a second.

        Args:
            accounts: of the run.
            new: what was counted in this second.
            latency: the highest of the frames of this second; None where there was none.
        """
        counters = accounts.counters
        self._seconds += 1
        self._waiting += counters.waiting.get("strain", 0.0) >= _OVERDUE
        for what, sums in self._sums.items():
            sums.update(new[what])
        for channel in new["channels"]:
            if len(self._channels) < _CHANNELS:
                self._channels[channel] = None
        last = accounts.ledger.last_out
        if latency is not None and latency > (self._latency or 0.0):
            self._latency, self._slowest = latency, None if last is None else last // NS
        if not new["frames"]:
            return
        for name, gain in counters.gains.items():
            count, closed, total, _ = self._gates.get(name, (0, 0, 0.0, None))
            quality = counters.qualities.get(name)
            ratio = quality.in_band if quality and isfinite(quality.in_band) else None
            closed += name in counters.closed_since
            self._gates[name] = (count + 1, closed, total + gain, ratio)

    def encoded(self) -> bytes:
        """Return the minute as a line of JSON."""
        made: dict[str, Any] = {
            "t": self.start,
            "seconds": self._seconds,
            "starts": self._starts,
            "waiting": self._waiting,
            "latency": None if self._latency is None else round(self._latency, 3),
            "slowest": self._slowest,
            **{what: dict(sums) for what, sums in self._sums.items()},
            "witnesses": list(self._channels),
            "couplings": {
                name: {
                    "closed": round(closed / count, 3),
                    "gain": round(total / count, 3),
                    "asd_ratio": None if ratio is None else round(ratio, 4),
                }
                for name, (count, closed, total, ratio) in self._gates.items()
            },
        }
        return json.dumps(made).encode()


def _counts(accounts: Accounts) -> dict[str, Counter[str]]:
    """Return copies of the counts that are sampled."""
    ledger, channels = accounts.ledger, Counter[str]()
    for (channel, reason), count in accounts.counters.witness_faults.items():
        if reason != reasons.ZERO:
            channels[channel] += count
    return {
        "frames": ledger.written.copy(),
        "gaps": ledger.gaps.copy(),
        "lost": ledger.lost.copy(),
        "channels": channels,
    }
