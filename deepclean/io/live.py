"""The live source: the directories of a running site, as frames in order of time.

It advances by GPS. It waits for the next strain frame, and then until all its witnesses are there
or `deadline` has passed since the strain came. A strain frame that is absent while later ones exist
is waited for as long, then it is a gap.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError, hint
from deepclean.io import gwf
from deepclean.io.live_reader import LiveReader
from deepclean.io.source import Channels
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FrameTail
from deepclean.system.clock import Clock
from deepclean.telemetry.counters import Result, Stream
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Overdue:
    """The look-ahead of the frames given so far did not come in time."""


@dataclass(slots=True)
class LiveSource:
    """Tails the directories of a running site.

    Args:
        channels: the wanted channels.
        strain: tail of the strain's directory.
        witnesses: tails of the witnesses' directories; none where the strain's own files hold
            them.
        clock: for waiting.
        deadline: seconds after a strain frame's arrival until missing files are given up.
        probe: seconds between two polls of the directories.
        history: nanoseconds of input, of the files that lie there, to give first as not wanted.
        resume: GPS nanoseconds from which frames are wanted; None: from the newest there is.
        stopped: returns whether to stop; called before every wait.
        turn: called at every turn of the waiting loops, idle ones too.
        max_lag: nanoseconds behind the newest strain beyond which frames pass through until the
            newest is reached; None: everything is cleaned, however late.
        checksum: verify the checksum of every file.
        timings: note the durations of reading.

    Attributes:
        counts: files by stream and result, but for strain that was taken.
        ignored: files of either stream that were passed over, by reason (io.tail).
    """

    channels: Channels
    strain: FrameTail
    witnesses: Sequence[FrameTail]
    clock: Clock
    deadline: float
    probe: float
    history: int
    stopped: Callable[[], bool]
    turn: Callable[[], None] = lambda: None
    max_lag: int | None = None
    resume: int | None = None
    checksum: bool = False
    timings: Timings = field(default_factory=Timings)
    counts: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    _reader: LiveReader = field(init=False)
    _without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._reader = LiveReader(
            *(self.channels, self.strain, self.witnesses),
            clock=self.clock,
            deadline=self.deadline,
            checksum=self.checksum,
            stopped=self.stopped,
            wait=self._wait,
            counts=self.counts,
            timings=self.timings,
        )
        for tail in self._tails:
            tail.ignored = self.ignored

    @property
    def _tails(self) -> tuple[FrameTail, ...]:
        return (self.strain, *self.witnesses)

    def events(self) -> Iterator[InputFrame | Overdue]:
        """Yield frames in order of time, and once per lull that the look-ahead is overdue.

        Raises:
            InputError: the first strain frame has the strain at another rate: the configuration is
                for another site.
        """
        wanted_from = self._first_wanted()
        if wanted_from is None:
            return
        reach = wanted_from - self.history
        cursor = min((s for s in self.strain.starts() if s >= reach), default=wanted_from)
        self._check_strain(cursor)
        self._settle(cursor)
        _log.info(
            "cleaning from GPS %s, history from GPS %s", format_gps(wanted_from), format_gps(cursor)
        )
        due: float | None = None
        while not self.stopped():
            self.strain.poll(cursor)
            name = self.strain.at(cursor)
            if name is not None:
                self.turn()
                span = _rest(name, cursor, wanted_from)
                wanted = span.start >= wanted_from
                if wanted and self._falls_behind(span):
                    cursor = yield from self._catch_up(span.start)
                    continue
                yield self._frame(name, span, wanted=wanted)
                cursor = span.end
                due = self.clock.monotonic() + span.duration / NS + self.deadline
                self._settle(cursor)
                # A file may still hold what comes next; what lies behind is dropped.
                self._reader.drop_before(cursor)
                for tail in self._tails:
                    tail.drop_before(cursor - self.history)
                continue
            later = self.strain.after(cursor)
            arrived = math.inf if later is None else self.strain.noticed(later)
            if later is not None and self.clock.monotonic() - arrived >= self.deadline:
                self.strain.rescan()  # a file that came since the last listing may lie before it
                if self.strain.at(cursor) is None:
                    end = (self.strain.after(cursor) or later).span.start
                    yield from self._absent(cursor, end, wanted_from)
                    cursor = end
                    self._settle(cursor, rescan=True)
                continue
            if due is not None and self.clock.monotonic() >= due:
                due = None
                yield Overdue()
            self._wait()

    def _falls_behind(self, span: Span) -> bool:
        """Return whether the newest strain is more than `max_lag` ahead of this frame."""
        newest = max(self.strain.starts())
        return self.max_lag is not None and newest - span.start > self.max_lag

    def _catch_up(self, start: int) -> Generator[InputFrame, None, int]:
        """Let frames pass through up to the newest, then give the history before that again.

        Returns the instant from which on frames are cleaned. Time goes back only here, and only
        for frames that are not wanted.
        """
        _log.warning("GPS %s: too far behind; passing through", format_gps(start))
        cursor = start
        while (held := self.strain.at(cursor)) is not None and not self.stopped():
            self.turn()
            if held.span.start >= max(self.strain.starts()):
                break
            span = _rest(held, cursor)
            strain, state = self._reader.read_strain(held, span, self.strain.noticed(held))
            witnesses = {w: Gap(span, reasons.LATE) for w in self.channels.witnesses}
            yield InputFrame(span, [Block(span, strain, witnesses, state)], bypass=True)
            cursor = span.end
            self.strain.settle(cursor)
            self.strain.poll(cursor)
        self._settle(cursor, rescan=True)
        _log.info("GPS %s: caught up; cleaning again", format_gps(cursor))
        self._reader.restart()
        reach = max(cursor - self.history, start)
        known = [s for s in self.strain.starts() if reach <= s < cursor]
        position = known[0] if known else cursor
        while position < cursor and not self.stopped():
            self.turn()
            before = self.strain.at(position) or self.strain.after(position)
            assert before is not None  # the newest lies at or after the cursor
            span = _rest(before, max(position, before.span.start), cursor)
            if span.start < cursor:
                yield self._frame(before, span, wanted=False)
            position = span.end
        return cursor

    def _first_wanted(self) -> int | None:
        """Wait for the first strain frame; return the start of the wanted frames, or None."""
        while not self.stopped():
            self.strain.poll(0)
            starts = self.strain.starts()
            if starts:
                return starts[-1] if self.resume is None else self.resume
            self._wait()
        return None

    def _check_strain(self, instant: int) -> None:
        """Check the first frame against the configuration.

        Frames may hold no strain while a detector is down: that is said, and may change.

        Raises:
            InputError: the strain has another rate.
        """
        name = self.strain.at(instant) or self.strain.after(instant)
        if name is None:
            return
        path = self.strain.path(name)
        try:
            rates = gwf.channels(path)
        except (InputError, OSError) as fault:
            _log.warning("first strain frame: %s", fault)
            return  # it tells nothing of the configuration; it is read again as any frame is
        strain = self.channels.strain
        if strain not in rates:
            said = f"no channel {strain} (strain.channel){hint(strain, rates)}"
            _log.warning("%s: %s; waiting for frames that have it", path, said)
            return
        self.channels.check_rate(rates[strain], path)

    def _wait(self) -> None:
        self.turn()
        self.clock.wait(self.probe)

    def _frame(self, name: FrameName, span: Span, *, wanted: bool) -> InputFrame:
        """Return a frame: its strain, and the witnesses that are there by the deadline."""
        arrived = self.strain.noticed(name)
        strain, state = self._reader.read_strain(name, span, arrived)
        self._reader.read_witnesses(span, arrived)
        blocks = self._reader.aligner.blocks(strain, state)
        self._log_gaps(blocks)
        return InputFrame(span, blocks, wanted, arrived if math.isfinite(arrived) else None)

    def _absent(self, start: int, end: int, wanted_from: int) -> Iterator[InputFrame]:
        """Yield frames over a stretch without strain, with the witnesses that are there."""
        # What is older than the history does not matter to later frames.
        near = max(start, end - -(-self.history // NS) * NS)
        for low, high in pairwise(sorted({start, min(max(start, wanted_from), near), near})):
            gap = Gap(Span(low, high), "strain_missing")
            yield InputFrame(gap.span, [Block(gap.span, gap)], low >= wanted_from, bypass=True)
        start = near
        for second in range(start, end, NS):
            if self.stopped():
                return
            self.turn()
            span = Span(second, second + NS)
            for tail in self.witnesses:
                self._reader.read_tail(tail, span)
            blocks = self._reader.aligner.blocks(Gap(span, "strain_missing"))
            self._log_gaps(blocks)
            yield InputFrame(span, blocks, wanted=second >= wanted_from)

    def _settle(self, cursor: int, *, rescan: bool = False) -> None:
        """Note that files that come from now on and end before the cursor are late.

        Args:
            cursor: GPS nanoseconds.
            rescan: list the directories first, where not every file was asked for by its name.
        """
        for tail in self._tails:
            if rescan:
                tail.rescan()
            tail.settle(cursor)

    def _log_gaps(self, blocks: Sequence[Block]) -> None:
        """Log which channels lost their samples or have them again: transitions only."""
        without = frozenset(
            name
            for block in blocks
            for name, channel in {**block.witnesses, self.channels.strain: block.strain}.items()
            if isinstance(channel, Gap)
        )
        instant = format_gps(blocks[0].span.start)
        if lost := sorted(without - self._without):
            _log.warning("GPS %s: no samples of %s", instant, ", ".join(lost))
        if back := sorted(self._without - without):
            _log.info("GPS %s: samples again of %s", instant, ", ".join(back))
        self._without = without


def _rest(name: FrameName, cursor: int, edge: int | None = None) -> Span:
    """Return the span of a file from the cursor on, at most to an edge that lies within.

    Files may overlap, and the last output may end within one.
    """
    end = name.span.end
    return Span(cursor, edge if edge is not None and cursor < edge < end else end)
