"""The blocks of an Arrakis server as live input: strain with its witnesses, or witnesses alone.

What the server gives as a gap is one at once: the server waited for it. A hole, where blocks never
came, is asked for as part of the past; what the server does not have of it is a gap when it has
said so, or is silent. The history at a start, and what came since the last output, are asked for in
the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from deepclean.core.time import NS, Span, format_gps
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.channels import Reading
from deepclean.io.live.run import Arrival, Beginning, LiveRun, WitnessInput

_log = logging.getLogger(__name__)

_FIRST = 10.0
"""Seconds for which a stream of witnesses is waited for at a start."""


@dataclass(slots=True)
class StrainStream:
    """Reads strain that is streamed (LiveReader), in blocks of the configured stride.

    Args:
        run: the limits and accounts.
        inbox: gives the blocks.
        unit: nanoseconds of a frame.
        witnesses: gives the witnesses; None: they are in the same blocks.

    Attributes:
        cell: each block of the server is a gap by itself.
    """

    run: LiveRun
    inbox: StreamInbox
    unit: int
    witnesses: WitnessInput | None = None
    cell: int = 1

    def announce(self) -> None:
        """Say what is waited for."""
        _log.info("%s", self.describe())
        if self.witnesses is not None:
            self.witnesses.announce()

    def describe(self) -> str:
        """Return what strain is waited for, and why it does not come."""
        return self.inbox.feed.describe()

    def begin(self, outputs: Sequence[int], resume: int | None) -> Beginning | None:
        """Return where to begin: the end of the last output, if what follows may still be there.

        Args:
            outputs: ends of the frames that are written already, in order.
            resume: not used: a server's stream does not begin again.

        Raises:
            InvalidError: the configuration is for another site, or the server refuses.
        """
        first = self.inbox.begin(self.run.channels.strain)
        if first is None:
            return None
        self.run.came(Span(first, first + self.unit))
        if self.witnesses is not None:
            self.witnesses.begin(resume)
        wanted = -(-first // self._whole) * self._whole
        last = self.run.resumed(outputs, wanted, f"GPS {format_gps(first)}")
        if last is not None and last >= first - self.inbox.reach and last % self.unit == 0:
            wanted = last
        if not self.inbox.reach:
            return Beginning(wanted, wanted)
        return Beginning(wanted, self._floor(wanted - self.run.history))

    def find(self, cursor: int) -> Arrival | None:
        """Return the next block once nothing more can come of it, or how long nothing came."""
        span = Span(cursor, cursor + self.unit)
        for block in self.inbox.take(span):
            if block.arrived is not None and block.has(self.run.channels.strain):
                self.run.came(block.span)
        hole = self.inbox.known_hole(span)
        if hole is not None:
            # Nobody is asked for what no later block's history rests on.
            gone = self._floor(hole.end - self.inbox.reach - self.run.history)
            if gone > cursor:
                return Arrival(Span(cursor, gone), absent=True)
        if not self.inbox.is_decided(span):
            return None
        return Arrival(span, self.inbox.store.arrived(span))

    def newest(self, cursor: int) -> int | None:
        """Return the start of the newest block."""
        return self.inbox.store.last

    def await_others(self, span: Span, arrived: float | None) -> None:
        """Wait until the witnesses of a span are there, where they come in files."""
        if self.witnesses is None:
            return
        since = self.run.began if arrived is None else arrived
        if arrived is None and self.inbox.store.end - span.end < self.run.deadline * NS:
            since = self.run.clock.monotonic()  # of the past, but its files may still come
        self.witnesses.await_span(span, since)

    def read(self, span: Span) -> Reading:
        """Return all wanted channels over a span, from what came."""
        channels, others = self.run.channels, Reading({})
        wanted = channels.of_strain_file
        if self.witnesses is None:
            wanted = (*wanted, *channels.witnesses)
        else:
            others = self.witnesses.read(span)
        return Reading({**others.pieces, **self.inbox.store.pieces(wanted, span)}, others.faults)

    def settle(self, cursor: int, keep: int, *, rescan: bool = False) -> None:
        """Note that what lies before `keep` is given out, and drop it."""
        self.inbox.store.settle(keep)
        if self.witnesses is not None:
            self.witnesses.settle(keep, rescan=rescan)

    def begins_again(self) -> int | None:
        """Return None: a server's stream does not begin again."""
        return None

    @property
    def _whole(self) -> int:
        return max(self.unit, NS)

    def _floor(self, instant: int) -> int:
        """Return the last instant before another that is a whole second and begins a block."""
        return instant // self._whole * self._whole


@dataclass(slots=True)
class WitnessStream:
    """Reads witnesses that are streamed beside frame files of strain (WitnessInput).

    Args:
        run: the limits and accounts.
        inbox: gives the blocks.
    """

    run: LiveRun
    inbox: StreamInbox
    _lacking: float | None = None

    def announce(self) -> None:
        """Say what is waited for."""
        _log.info("%s", self.inbox.feed.describe())

    def begin(self, resume: int | None) -> None:
        """Wait for the first block, for a while, so that the past before it can be asked for."""
        until = self.run.clock.monotonic() + _FIRST
        while self.inbox.begin(None) is None and self.run.clock.monotonic() < until:
            if self.run.stopped():
                return
            self.run.wait()

    def await_span(self, span: Span, since: float) -> None:
        """Wait until the stream has all of a span, at most until the deadline."""
        while True:
            self.inbox.take(span)
            if self.inbox.is_decided(span) or self.run.stopped():
                self._lacking = None
                break
            now = self.run.clock.monotonic()
            if now - since >= self.run.deadline and not self.inbox.feed.asking():
                self.run.counts["witnesses", "missing"] += 1
                if self._lacking is None:
                    _log.warning("%s", self.inbox.feed.describe())
                self._lacking = self._lacking or now
                break
            self.run.wait()
        now = self.run.clock.monotonic()
        self.run.waiting["witnesses"] = 0.0 if self._lacking is None else now - self._lacking

    def read(self, span: Span) -> Reading:
        """Return the witnesses over a span, from what came."""
        self.inbox.take(span)
        return Reading(self.inbox.store.pieces(self.run.channels.witnesses, span))

    def settle(self, instant: int, *, rescan: bool = False) -> None:
        """Note that what lies before an instant is not read again, and drop it."""
        self.inbox.store.settle(instant)
