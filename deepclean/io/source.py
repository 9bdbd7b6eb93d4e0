"""The wanted channels, the blocks that they make, and history as a source of frames.

The live source is io.live. It waits for files; what they give, and what is said of it, is the same.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Protocol

from deepclean.core import reasons
from deepclean.core.align import Piece, blocks
from deepclean.core.block import Block, Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.output.segments import difference
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.channels import Reading
from deepclean.io.t050017 import FrameName

_log = logging.getLogger(__name__)

_STRAIN_REASONS = {reasons.MISSING: "strain_missing", reasons.CORRUPT: "strain_unreadable"}
"""The words for strain that is not there; those of witnesses are of the reader (io.reader)."""

_UNREAD = {*_STRAIN_REASONS, *_STRAIN_REASONS.values()}

_MINUTE = 60
"""Seconds of the stream over which the lines are counted."""

_CHANGES = 6
"""Seconds in a minute of which it is said that channels lost their samples, or have them again."""

_FAULTS = 16
"""Faults of files that are remembered, so that each is said once."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The wanted channels of the input.

    Args:
        strain: full name.
        rate: the strain's rate in Hz.
        state: full name of the source's state vector, or None.
        witnesses: full names.
    """

    strain: str
    rate: int
    state: str | None
    witnesses: tuple[str, ...]

    @property
    def of_strain_file(self) -> tuple[str, ...]:
        """The channels that are read from the strain's files."""
        return (self.strain,) if self.state is None else (self.strain, self.state)

    def blocks(self, span: Span, pieces: Mapping[str, Sequence[Piece]]) -> list[Block]:
        """Return the blocks of a span.

        A state vector that is wanted and has no samples is a gap: the strain is not ready there
        (core.output.state_vector).

        Args:
            span: of the blocks.
            pieces: by channel, what fills the span.
        """
        strain = [self.usable(piece) for piece in pieces[self.strain]]
        witnesses = {name: pieces[name] for name in self.witnesses}
        return blocks(span, strain, witnesses, pieces[self.state] if self.state else None)

    def usable(self, strain: Piece) -> Piece:
        """Return a piece of strain, or the gap that it is."""
        if isinstance(strain, Gap):
            return Gap(strain.span, _STRAIN_REASONS.get(strain.reason, strain.reason))
        return strain if strain.rate == self.rate else Gap(strain.span, "strain_rate")

    def check_rate(self, rate: int, path: Path | None = None) -> None:
        """Raise InputError where the strain has another rate than this one."""
        if rate != self.rate:
            raise InputError(
                f"{self.strain} is at {rate} Hz, the configuration says {self.rate} Hz "
                "(strain.rate)",
                path=path,
                channels=[self.strain],
            )

    def check_state(self, present: Collection[str]) -> None:
        """Warn where the wanted state vector is not among the channels that were found."""
        if self.state is not None and self.state not in present:
            _log.warning("%s", without_state(self.state))


def without_state(channel: str) -> str:
    """Return what it means that the configured state vector is absent, and the remedy."""
    return (
        f"no channel {channel} (strain.state_vector): no time counts as ready for analysis, and "
        "the gates stay closed; for data without one (GWOSC's files have only a mask of their "
        "own) set strain.state_vector=null"
    )


class ChannelHistory(Protocol):
    """Channels of the past: io.history.History, io.datafind.RemoteData and RemoteHistory."""

    @property
    def faults(self) -> list[InputError]:
        """The faults met so far."""
        ...

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of every channel, or of those `wanted` that are there."""
        ...

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        """Return the rate in Hz of every wanted channel. Raises InputError where one is absent."""
        ...

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the stretches for which there is data of a channel, in order."""
        ...

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        """Return, by channel, its samples over the whole span, or a gap."""
        ...

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        """Return, for every wanted channel, pieces that fill the span; and the faults met."""
        ...


