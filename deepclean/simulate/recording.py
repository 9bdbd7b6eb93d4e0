"""Recorded files played as a live site: the same samples, at their own or at other times.

What the recording lacks stays absent: a second of a channel that is not there as a whole is in no
file, and a stretch without any channel gives no file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deepclean.config.frames import ArrakisOutputConfig
from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span, format_gps
from deepclean.errors import ConfigError, InputError, OutputError, output_errors
from deepclean.io import gwf
from deepclean.io.arrakis.connection import Connect, PublishSession
from deepclean.io.arrakis.messages import message_of
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel, StrideCutter
from deepclean.io.channels import OutputChannel
from deepclean.io.source import ChannelHistory, HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.simulate.files import MadeFile, Making, Product
from deepclean.simulate.stream import Pace, play
from deepclean.system.clock import Clock

_ENDLESS = 1 << 62
"""GPS nanoseconds that no stream reaches: the year 2126."""

_PATIENCE = 30.0
"""Seconds for which a block waits for a broker before the stream ends."""

_UNCONFIRMED = 64
"""Blocks that may be on their way to the broker. A confirmation that takes longer than a block
would else hold up all that follow."""

_LOOKED = 64
"""Seconds that are looked through for the types of the channels to publish."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What is played.

    Args:
        interferometer: such as `H1`.
        source: where the channels are recorded.
        kinds: of the files that are played.
        span: whole GPS seconds of the recording.

    Attributes:
        absent: seconds that were not there, by channel.
    """

    interferometer: str
    source: HistorySource
    kinds: Sequence[Product]
    span: Span
    absent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.span.start % NS or self.span.end % NS:
            raise ConfigError(f"frame files hold whole GPS seconds, which {self.span} is not")

    def lacking(self) -> list[str]:
        """Return the channels that are found nowhere in the recording."""
        of_strain = self.source.channels.of_strain_file
        wanted = [name for kind in self.kinds for name in kind.channels]
        there = self.source.strain.channels([n for n in wanted if n in of_strain])
        there |= self.source.witnesses.channels([n for n in wanted if n not in of_strain])
        return [name for name in wanted if name not in there]

    def second(self, kind: Product, start: int) -> dict[str, Series]:
        """Return the channels of a kind that are there throughout a GPS second."""
        span, of_strain = Span.of_seconds(start, 1), self.source.channels.of_strain_file
        there: dict[str, Series] = {}
        for history, wanted in (
            (self.source.strain, [name for name in kind.channels if name in of_strain]),
            (self.source.witnesses, [name for name in kind.channels if name not in of_strain]),
        ):
            read = history.read(wanted, span) if wanted else {}
            there |= {name: one for name, one in read.items() if isinstance(one, Series)}
        self.absent.update(set(kind.channels) - there.keys())
        return there


@dataclass(frozen=True, slots=True)
class Playing:
    """When a recording is played.

    Args:
        pace: speed, retention.
        begin: the GPS second that takes the place of the recording's first; None: its own.
        start: the reading of the clock at which that second begins; where it has passed, the
            second begins at once.
        loop: begin again at the end, with the times that follow, until told to stop.
    """

    pace: Pace
    begin: int | None = None
    start: float = 0.0
    loop: bool = False

    def shift(self, span: Span) -> int:
        """Return the seconds by which a recording is moved."""
        return 0 if self.begin is None else self.begin - span.start // NS

    def span(self, span: Span) -> Span:
        """Return the span over which a recording is played."""
        shift = self.shift(span) * NS
        return Span(span.start + shift, _ENDLESS if self.loop else span.end + shift)


def replay_as_live(
    recording: Recording,
    clock: Clock,
    playing: Playing,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Let the files of a recording appear as time goes on (simulate.stream.play).

    Args:
        recording: what is played.
        clock: the clock; waking it ends the wait of a stream that is to stop.
        playing: when.
        stop: tells whether to stop.

    Returns:
        An iterator that waits and writes. It yields the path of each file that has appeared.

    Raises:
        OutputError: a directory cannot be made, or the operating system refused a file.
    """
    for kind in recording.kinds:
        with output_errors(kind.directory, "cannot be made"):
            kind.directory.mkdir(parents=True, exist_ok=True)
    span, making = playing.span(recording.span), _made(recording, playing)
    return play(making, span, clock, pace=playing.pace, start=playing.start, stop=stop)


