"""The wanted channels, and history as a source of frames. The live source is io.live."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.segments import difference
from deepclean.core.time import NS, Span
from deepclean.errors import InputError


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

    def check_rate(self, rate: int, path: Path | None = None) -> None:
        """Raise InputError where the strain has another rate than this one."""
        if rate != self.rate:
            raise InputError(
                f"{self.strain} is at {rate} Hz, the configuration says {self.rate} Hz "
                "(strain.rate)",
                path=path,
                channels=[self.strain],
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
        skipped = {gap.start: gap for gap in self._skipped(span, needed) if skip}
        start, end = needed.start // NS * NS, -(-needed.end // NS) * NS
        while start < end:
            gap = skipped.get(start)
            if gap is None:
                second = Span(start, start + NS)
                yield InputFrame(second, [self._block(second)], wanted=span.covers(second))
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

    def _block(self, span: Span) -> Block:
        strain = self.strain.read(self.channels.of_strain_file, span)
        witnesses = self.witnesses.read(self.channels.witnesses, span)
        state = strain[self.channels.state] if self.channels.state else None
        return Block(span, strain[self.channels.strain], witnesses, state)
