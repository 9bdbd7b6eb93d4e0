"""What the parts of a live input share, and what each of them gives to the source.

Strain is read by a LiveReader: from frame files (io.live.strain_files) or from a stream
(io.arrakis.live). Witnesses come with the strain, or through a WitnessInput of the other kind.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deepclean.core.time import NS, Span, format_gps
from deepclean.io.channels import Reading
from deepclean.io.source import Channels
from deepclean.system.clock import Clock, gps_now
from deepclean.telemetry.counters import Result, Stream
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that strain may be overdue before it is said what is waited for."""


@dataclass(slots=True)
class LiveRun:
    """The limits, the clock and the accounts of a live input.

    Args:
        channels: the wanted channels.
        clock: for waiting.
        deadline: seconds after a strain frame's arrival until what is missing is given up.
        probe: seconds between two looks at what came.
        history: nanoseconds of input to give first as not wanted, where they are there.
        stopped: returns whether to stop; called before every wait.
        draining: returns whether frames are only look-ahead of those before them from now on: they
            are given as not wanted.
        turn: called after every frame, and at every turn of the waiting loops, idle ones too.
        checksum: verify the checksum of every file.
        timings: note the durations of reading.
        today: the wall clock's GPS nanoseconds.
        counts: files by stream and result, but for strain that was taken.
        ignored: files or blocks that were passed over, by reason.
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
        history_read: while the history is read, how much of it is (`read`) and will be (`whole`),
            in seconds.

    Attributes:
        began: when the first strain was there (monotonic seconds).
    """

    channels: Channels
    clock: Clock
    deadline: float
    probe: float
    history: int
    stopped: Callable[[], bool]
    draining: Callable[[], bool] = lambda: False
    turn: Callable[[], None] = lambda: None
    checksum: bool = False
    timings: Timings = field(default_factory=Timings)
    today: Callable[[], int] = gps_now
    counts: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    waiting: dict[Stream, float] = field(default_factory=dict)
    history_read: dict[str, float] = field(default_factory=dict)
    began: float = math.inf
    _due: float = field(init=False)
    _said: bool = False

    def __post_init__(self) -> None:
        self._due = self.clock.monotonic()

    def wait(self) -> None:
        """Turn the loop, and wait for the next look."""
        self.turn()
        self.clock.wait(self.probe)

    def came(self, span: Span) -> None:
        """Note that strain came; the next is due when as much time has passed, and the deadline."""
        if self._said:
            _log.info("GPS %s: strain again", format_gps(span.start))
        self._due = self.clock.monotonic() + span.duration / NS + self.deadline
        self._said, self.waiting["strain"] = False, 0.0

    def is_silent(self, describe: Callable[[], str]) -> bool:
        """Say once what is waited for, where strain is overdue; return whether it is."""
        overdue = self.clock.monotonic() - self._due
        self.waiting["strain"] = max(overdue, 0.0)
        if overdue < _PATIENCE:
            return False
        if not self._said:
            _log.warning("no strain for %.0f s: %s", overdue, describe())
        self._said = True
        return True

    def resumed(self, outputs: Sequence[int], latest: int, shown: object) -> int | None:
        """Return the end of the last output that the strain has reached, or None.

        Args:
            outputs: ends of the frames that are written already, in order.
            latest: what ends later lies ahead of the strain, and is not taken for its output.
            shown: where the strain is, for the message.
        """
        reached = [end for end in outputs if end <= latest]
        if len(reached) < len(outputs):
            _log.warning(
                "output to GPS %s lies ahead of the strain (%s): it is not taken for its output",
                format_gps(outputs[-1]),
                shown,
            )
        return reached[-1] if reached else None


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a live input begins: the start of the wanted frames, and that of their history."""

    wanted: int
    history: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a reader gives next.

    Args:
        span: from the cursor on.
        arrived: when its strain came (monotonic seconds); None: before the start, or of the past.
        absent: whether there is no strain, and none will come.
    """

    span: Span
    arrived: float | None = None
    absent: bool = False


class LiveReader(Protocol):
    """Reads strain, and the witnesses with it, as they come."""

    @property
    def cell(self) -> int:
        """Nanoseconds, counted from GPS 0, that are a gap as a whole where some of it is one."""
        ...

    def announce(self) -> None:
        """Say what is waited for at the start."""
        ...

    def describe(self) -> str:
        """Return what strain is waited for, and what is there instead."""
        ...

    def begin(self, outputs: Sequence[int], resume: int | None) -> Beginning | None:
        """Return where to begin; None: no strain has come yet.

        Args:
            outputs: ends of the frames that are written already, in order.
            resume: GPS nanoseconds from which frames are wanted, as a stream that has begun again
                says; None: from the end of the last output, or from the newest strain there is.

        Raises:
            InvalidError: the configuration is for another site, or the server refuses.
        """
        ...

    def find(self, cursor: int) -> Arrival | None:
        """Return what is to be given next; None: it has not come yet."""
        ...

    def newest(self, cursor: int) -> int | None:
        """Return the start of the newest strain that may be believed."""
        ...

    def await_others(self, span: Span, arrived: float | None) -> None:
        """Wait until all channels of a span are there, at most until the deadline."""
        ...

    def read(self, span: Span) -> Reading:
        """Return all wanted channels over a span, from what came."""
        ...

    def settle(self, cursor: int, keep: int, *, rescan: bool = False) -> None:
        """Note that what lies before the cursor is given out, and drop it.

        Args:
            cursor: GPS nanoseconds.
            keep: what lies after this may be read again, as history.
            rescan: look for what came first, where not all was asked for.
        """
        ...

    def begins_again(self) -> int | None:
        """Return where the stream has begun again, before what was given; None: it has not."""
        ...


class WitnessInput(Protocol):
    """Reads witnesses that do not come with the strain."""

    def announce(self) -> None:
        """Say what is waited for at the start."""
        ...

    def begin(self, resume: int | None) -> None:
        """Begin, as LiveReader.begin; the strain is there."""
        ...

    def await_span(self, span: Span, since: float) -> None:
        """Wait for all of a span, at most until the deadline after `since` (monotonic seconds)."""
        ...

    def read(self, span: Span) -> Reading:
        """Return the witnesses over a span, from what came."""
        ...

    def settle(self, instant: int, *, rescan: bool = False) -> None:
        """Note that what lies before an instant is not read again, and drop it."""
        ...