def publish_as_live(
    recording: Recording,
    connect: Connect,
    settings: ArrakisOutputConfig,
    clock: Clock,
    playing: Playing,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Publish a recording through Arrakis as time goes on, each block when its data end.

    What is absent is masked. A channel that has not come within the recording's first seconds is
    left out: its type is not known.

    Args:
        recording: what is played; how its files are made does not matter.
        connect: gives a session for some channels.
        settings: the server, the stride of a block, and the seconds within which the broker must
            confirm one.
        clock: the clock.
        playing: when.
        stop: tells whether to stop.

    Returns:
        An iterator that waits and publishes. It yields a name for each block that was handed over;
        when it ends the broker has all.

    Raises:
        OutputError: the server cannot be reached or does not let these channels be published, or a
            block cannot be.
    """
    stride, timeout = settings.stride, settings.timeout / NS
    channels = _published(recording, stride)
    cutter = StrideCutter(stride, channels)
    try:
        session = connect(channels)
    except Exception as error:
        said = message_of(error)
        raise OutputError(f"{settings.server}: cannot be published to: {said}") from error

    def publish(block: PublishedBlock) -> None:
        with _not_published(format_gps(block.start)):
            session.send(block)
            if session.unconfirmed() >= _UNCONFIRMED:
                _confirm(session, timeout)

    def make() -> Making:
        for second, there in _restamped(recording, playing):
            one = Span.of_seconds(second, 1)
            blocks = cutter.push(one, there) if there else cutter.push_gap(one)
            yield second + 1, [_block(block, stride, publish) for block in blocks]

    def published() -> Iterator[Path]:
        span, last = playing.span(recording.span), None
        for name in play(make(), span, clock, pace=playing.pace, start=playing.start, stop=stop):
            last = name
            yield name
        with _not_published(str(last)):
            _confirm(session, timeout)

    return published()


@contextmanager
def _not_published(last: str) -> Iterator[None]:
    """Let what goes wrong up to a block end the stream."""
    try:
        yield
    except Exception as error:
        said = message_of(error)
        raise OutputError(f"up to GPS {last}: not all is published: {said}") from error


def _confirm(session: PublishSession, timeout: float) -> None:
    """Wait until all blocks are confirmed, for a broker that is slow or away for a while.

    Raises:
        Exception: the broker does not take them.
    """
    until, left = time.monotonic() + _PATIENCE, session.unconfirmed()
    while True:
        try:
            return session.confirm(timeout)
        except TimeoutError:
            before, left = left, session.unconfirmed()
            if left < before:
                until = time.monotonic() + _PATIENCE
            elif session.is_stuck() or time.monotonic() >= until:
                raise


def _published(recording: Recording, stride: int) -> dict[str, PublishedChannel]:
    """Return the channels of the first seconds that have whole samples in a stride."""
    found: dict[str, PublishedChannel] = {}
    first, last = recording.span.start // NS, recording.span.end // NS
    wanted = {name for kind in recording.kinds for name in kind.channels}
    for second in range(first, min(last, first + _LOOKED)):
        for kind in recording.kinds:
            there = recording.second(kind, second).items()
            found |= {name: PublishedChannel.of(series) for name, series in there}
        if found.keys() == wanted:
            break
    recording.absent.clear()  # these seconds are read once more when they are played
    return {name: one for name, one in found.items() if one.rate * stride % NS == 0}


def _restamped(recording: Recording, playing: Playing) -> Iterator[tuple[int, dict[str, Series]]]:
    """Yield the seconds of a recording with all channels, once or for ever."""
    shift = playing.shift(recording.span)
    first, last = recording.span.start // NS, recording.span.end // NS
    while True:
        for second in range(first, last):
            there: dict[str, Series] = {}
            for kind in recording.kinds:
                there |= recording.second(kind, second)
            one = Span.of_seconds(second + shift, 1)
            yield second + shift, {n: Series(one, s.rate, s.samples) for n, s in there.items()}
        if not playing.loop:
            return
        shift += last - first


def _block(
    block: PublishedBlock, stride: int, publish: Callable[[PublishedBlock], None]
) -> MadeFile:
    """Return a block as what appears when its time has come."""
    span = Span(block.start, block.start + stride)
    kind = Product(Path(), "block", 1, tuple(block.data), extension="block")
    return MadeFile(kind, Path(format_gps(block.start)), span, partial(publish, block), span)


def _made(recording: Recording, playing: Playing) -> Making:
    """Yield the files of a recording, once or for ever."""
    shift = playing.shift(recording.span)
    first, last = recording.span.start // NS, recording.span.end // NS
    while True:
        pending: dict[Product, list[dict[str, Series]]] = {kind: [] for kind in recording.kinds}
        for second in range(first, last):
            finished = []
            for kind, held in pending.items():
                there = recording.second(kind, second)
                if held and _layout(held[-1]) != _layout(there):
                    finished.append(_file(recording, kind, held, shift))
                    held.clear()
                if there:
                    held.append(there)
                if held and (len(held) == kind.length or second + 1 == last):
                    finished.append(_file(recording, kind, held, shift))
                    held.clear()
            yield second + 1 + shift, finished
        if not playing.loop:
            return
        shift += last - first


def _layout(channels: Mapping[str, Series]) -> dict[str, tuple[int, str]]:
    """Return what must be alike throughout a frame: the channels, their rates and types."""
    return {name: (one.rate, one.samples.dtype.str) for name, one in channels.items()}


def _file(
    recording: Recording, kind: Product, seconds: Sequence[Mapping[str, Series]], shift: int
) -> MadeFile:
    """Return the file of these seconds."""
    channels = {}
    for name in seconds[0]:
        one = concatenate([second[name] for second in seconds])
        span = Span(one.span.start + shift * NS, one.span.end + shift * NS)
        unit = "strain" if name == recording.source.channels.strain else ""
        channels[name] = OutputChannel(Series(span, one.rate, one.samples), unit)
    start, duration = span.start // NS, span.duration // NS
    name = str(FrameName(recording.interferometer[0], kind.description, start, duration))
    path = kind.directory / name
    data = gwf.serialise(span, channels, history={"RECORDED": f"{shift} s before"})
    return MadeFile(kind, path, span, partial(gwf.publish, path, data), span)


def recorded_span(strain: ChannelHistory, channel: str) -> Span:
    """Return the whole GPS seconds from the first to the last for which there is strain.

    Raises:
        InputError: there is not one whole second.
    """
    spans = strain.spans(channel)
    start = -(-spans[0].start // NS) if spans else 0
    end = spans[-1].end // NS if spans else 0
    if end <= start:
        raise InputError("the recording holds no whole second of strain", channels=[channel])
    return Span.of_seconds(start, end - start)
