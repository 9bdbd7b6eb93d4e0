"""What is wanted of the input, and history as a source of it. The live source is io.live."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from deepclean.core.block import Block, Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import InputError


@dataclass(frozen=True, slots=True)
class Channels:
    """What is wanted of the input.

    Args:
        strain: full name.
        rate: of the strain, Hz.
        state: the source's state vector, or None.
        witnesses: full names.
    """

    strain: str
    rate: int
    state: str | None
    witnesses: tuple[str, ...]

    @property
    def of_strain_file(self) -> tuple[str, ...]:
        """What the strain's files are read for."""
        return (self.strain,) if self.state is None else (self.strain, self.state)


class ChannelHistory(Protocol):
    """Channels of the past: io.history.History, io.datafind.RemoteData and RemoteHistory."""

    @property
    def faults(self) -> list[InputError]:
        """What could not be read so far."""
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
        channels: what is wanted.
        strain: holds the strain.
        witnesses: holds the witnesses; may be the same.
    """

    channels: Channels
    strain: ChannelHistory
    witnesses: ChannelHistory

    @property
    def faults(self) -> list[InputError]:
        """What could not be read so far, each once."""
        return list(dict.fromkeys([*self.strain.faults, *self.witnesses.faults]))

    def check(self) -> None:
        """Raise InputError unless every channel is there and the strain has its rate."""
        self.witnesses.require(self.channels.witnesses)
        rate = self.strain.require([self.channels.strain])[self.channels.strain]
        if rate != self.channels.rate:
            raise InputError(
                f"{self.channels.strain} is at {rate} Hz, the configuration says "
                f"{self.channels.rate} Hz (strain.rate)",
                channels=[self.channels.strain],
            )

    def frames(self, span: Span, needed: Span) -> Iterator[InputFrame]:
        """Yield one-second frames over what a span needs, those inside it as wanted.

        Args:
            span: whole seconds.
            needed: the span with its history and look-ahead; rounded out to whole seconds.
        """
        for start in range(needed.start // NS * NS, -(-needed.end // NS) * NS, NS):
            second = Span(start, start + NS)
            yield InputFrame(second, [self._block(second)], wanted=span.covers(second))

    def _block(self, span: Span) -> Block:
        strain = self.strain.read(self.channels.of_strain_file, span)
        witnesses = self.witnesses.read(self.channels.witnesses, span)
        state = strain[self.channels.state] if self.channels.state else None
        return Block(span, strain[self.channels.strain], witnesses, state)
