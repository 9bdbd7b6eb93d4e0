"""Recorded files played as a live site: the same samples, at their own or at other times.

What the recording lacks stays absent: a second of a channel that is not there as a whole is in no
file, and a stretch without any channel gives no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deepclean.core.block import Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, output_errors
from deepclean.io import gwf
from deepclean.io.channels import OutputChannel
from deepclean.io.source import ChannelHistory, HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.simulate.files import MadeFile, Making, Product
from deepclean.simulate.stream import Pace, play
from deepclean.system.clock import Clock

_ENDLESS = 1 << 62
"""GPS nanoseconds that no stream reaches: the year 2126."""


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


def replay_as_live(
    recording: Recording,
    clock: Clock,
    *,
    pace: Pace,
    begin: int | None = None,
    start: float = 0.0,
    loop: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Path]:
    """Let the files of a recording appear as time goes on (simulate.stream.play).

    Args:
        recording: what is played.
        clock: the clock; waking it ends the wait of a stream that is to stop.
        pace: speed, retention.
        begin: the GPS second that takes the place of the recording's first; None: its own.
        start: the reading of the clock at which that second begins.
        loop: begin again at the end, with the times that follow, until told to stop.
        stop: tells whether to stop.

    Returns:
        An iterator that waits and writes. It yields the path of each file that has appeared.

    Raises:
        OutputError: a directory cannot be made, or the operating system refused a file.
    """
    span = recording.span
    shift = 0 if begin is None else begin - span.start // NS
    for kind in recording.kinds:
        with output_errors(kind.directory, "cannot be made"):
            kind.directory.mkdir(parents=True, exist_ok=True)
    played = Span(span.start + shift * NS, _ENDLESS if loop else span.end + shift * NS)
    making = _made(recording, shift, loop=loop)
    return play(making, played, clock, pace=pace, start=start, stop=stop)


def _made(recording: Recording, shift: int, *, loop: bool) -> Making:
    """Yield the files of a recording, once or for ever."""
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
        if not loop:
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
