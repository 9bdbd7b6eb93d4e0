"""The stream of the soak: it goes as fast as a daemon cleans it, and knows what must come of it."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from benchmarks.processes import Daemon
from benchmarks.site import START, SiteDirectory
from deepclean.core.accounting import Ledger
from deepclean.core.block import Series
from deepclean.core.channels import product_names
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io import gwf
from deepclean.simulate import Fault
from deepclean.telemetry import status_file

RATE = "strain.rate=4096"
"""A quarter of the demo's, which makes reading and writing cheaper."""

KEPT = 256
"""Files of each kind that stay: the site's as well as ours."""

AHEAD = 32
"""Frames that the stream is before the daemon at most; it waits until half of them are out."""

BURST = 100
"""Frames that a burst brings at once: more than `input.max_lag` allows."""

LATE = (4, 16, 64)
"""Seconds of data by which what is late comes late.

The daemon takes some 60 seconds of data a second and gives up after `soak.DEADLINE`, so the first
is in time, the second may be. The third is past `AHEAD`: the daemon has given up by then.
"""

UNREADABLE = {"missing", "outage", "truncated", "flipped", "absent", "rate", "invalid"}
UNCERTAIN = {"late", "partial", "deleted", "reordered"}
"""Faults of a strain file after which there is no frame; or perhaps none, as it is a race."""

NOT_FINITE, OVERWRITE = {"nan", "inf"}, {"zero", "frozen"}

_CHECKED = 50
"""Every so many frames one is read back."""
_PAUSE = 0.02
"""Seconds between looks: listing a directory takes the time that the daemon needs."""


class DaemonClock:
    """The clock of a stream (`deepclean.simulate.stream`) that a daemon's progress drives.

    Its seconds are seconds of data. They pass as soon as the daemon is near enough.
    """

    def __init__(
        self,
        site: SiteDirectory,
        daemon: Daemon,
        span: Span,
        faults: Sequence[Fault],
        bursts: Collection[int],  # seconds after which the next `BURST` seconds pass at once
        every: int,  # seconds from one sample to the next
        sample: Callable[[], None],  # called so often, when the daemon has nothing to do
    ) -> None:
        self._site, self._daemon, self._bursts = site, daemon, bursts
        self._every, self._sample = every, sample
        self._last = span.duration // NS
        self._out_dq = product_names(site.config.strain.channel, ["OUT_DQ"])["OUT_DQ"]
        self._kinds: dict[int, set[str]] = defaultdict(set)
        strain = {"strain", "both", site.config.strain.channel}
        for fault in faults:
            if fault.target in strain:
                for second in range(fault.span.start // NS, fault.span.end // NS):
                    self._kinds[second].add(fault.kind)
        self._missing: deque[int] = deque()
        self._newest = START - 1
        self.second = 0
        self.wanted: set[int] = set()  # GPS seconds that appeared and must have a frame
        self.possible: set[int] = set()  # those that may have one
        self.seen: set[int] = set()  # those that have had one
        self.checked = 0  # frames that were read back whole
        self.wrong: list[str] = []  # what was wrong with those

    def monotonic(self) -> float:
        """Return the seconds of data that have passed."""
        return float(self.second)

    def wait(self, seconds: float) -> None:
        """Let seconds of data pass: their files appear next.

        Raises:
            RuntimeError: the daemon ended, or does not go on.
        """
        before = self.second
        if before == 1:
            self._daemon.until(lambda: self._daemon.reads)
        if len(self._missing) > AHEAD:
            self._daemon.until(lambda: self._look() <= AHEAD // 2, pause=_PAUSE)
        if before and before % self._every == 0:
            self.finish()
            self._sample()
        burst = before in self._bursts and before + BURST <= self._last
        self.second += BURST if burst else round(seconds)
        for second in range(START + before, START + min(self.second, self._last)):
            kinds = self._kinds[second]
            if kinds & UNCERTAIN:
                self.possible.add(second)
            elif not kinds & UNREADABLE:
                self.wanted.add(second)
                self._missing.append(second)

    def finish(self) -> None:
        """Wait until all is out."""
        self._daemon.until(lambda: not self._look(), pause=_PAUSE)

    def _look(self) -> int:
        """Take note of new frames; return how many are still to come."""
        found = self._site.outputs()
        for second in sorted(set(found) - self.seen):
            self.seen.add(second)
            if second % _CHECKED == 0:
                self._check(second, found[second])
        self._newest = max(found, default=self._newest)
        while self._missing and self._missing[0] <= self._newest:
            self._missing.popleft()
        return len(self._missing)

    def _check(self, second: int, path: Path) -> None:
        """Read a frame whole."""
        try:
            cleaned = gwf.read(path, list(gwf.channels(path)), checksum=True)[self._out_dq]
        except (InputError, KeyError) as fault:
            self.wrong.append(f"GPS {second}: {fault}")
            return
        self.checked += 1
        finite = isinstance(cleaned, Series) and bool(np.isfinite(cleaned.samples).all())
        kinds = self._kinds[second]
        if finite == bool(kinds & NOT_FINITE) and not kinds & OVERWRITE:
            self.wrong.append(f"GPS {second}: not finite where the strain is, or the reverse")


def ledger(site: SiteDirectory) -> Ledger:
    """Return the ledger that a daemon keeps on disk."""
    output = site.config.output
    path = status_file.path_in(output.directory, output.description)
    return status_file.read(path, time.time()).ledger