@dataclass(slots=True)
class GapLog:
    """Logs which channels lost their samples and which have them again.

    Transitions only, and no more than a few in a minute of the stream: what comes and goes for ever
    is counted, and said when the minute is over.
    """

    _without: Mapping[str, str] = field(default_factory=dict)
    _begun: int = 0
    """The GPS second in which the minute began."""
    _lines: int = 0
    _held: int = 0
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=_FAULTS))

    def note(
        self, channels: Channels, given: Iterable[Block], faults: Sequence[InputError]
    ) -> None:
        """Note the next blocks, and the faults that were met while they were read."""
        for second, group in groupby(given, lambda block: block.span.start // NS):
            without: dict[str, str] = {}
            for block in group:
                held = {**block.witnesses, channels.strain: block.strain}
                if channels.state is not None and block.state is not None:
                    held[channels.state] = block.state
                gaps = {name: each.reason for name, each in held.items() if isinstance(each, Gap)}
                without = gaps | without
            self._say(second, without, faults)
            self._without = without

    def _end_minute(self, second: int) -> None:
        if 0 <= second - self._begun < _MINUTE:
            return
        if self._held:
            now = f"without samples now: {', '.join(sorted(self._without))}"
            _log.warning(
                "since GPS %d samples came and went %d more times; %s",
                self._begun,
                self._held,
                now if self._without else "all channels have samples now",
            )
        self._begun, self._lines, self._held = second, 0, 0

    def _say(self, second: int, without: Mapping[str, str], faults: Sequence[InputError]) -> None:
        self._end_minute(second)
        if without.keys() == self._without.keys():
            return
        if self._lines >= _CHANGES:
            self._held += 1
            return
        self._lines += 1
        if lost := sorted(without.keys() - self._without.keys()):
            said = ", ".join(f"{name} ({without[name]})" for name in lost)
            _log.warning("GPS %d: no samples of %s", second, said)
            # Samples that are flagged, or at another rate, are no fault of a file.
            unread = {name for name in lost if without[name] in _UNREAD}
            for fault in faults:
                hit = unread.intersection(fault.channels) and _is_of(fault, second)
                if hit and str(fault) not in self._said:
                    self._said.append(str(fault))
                    _log.warning("%s", fault)
        if back := sorted(self._without.keys() - without.keys()):
            _log.info("GPS %d: samples again of %s", second, ", ".join(back))


def _is_of(fault: InputError, second: int) -> bool:
    """Return whether a fault is of a file that holds a GPS second, as far as its name says."""
    name = None if fault.path is None else FrameName.parse(fault.path.name)
    return name is None or name.start <= second < name.start + name.duration


@dataclass(frozen=True, slots=True)
class HistorySource:
    """Reads the past, second by second.

    Args:
        channels: the wanted channels.
        strain: holds the strain.
        witnesses: holds the witnesses; may be the same.
    """

    channels: Channels
    strain: ChannelHistory
    witnesses: ChannelHistory

    @property
    def faults(self) -> list[InputError]:
        """The faults met so far, each once."""
        return list(dict.fromkeys([*self.strain.faults, *self.witnesses.faults]))

    def check(self) -> None:
        """As `require`, and warn where the state vector is not there."""
        self.require()
        self.channels.check_state(self.strain.channels(self.channels.of_strain_file))

    def require(self) -> None:
        """Raise InputError unless every channel is there and the strain has its rate."""
        self.witnesses.require(self.channels.witnesses)
        rates = self.strain.require([self.channels.strain])
        self.channels.check_rate(rates[self.channels.strain])

    def frames(self, span: Span, needed: Span, *, skip: bool = False) -> Iterator[InputFrame]:
        """Yield one-second frames over a span and the time around it, those inside as wanted.

        Args:
            span: whole seconds.
            needed: the span with its history and look-ahead; rounded out to whole seconds.
            skip: make a long stretch without strain one frame that passes the engine by, but for
                the time at its ends that other frames' look-ahead and history rest on.
        """
        skipped = {gap.start: gap for gap in self._skipped(span, needed)} if skip else {}
        start, end = needed.start // NS * NS, -(-needed.end // NS) * NS
        log = GapLog()
        while start < end:
            gap = skipped.get(start)
            if gap is None:
                second = Span(start, start + NS)
                reading = self._read(second)
                given = self.channels.blocks(second, reading.pieces)
                log.note(self.channels, given, reading.faults)
                yield InputFrame(second, given, wanted=span.covers(second))
            else:
                block = Block(gap, Gap(gap, reasons.MISSING))
                yield InputFrame(gap, [block], wanted=True, bypass=True)
            start += NS if gap is None else gap.duration

    def _skipped(self, span: Span, needed: Span) -> Iterator[Span]:
        """Yield the whole seconds of a span without strain on which nothing rests."""
        history, lookahead = span.start - needed.start, needed.end - span.end
        for hole in difference([span], self.strain.spans(self.channels.strain)):
            start = -(-(hole.start + lookahead) // NS) * NS
            end = (hole.end - history) // NS * NS
            if start < end:
                yield Span(start, end)

    def _read(self, span: Span) -> Reading:
        of_strain, witnesses = self.channels.of_strain_file, self.channels.witnesses
        if self.witnesses is self.strain:
            return self.strain.pieces([*of_strain, *witnesses], span)
        strain = self.strain.pieces(of_strain, span)
        others = self.witnesses.pieces(witnesses, span)
        return Reading({**others.pieces, **strain.pieces}, [*strain.faults, *others.faults])

    def has_strain(self, second: Span) -> bool:
        """Return whether a second has strain throughout."""
        wanted = self.channels.strain
        pieces = self.strain.pieces([wanted], second).pieces[wanted]
        return all(isinstance(self.channels.usable(piece), Series) for piece in pieces)
