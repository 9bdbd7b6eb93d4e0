"""The live source: the directories of a running site, as frames in order of time.

It advances by GPS. It waits for the next strain frame, then until its witnesses are there or
`deadline` has passed since the strain came, and goes on with what is there. A strain frame that is
absent while later ones exist is given the same time, then it is a gap.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite

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
        channels: what is wanted.
        strain: tail of the strain's directory.
        witnesses: tails of the witnesses' directories; none where the strain's own files hold
            them.
        clock: for waiting.
        deadline: seconds after a strain frame's arrival until what is missing is given up.
        probe: seconds between looks.
        history: nanoseconds of input to give first, from what lies there, as not wanted.
        resume: GPS nanoseconds from which frames are wanted; None: from the newest there is.
        stopped: asked before every wait.
        turn: called at every turn of the waiting loops, idle ones too.
        max_lag: nanoseconds behind the newest strain beyond which frames pass through until the
            newest is reached; None: everything is cleaned, however late.
        checksum: verify the checksum of every file.
        timings: told how long reading takes.

    Attributes:
        counts: files by stream and result, where it is not strain that was taken.
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
            InputError: the first strain frame lacks the strain or has it at another rate: the
                configuration is for another site.
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
            name = self._await(cursor)
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
                self._drop(cursor)
                continue
            later = self.strain.after(cursor)
            if later is not None and self._given_up(later):
                self.strain.rescan()  # what came since the last listing may lie before it
                if self.strain.at(cursor) is None:
                    end = (self.strain.after(cursor) or later).span.start
                    yield from self._absent(cursor, end, wanted_from)
                    cursor = end
                    self._settle(cursor, look=True)
                continue
            if due is not None and self.clock.monotonic() >= due:
                due = None
                yield Overdue()
            self._wait()

    def _falls_behind(self, span: Span) -> bool:
        """Return whether so much has come since this frame that cleaning must wait."""
        newest = max(self.strain.starts())
        return self.max_lag is not None and newest - span.start > self.max_lag

    def _catch_up(self, start: int) -> Generator[InputFrame, None, int]:
        """Let frames pass through up to the newest, then give the history before that again.

        Returns where cleaning goes on. That is the only place where time goes back, and only for
        frames that are not wanted.
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
        self._settle(cursor, look=True)
        _log.info("GPS %s: caught up; cleaning again", format_gps(cursor))
        self._reader.restart()
        reach = max(cursor - self.history, start)
        known = [s for s in self.strain.starts() if reach <= s < cursor]
        position = known[0] if known else cursor
        while position < cursor:
            before = self.strain.at(position) or self.strain.after(position)
            assert before is not None  # the newest lies at or after the cursor
            span = _rest(before, max(position, before.span.start), cursor)
            if span.start < cursor:
                yield self._frame(before, span, wanted=False)
            position = span.end
        return cursor

    def _first_wanted(self) -> int | None:
        """Wait for the first strain frame; return where the wanted ones begin."""
        while not self.stopped():
            self.strain.poll(0)
            starts = self.strain.starts()
            if starts:
                return starts[-1] if self.resume is None else self.resume
            self._wait()
        return None

    def _check_strain(self, instant: int) -> None:
        name = self.strain.at(instant) or self.strain.after(instant)
        if name is None:
            return
        path = self.strain.path(name)
        try:
            rates = gwf.channels(path)
        except (InputError, OSError) as fault:
            _log.warning("first strain frame: %s", fault)
            return  # it says nothing of the configuration; it is read again as any frame is
        if self.channels.strain not in rates:
            strain = self.channels.strain
            raise InputError(
                f"no channel {strain} (strain.channel){hint(strain, rates)}",
                path=path,
                channels=[strain],
            )
        if rates[self.channels.strain] != self.channels.rate:
            raise InputError(
                f"{self.channels.strain} is at {rates[self.channels.strain]} Hz, the "
                f"configuration says {self.channels.rate} Hz (strain.rate)",
                path=path,
                channels=[self.channels.strain],
            )

    def _wait(self) -> None:
        self.turn()
        self.clock.wait(self.probe)

    def _await(self, cursor: int) -> FrameName | None:
        self.strain.poll(cursor)
        return self.strain.at(cursor)

    def _given_up(self, later: FrameName) -> bool:
        return self.clock.monotonic() - self.strain.noticed(later) >= self.deadline

    def _frame(self, name: FrameName, span: Span, *, wanted: bool) -> InputFrame:
        """Return a frame: its strain, and the witnesses that are there by the deadline."""
        arrived = self.strain.noticed(name)
        strain, state = self._reader.read_strain(name, span, arrived)
        self._reader.gather(span, arrived)
        blocks = self._reader.aligner.blocks(strain, state)
        self._say(blocks)
        return InputFrame(span, blocks, wanted, arrived if isfinite(arrived) else None)

    def _absent(self, start: int, end: int, wanted_from: int) -> Iterator[InputFrame]:
        """Yield what there is of witnesses over a stretch without strain."""
        # What lies further back than the history reaches cannot matter to what comes.
        near = max(start, end - -(-self.history // NS) * NS)
        for low, high in pairwise(sorted({start, min(max(start, wanted_from), near), near})):
            gap = Gap(Span(low, high), "strain_missing")
            yield InputFrame(gap.span, [Block(gap.span, gap)], low >= wanted_from, bypass=True)
        start = near
        for second in range(start, end, NS):
            span = Span(second, second + NS)
            for tail in self.witnesses:
                self._reader.take(tail, span)
            blocks = self._reader.aligner.blocks(Gap(span, "strain_missing"))
            self._say(blocks)
            yield InputFrame(span, blocks, wanted=second >= wanted_from)

    def _settle(self, cursor: int, *, look: bool = False) -> None:
        """What comes from now on and ends before the cursor is late.

        Args:
            cursor: GPS nanoseconds.
            look: where not every file was asked for: what is there already is not late.
        """
        for tail in self._tails:
            if look:
                tail.rescan()
            tail.settle(cursor)

    def _drop(self, cursor: int) -> None:
        """Forget files and pieces that lie behind; a file may still hold what comes next."""
        self._reader.drop_before(cursor)
        for tail in self._tails:
            tail.drop_before(cursor - self.history)

    def _say(self, blocks: Sequence[Block]) -> None:
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
    """Return what a file holds from the cursor on, at most to an edge that lies within.

    Files may overlap, and the last output may end within one.
    """
    end = name.span.end
    return Span(cursor, edge if edge is not None and cursor < edge < end else end)
