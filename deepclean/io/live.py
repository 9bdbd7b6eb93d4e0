"""The live source: the directories of a running site, as frames in order of time.

It advances by GPS. It waits for the next strain frame, and then until all its witnesses are there
or `deadline` has passed since the strain came. A strain frame that is absent while later ones exist
is waited for as long, then it is a gap. What the files give is that of a history (io.reader).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.io.live_files import LiveFiles
from deepclean.io.source import Channels, GapLog
from deepclean.io.t050017 import FrameName
from deepclean.io.tail import FAR, FrameTail
from deepclean.system.clock import Clock, gps_now
from deepclean.telemetry.counters import Result, Stream
from deepclean.telemetry.timings import Timings

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that strain may be overdue before it is said what is waited for."""


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
        resume: GPS nanoseconds from which frames are wanted, as a stream that has begun again says;
            None: from the end of the last output, or from the newest strain there is.
        outputs: ends of the frames that are written already, in order. What lies far ahead of the
            stream is not taken for its output.
        stopped: returns whether to stop; called before every wait.
        draining: returns whether frames are only look-ahead of those before them from now on: they
            are given as not wanted.
        turn: called at every turn of the waiting loops, idle ones too.
        max_lag: nanoseconds behind the newest strain beyond which frames pass through until the
            newest is reached; None: everything is cleaned, however late.
        checksum: verify the checksum of every file.
        timings: note the durations of reading.
        today: the wall clock's GPS nanoseconds.
        make_files: makes the files' side, of what LiveFiles takes.

    Attributes:
        counts: files by stream and result, but for strain that was taken.
        ignored: files of either stream that were passed over, by reason (io.tail).
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
        begins_again: where the stream has begun again; the events end there.
    """

    channels: Channels
    strain: FrameTail
    witnesses: Sequence[FrameTail]
    clock: Clock
    deadline: float
    probe: float
    history: int
    stopped: Callable[[], bool]
    draining: Callable[[], bool] = lambda: False
    turn: Callable[[], None] = lambda: None
    max_lag: int | None = None
    resume: int | None = None
    outputs: Sequence[int] = ()
    checksum: bool = False
    timings: Timings = field(default_factory=Timings)
    today: Callable[[], int] = gps_now
    make_files: Callable[..., LiveFiles] = LiveFiles
    counts: Counter[tuple[Stream, Result]] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    waiting: dict[Stream, float] = field(default_factory=dict)
    begins_again: int | None = None
    _files: LiveFiles = field(init=False)
    _gaps: GapLog = field(default_factory=GapLog)
    _due: float = 0.0
    _said: bool = False

    def __post_init__(self) -> None:
        self._files = self.make_files(
            *(self.channels, self.strain, self.witnesses),
            clock=self.clock,
            deadline=self.deadline,
            checksum=self.checksum,
            stopped=self.stopped,
            wait=self._wait,
            counts=self.counts,
            waiting=self.waiting,
            timings=self.timings,
            today=self.today,
        )
        for tail in self._files.tails:
            tail.ignored = self.ignored

    def events(self) -> Iterator[InputFrame | Overdue]:
        """Yield frames in order of time, and once per lull that the look-ahead is overdue.

        Raises:
            InputError: the newest strain frames lack the strain or have it at another rate: the
                configuration is for another site.
        """
        wanted_from = self._first_wanted()
        if wanted_from is None:
            return
        cursor = self._reach(wanted_from)
        self._files.settle(cursor)
        _log.info(
            "cleaning from GPS %s, history from GPS %s", format_gps(wanted_from), format_gps(cursor)
        )
        due: float | None = None
        while not self.stopped():
            self.strain.poll(cursor)
            if self.strain.at(cursor) is not None:
                self.turn()
            found = self._files.await_strain(cursor)
            if found is not None:
                span, arrived = found
                span = _rest(span, wanted_from)
                wanted = span.start >= wanted_from and not self.draining()
                if wanted and self._falls_behind(span):
                    cursor = yield from self._catch_up(span.start)
                    continue
                self._files.await_others(span, arrived)
                yield from self._frames(span, wanted=wanted, arrived=arrived)
                cursor = span.end
                expected = self.clock.monotonic() + span.duration / NS + self.deadline
                due = due if self.draining() else expected
                self._flows(span, expected)
                self._files.settle(cursor)
                # A file may still hold what comes next; what lies behind is dropped.
                self._files.drop_before(cursor, self.history)
                continue
            later = self._files.following(cursor)
            now = self.clock.monotonic()
            if later is not None and now - self.strain.noticed(later) >= self.deadline:
                self.strain.rescan()  # a file that came since the last listing may lie before it
                if self._files.await_strain(cursor) is None:
                    end = (self._files.following(cursor) or later).span.start
                    yield from self._absent(cursor, end, wanted_from)
                    cursor = end
                    self._files.settle(cursor, rescan=True)
                continue
            if due is not None and self.clock.monotonic() >= due:
                due = None
                yield Overdue()
            if self._is_silent() and (again := self._files.begins_again()) is not None:
                _log.warning("the stream begins again at GPS %s", format_gps(again))
                self.begins_again = again
                return
            self._wait()

    def _first_wanted(self) -> int | None:
        """Wait for the first strain frame; return the start of the wanted frames, or None."""
        self._due = self.clock.monotonic()
        self._say_places()
        while not self.stopped():
            self.strain.poll(0)
            if self.strain.names():
                self._files.check()
                newest = self._files.newest(self.resume)
                if newest is not None:
                    self._files.begin(newest, self.resume)
                    self._flows(newest.span, self.clock.monotonic() + newest.duration)
                    return self._resumed(newest) if self.resume is None else self.resume
            self._is_silent()
            self._wait()
        return None

    def _say_places(self) -> None:
        """Say of each directory what is waited for in it, and what is there or why it is closed."""
        for tail in self._files.tails:
            level = logging.INFO if tail.is_open() else logging.WARNING
            _log.log(level, "%s", tail.describe())

    def _resumed(self, newest: FrameName) -> int:
        """Return the end of the last output that the stream has reached, or the newest's start."""
        reached = [end for end in self.outputs if end <= newest.span.end + FAR]
        if len(reached) < len(self.outputs):
            _log.warning(
                "output to GPS %s lies ahead of the strain (%s): it is not taken for its output",
                format_gps(self.outputs[-1]),
                newest,
            )
        return reached[-1] if reached else newest.span.start

    def _reach(self, wanted_from: int) -> int:
        """Return where the history begins: in the first file that holds some of it."""
        reach = (wanted_from - self.history) // NS * NS
        held = (n.span for n in self._files.strain_names() if n.span.end > reach)
        return next((max(span.start, reach) for span in held), wanted_from)

    def _is_silent(self) -> bool:
        """Say once what is waited for, where strain is overdue; return whether it is."""
        overdue = self.clock.monotonic() - self._due
        self.waiting["strain"] = max(overdue, 0.0)
        if overdue < _PATIENCE:
            return False
        if not self._said:
            _log.warning("no strain for %.0f s: %s", overdue, self.strain.describe())
        self._said = True
        return True

    def _flows(self, span: Span, due: float) -> None:
        """Note that strain came, and when the next is due (monotonic seconds)."""
        if self._said:
            _log.info("GPS %s: strain again", format_gps(span.start))
        self._due, self._said = due, False
        self.waiting["strain"] = 0.0
        self.strain.earlier.clear()

    def _falls_behind(self, span: Span) -> bool:
        """Return whether the newest strain is more than `max_lag` ahead of this frame."""
        if self.max_lag is None:
            return False
        newest = self._files.newest(span.start)
        return newest is not None and newest.span.start - span.start > self.max_lag

    def _catch_up(self, start: int) -> Generator[InputFrame, None, int]:
        """Let frames pass through up to the newest, then give the history before that again.

        Returns the instant from which on frames are cleaned. Time goes back only here, and only
        for frames that are not wanted.
        """
        _log.warning("GPS %s: too far behind; passing through", format_gps(start))
        cursor = start
        while (found := self._files.await_strain(cursor)) is not None and not self.draining():
            self.turn()
            span, _ = found
            newest = self._files.newest(cursor)
            if newest is None or span.end > newest.span.start:
                break
            yield from self._frames(span, wanted=True, bypass=True)
            cursor = span.end
            self.strain.settle(cursor)
            self._files.drop_before(cursor, self.history)
            self.strain.poll(cursor)
        self._files.settle(cursor, rescan=True)
        _log.info("GPS %s: caught up; cleaning again", format_gps(cursor))
        position = max(self._reach(cursor), start)
        while position < cursor and not self.stopped():
            self.turn()
            before = self.strain.at(position)
            end = min(before.span.end if before is not None else position + NS, cursor)
            yield from self._frames(Span(position, end), wanted=False)
            position = end
        return cursor

    def _frames(
        self, span: Span, *, wanted: bool, arrived: float | None = None, bypass: bool = False
    ) -> Iterator[InputFrame]:
        """Yield what is there over a span: a frame with strain as long as it can be, or a gap."""
        reading = self._files.read(span)
        pieces = dict(reading.pieces)
        if bypass:
            pieces |= {name: [Gap(span, reasons.LATE)] for name in self.channels.witnesses}
        blocks = self.channels.blocks(span, pieces)
        if not bypass:
            self._gaps.note(self.channels, blocks, reading.faults)
        for _, group in groupby(_seconds(blocks), _gap):
            given = [block for second in group for block in second]
            part = Span(given[0].span.start, given[-1].span.end)
            yield InputFrame(part, given, wanted, arrived, bypass)

    def _absent(self, start: int, end: int, wanted_from: int) -> Iterator[InputFrame]:
        """Yield frames over a stretch without strain, with the witnesses that are there."""
        # What is older than the history does not matter to later frames.
        near = max(start, end - -(-self.history // NS) * NS)
        if start < near:
            self._note_absent(start)  # the frames from `near` on say it of themselves
        if self.draining():
            wanted_from = end
        for low, high in pairwise(sorted({start, min(max(start, wanted_from), near), near})):
            gap = Gap(Span(low, high), "strain_missing")
            yield InputFrame(gap.span, [Block(gap.span, gap)], low >= wanted_from, bypass=True)
        for second in range(near, end, NS):
            if self.stopped():
                return
            self.turn()
            for tail in self.witnesses:
                tail.poll(second)
            yield from self._frames(Span(second, second + NS), wanted=second >= wanted_from)

    def _note_absent(self, start: int) -> None:
        """Say what has no samples from an instant on: the files that are not there."""
        absent = dict.fromkeys(self.channels.of_strain_file, reasons.MISSING)
        if not any(tail.within(Span(start, start + NS)) for tail in self.witnesses):
            absent |= dict.fromkeys(self.channels.witnesses, reasons.MISSING)
        absent[self.channels.strain] = "strain_missing"
        self._gaps.note_absent(start // NS, absent)

    def _wait(self) -> None:
        self.turn()
        self.clock.wait(self.probe)


def _seconds(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yield the blocks of each second."""
    for _, group in groupby(blocks, lambda block: block.span.start // NS):
        yield list(group)


def _gap(second: Sequence[Block]) -> str | None:
    """Return why a second has no strain, or not throughout; None: it has."""
    return next((b.strain.reason for b in second if isinstance(b.strain, Gap)), None)


def _rest(span: Span, edge: int) -> Span:
    """Return a span at most to an edge that lies within: the last output may end there."""
    return Span(span.start, edge if span.start < edge < span.end else span.end)
