"""Witnesses in frame files beside a stream of strain: they are waited for until a deadline."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deepclean.core.block import Gap
from deepclean.core.time import NS, Span
from deepclean.io.channels import Reading
from deepclean.io.reader import Reader
from deepclean.io.tail import FrameTail
from deepclean.system.clock import Clock
from deepclean.telemetry.counters import Result, Stream

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WitnessFiles:
    """The witnesses' files of a running site, read as they come.

    Args:
        witnesses: full channel names.
        tails: of the directories.
        clock: for the deadline.
        deadline: seconds after the strain's arrival until missing files are given up.
        stopped: returns whether to stop; called before every wait.
        wait: waits for the next poll.
        checksum: verify the checksum of every file.
        counts: files by stream and result.
        waiting: seconds for which the witnesses have been waited for.
    """

    witnesses: tuple[str, ...]
    tails: Sequence[FrameTail]
    clock: Clock
    deadline: float
    stopped: Callable[[], bool]
    wait: Callable[[], None]
    checksum: bool
    counts: Counter[tuple[Stream, Result]]
    waiting: dict[Stream, float]
    _reader: Reader = field(init=False)
    _lacking: float | None = None
    _missing: int = 0
    """The second that was counted as missing last."""

    def __post_init__(self) -> None:
        self._reader = Reader(checksum=self.checksum)

    def read(self, span: Span, since: float | None) -> Reading:
        """Return all witnesses over a span.

        Args:
            span: at most a second, or whole seconds.
            since: monotonic seconds from which on the deadline counts; None: nothing is waited for.
        """
        while True:
            reading = self._reading(span)
            late = since is None or self.clock.monotonic() - since >= self.deadline
            if self._complete(span, reading) or late or self.stopped():
                break
            self.wait()
        self._count(span, reading)
        return reading

    def settle(self, instant: int) -> None:
        """Note that everything before an instant is given out, and drop it."""
        self._reader.drop_before(instant)
        for tail in self.tails:
            tail.settle(instant)
            tail.drop_before(instant - NS)

    def _reading(self, span: Span) -> Reading:
        for tail in self.tails:
            for second in range(span.start // NS * NS, span.end, NS):
                tail.poll(second)
        files = [tail.file(name) for tail in self.tails for name in tail.within(span)]
        files.sort(key=lambda file: file.order)
        return self._reader.read(files, self.witnesses, span)

    def _complete(self, span: Span, reading: Reading) -> bool:
        """Return whether every witness is there, or a sound file of every directory."""
        if not any(isinstance(p, Gap) for pieces in reading.pieces.values() for p in pieces):
            return True
        covered = all(
            any(name.span.covers(span) for name in tail.within(span)) for tail in self.tails
        )
        return covered and not reading.faults

    def _count(self, span: Span, reading: Reading) -> None:
        for tail in self.tails:
            for name in tail.within(span):
                if tail.mark_read(name):
                    self.counts["witnesses", "taken"] += 1
        lacking = not self._complete(span, reading)
        second = span.start // NS
        if lacking and second != self._missing:
            self._missing = second
            result: Result = "unreadable" if reading.faults else "missing"
            self.counts["witnesses", result] += 1
            if self._lacking is None:
                for tail in self.tails:
                    _log.warning("%s", tail.describe())
        now = self.clock.monotonic()
        self._lacking = (self._lacking or now) if lacking else None
        self.waiting["witnesses"] = 0.0 if self._lacking is None else now - self._lacking
