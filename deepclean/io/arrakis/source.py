"""The live source where the strain is streamed: blocks of an Arrakis server, in order of time.

It advances by GPS in blocks of the configured stride. What the server gives as a gap is one at
once: the server waited for it. A hole, where blocks never came, is asked for as part of the past;
what the server does not have of it is a gap when it has said so, or is silent. The history at a
start, and what came since the last output, are asked for in the same way.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from deepclean.core.align import Piece
from deepclean.core.block import Block, Gap
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import InputError
from deepclean.io.arrakis.files import WitnessFiles
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.live import Overdue
from deepclean.io.source import Channels, GapLog
from deepclean.system.clock import Clock
from deepclean.telemetry.counters import Stream

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that strain may be overdue before it is said what is waited for."""


@dataclass(slots=True)
class StreamSource:
    """Gives the blocks of a stream as frames.

    Args:
        channels: the wanted channels.
        inbox: gives the blocks.
        files: holds the witnesses where these come in files; None: they are streamed too.
        unit: nanoseconds of a frame.
        clock: for waiting.
        deadline: seconds without the next block after which the look-ahead is overdue.
        probe: seconds between two looks at the files.
        history: nanoseconds of input to give first as not wanted, where the server has it.
        stopped: returns whether to stop; called before every wait.
        draining: returns whether frames are only look-ahead of those before them from now on.
        turn: called at every turn of the waiting loops, idle ones too.
        max_lag: nanoseconds behind the newest strain beyond which frames pass through; None:
            everything is cleaned, however late.
        outputs: ends of the frames that are written already, in order.
        waiting: seconds for which a stream has been waited for beyond its time, by stream.
        resume: not used: a stream of a server does not begin again.

    Attributes:
        begins_again: None.
    """

    channels: Channels
    inbox: StreamInbox
    files: WitnessFiles | None
    unit: int
    clock: Clock
    deadline: float
    probe: float
    history: int
    stopped: Callable[[], bool]
    draining: Callable[[], bool] = lambda: False
    turn: Callable[[], None] = lambda: None
    max_lag: int | None = None
    outputs: Sequence[int] = ()
    waiting: dict[Stream, float] = field(default_factory=dict)
    resume: int | None = None
    begins_again: int | None = None
    _gaps: GapLog = field(default_factory=GapLog)
    _noted: list[Block] = field(default_factory=list)
    _faults: list[InputError] = field(default_factory=list)
    _last: int | None = None
    """The end of the wanted frames, once told to stop: the end of a second, as files have them."""
    _due: float = 0.0
    _said: bool = False

    def events(self) -> Iterator[InputFrame | Overdue]:
        """Yield frames in order of time, and once per lull that the look-ahead is overdue.

        Raises:
            InvalidError: the configuration is for another site, or the server refuses.
        """
        wanted_from = self._first_wanted()
        if wanted_from is None:
            return
        cursor = (wanted_from - self.history) // NS * NS if self.inbox.reach else wanted_from
        self._settle(cursor)
        _log.info(
            "cleaning from GPS %s, history from GPS %s", format_gps(wanted_from), format_gps(cursor)
        )
        due: float | None = None
        while not self.stopped():
            span = Span(cursor, cursor + self.unit)
            self._take(span)
            gone = self._beyond_reach(span)
            if gone is not None:
                block = Block(gone, Gap(gone, "strain_missing"))
                yield InputFrame(gone, [block], gone.start >= wanted_from, bypass=True)
                cursor = gone.end
                self._settle(cursor)
                continue
            if self.inbox.is_decided(span):
                self.turn()
                wanted = span.start >= wanted_from and self._goes_on(span)
                if wanted and self._falls_behind(span):
                    cursor = yield from self._catch_up(span.start)
                    continue
                arrived = self.inbox.store.arrived(span)
                yield from self._frames(span, wanted=wanted, arrived=arrived)
                cursor = span.end
                if not self.draining():
                    due = self.clock.monotonic() + self.unit / NS + self.deadline
                self._settle(cursor)
                continue
            if due is not None and self.clock.monotonic() >= due:
                due = None
                yield Overdue()
            self._is_silent()
            self._wait()

    def _first_wanted(self) -> int | None:
        """Wait for the first strain; return the start of the wanted frames, or None."""
        self._due = self.clock.monotonic()
        _log.info("%s", self.inbox.feed.describe())
        while not self.stopped():
            first = self.inbox.begin(self.channels.strain)
            if first is not None:
                whole = max(self.unit, NS)
                return self._resumed(first, -(-first // whole) * whole)
            self._is_silent()
            self._wait()
        return None

    def _resumed(self, first: int, start: int) -> int:
        """Return the end of the last output if the stream may still have what follows it.

        Args:
            first: where the stream is now.
            start: the first whole second of it.
        """
        reached = [end for end in self.outputs if end <= start]
        if len(reached) < len(self.outputs):
            _log.warning(
                "output to GPS %s lies ahead of the stream (%s): it is not taken for its output",
                format_gps(self.outputs[-1]),
                format_gps(first),
            )
        last = reached[-1] if reached else 0
        return last if last >= first - self.inbox.reach and last % self.unit == 0 else start

    def _take(self, span: Span) -> None:
        """Take what came, with the next frame's span in mind."""
        for block in self.inbox.take(span):
            if block.arrived is not None and block.has(self.channels.strain):
                self._flows(block.span)

    def _goes_on(self, span: Span) -> bool:
        """Return whether a frame is wanted, as far as it is for being told to stop."""
        if self.draining() and self._last is None:
            self._last = -(-span.start // NS) * NS
        return self._last is None or span.start < self._last

    def _beyond_reach(self, span: Span) -> Span | None:
        """Return a long stretch for which nothing came and which nobody is asked for."""
        hole = self.inbox.known_hole(span)
        if hole is None:
            return None
        end = (hole.end - self.inbox.reach - self.history) // NS * NS
        return Span(span.start, end) if end > span.start else None

    def _is_silent(self) -> bool:
        """Say once what is waited for, where strain is overdue; return whether it is."""
        overdue = self.clock.monotonic() - self._due
        self.waiting["strain"] = max(overdue, 0.0)
        if overdue < _PATIENCE:
            return False
        if not self._said:
            _log.warning("no strain for %.0f s: %s", overdue, self.inbox.feed.describe())
        self._said = True
        return True

    def _flows(self, span: Span) -> None:
        """Note that strain came, and when the next is due."""
        if self._said:
            _log.info("GPS %s: strain again", format_gps(span.start))
        self._due = self.clock.monotonic() + self.unit / NS + self.deadline
        self._said = False
        self.waiting["strain"] = 0.0

    def _falls_behind(self, span: Span) -> bool:
        """Return whether the newest block is more than `max_lag` ahead of this frame."""
        return self.max_lag is not None and self.inbox.store.end - span.end > self.max_lag

    def _catch_up(self, start: int) -> Generator[InputFrame, None, int]:
        """Let frames pass through up to the newest, then give what is kept of them again.

        Returns the instant from which on frames are cleaned. Time goes back only here, and only
        for frames that are not wanted.
        """
        _log.warning("GPS %s: too far behind; passing through", format_gps(start))
        cursor, kept = start, deque[Block]()
        while not self.stopped() and not self.draining():
            self.turn()
            span = Span(cursor, cursor + self.unit)
            self._take(span)
            if not self.inbox.store.has_after(span.end) or not self.inbox.is_decided(span):
                break
            kept += self._blocks(span)
            while kept and kept[0].span.end <= cursor - self.history:
                kept.popleft()
            yield from self._frames(span, wanted=True, bypass=True)
            cursor = span.end
            self._settle(cursor)
        _log.info("GPS %s: caught up; cleaning again", format_gps(cursor))
        for block in kept:
            yield InputFrame(block.span, [block], wanted=False)
        return cursor

    def _frames(
        self, span: Span, *, wanted: bool, arrived: float | None = None, bypass: bool = False
    ) -> Iterator[InputFrame]:
        """Yield what there is of a span: a frame for each stretch with strain, and for each gap."""
        blocks = self._blocks(span, arrived, bypass=bypass)
        for _, group in groupby(blocks, lambda block: isinstance(block.strain, Gap)):
            given = list(group)
            part = Span(given[0].span.start, given[-1].span.end)
            yield InputFrame(part, given, wanted, arrived, bypass)

    def _blocks(
        self, span: Span, arrived: float | None = None, *, bypass: bool = False
    ) -> list[Block]:
        """Return the blocks of a span; in passing, nobody waits for witnesses in files."""
        streamed = self.channels.of_strain_file
        if self.files is None:
            streamed = (*streamed, *self.channels.witnesses)
        pieces: Mapping[str, Sequence[Piece]] = self.inbox.store.pieces(streamed, span)
        if self.files is not None:
            since = None if bypass else arrived
            if (
                since is None
                and self.inbox.store.end - span.end < self.deadline * NS
                and not bypass
            ):
                since = self.clock.monotonic()  # of the past, but its files may still come
            reading = self.files.read(span, since)
            pieces = {**reading.pieces, **pieces}
            self._faults += reading.faults
        blocks = self.channels.blocks(span, pieces)
        if not bypass:
            self._note(blocks)
        return blocks

    def _note(self, blocks: Sequence[Block]) -> None:
        """Note what has samples, second by second."""
        if self._noted and self._noted[-1].span.start // NS != blocks[0].span.start // NS:
            self._gaps.note(self.channels, self._noted, self._faults)
            self._noted, self._faults = [], []
        self._noted += blocks

    def _settle(self, instant: int) -> None:
        self.inbox.store.settle(instant)
        if self.files is not None:
            self.files.settle(instant)

    def _wait(self) -> None:
        self.turn()
        self.clock.wait(self.probe)
