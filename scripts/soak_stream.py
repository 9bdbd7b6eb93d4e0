"""The stream of the soak: files that appear, and the frames that must come of them."""

from __future__ import annotations

import heapq
import time
from collections import deque
from itertools import count
from pathlib import Path

import numpy as np

from deepclean.core.block import Series
from deepclean.core.channels import product_names
from deepclean.errors import InputError
from deepclean.io import gwf
from scripts.soak_faults import File, Second
from scripts.soak_site import START, Daemon, Site

KEPT = 256
"""Files of each kind that stay: the site's as well as ours."""

_CHECKED = 50
"""Every so many frames one is read back."""
_PAUSE = 0.02
"""Seconds between looks: listing a directory takes the time that the daemon needs."""


class Stream:
    """The site's files as they appear, and the frames that must come of them.

    Args:
        site: whose directories are filled.
        daemon: that cleans it.
    """

    def __init__(self, site: Site, daemon: Daemon) -> None:
        self.site = site
        self.daemon = daemon
        self._kept: dict[Path, deque[Path]] = {}
        self._due: list[tuple[float, int, File, bool]] = []
        self._order = count()
        self._ahead: deque[int] = deque()
        self._newest = START - 1
        self._unfit: set[int] = set()
        self._out_dq = product_names(site.config.strain.channel, ["OUT_DQ"])["OUT_DQ"]
        self.wanted: set[int] = set()
        self.possible: set[int] = set()
        self.seen: set[int] = set()
        self.checked = 0
        self.faults: list[str] = []

    def show(self, second: Second) -> None:
        """Let the files of a second appear."""
        if second.readable:
            self.wanted.add(second.number)
            self._ahead.append(second.number)
        elif second.readable is None:
            self.possible.add(second.number)
        if not second.finite:
            self._unfit.add(second.number)
        for file in second.files:
            if file.in_halves:
                file.path.write_bytes(file.data[: len(file.data) // 2])
                self._later(0.02, file, whole=False)
            elif file.delay:
                self._later(file.delay, file, whole=True)
            else:
                self._publish(file)
        self._late()

    @property
    def ahead(self) -> int:
        """How many frames had yet to come when last looked at."""
        return len(self._ahead)

    def follow(self, most: int) -> None:
        """Wait until the daemon is no more than so many frames behind."""
        self.daemon.until(lambda: self._look() <= most, pause=_PAUSE)

    def finish(self) -> None:
        """Wait until all is out and everything late has come."""
        self.daemon.until(lambda: not (self._look() or self._due), pause=_PAUSE)

    def _look(self) -> int:
        """Take note of new frames; return how many are still to come."""
        self._late()
        found = self.site.outputs()
        for second in sorted(set(found) - self.seen):
            self.seen.add(second)
            if second % _CHECKED == 0:
                self._check(second, found[second])
        self._newest = max(found, default=self._newest)
        while self._ahead and self._ahead[0] <= self._newest:
            self._ahead.popleft()
        return len(self._ahead)

    def _check(self, second: int, path: Path) -> None:
        """Read a frame whole."""
        try:
            cleaned = gwf.read(path, list(gwf.channels(path)), checksum=True)[self._out_dq]
        except (InputError, KeyError) as fault:
            self.faults.append(f"GPS {second}: {fault}")
            return
        self.checked += 1
        finite = isinstance(cleaned, Series) and bool(np.isfinite(cleaned.samples).all())
        if finite == (second in self._unfit):
            self.faults.append(f"GPS {second}: not finite where the strain is, or the reverse")

    def _later(self, delay: float, file: File, *, whole: bool) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), file, whole))

    def _late(self) -> None:
        """Let appear what came late and is due."""
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, file, whole = heapq.heappop(self._due)
            if whole:
                self._publish(file)
            else:
                file.path.write_bytes(file.data)
                self._keep(file.path)

    def _publish(self, file: File) -> None:
        gwf.publish(file.path, file.data)
        self._keep(file.path)

    def _keep(self, path: Path) -> None:
        """Delete the oldest file where there are too many, as a site does."""
        kept = self._kept.setdefault(path.parent, deque())
        kept.append(path)
        if len(kept) > KEPT:
            kept.popleft().unlink(missing_ok=True)
