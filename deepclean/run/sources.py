"""The live input of a configuration: frame files, a stream, or one of them for the witnesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deepclean.config import Config
from deepclean.core.engine.engine import Engine
from deepclean.core.time import NS
from deepclean.errors import ConfigError
from deepclean.io.arrakis.feed import StreamFeed, connected
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.arrakis.live import StrainStream, WitnessStream
from deepclean.io.arrakis.store import StreamedChannel
from deepclean.io.frame_channels import channels_of
from deepclean.io.live.files import WitnessFiles
from deepclean.io.live.run import LiveReader, LiveRun, WitnessInput
from deepclean.io.live.source import LiveSource
from deepclean.io.live.strain_files import StrainFiles
from deepclean.io.sink import FrameSink
from deepclean.io.source import Channels
from deepclean.io.tail import FrameTail
from deepclean.run.drain import Drain
from deepclean.system.clock import Clock, SystemClock
from deepclean.telemetry.accounts import Accounts
from deepclean.telemetry.counters import Stream


@dataclass(frozen=True, slots=True, eq=False)
class LiveInput:
    """Where the live input comes from.

    Args:
        config: says so.
        clock: for waiting.
        accounts: of the run.
        strain: tail of the strain's directory; None: the strain is streamed.
        witnesses: tails of the witnesses' directories.
        inbox: gives the stream; None: there is none.
    """

    config: Config
    clock: Clock
    accounts: Accounts
    strain: FrameTail | None
    witnesses: Sequence[FrameTail]
    inbox: StreamInbox | None

    @property
    def tails(self) -> list[FrameTail]:
        """All tails."""
        return [*([] if self.strain is None else [self.strain]), *self.witnesses]

    def silence(self, waiting: Mapping[Stream, float]) -> str:
        """Return in words that strain is overdue, in steps of 5 s; empty where it is not."""
        if self.strain is not None:
            return silence_of(waiting, f"in {self.strain.directory}")
        why = f" ({self.trouble})" if self.trouble else ""
        return silence_of(waiting, f"from {self.config.input.arrakis.server}{why}")

    @property
    def trouble(self) -> str:
        """Why the stream does not come just now; empty where it does, or there is none."""
        if self.inbox is None:
            return ""
        feed = self.inbox.feed
        return feed.trouble or ("" if feed.gives else "it gives gaps only")


def silence_of(waiting: Mapping[Stream, float], where: str) -> str:
    """Return in words that strain is overdue, in steps of 5 s; empty where it is not.

    >>> silence_of({"strain": 77.2}, "in /dev/shm/H1")
    'no strain for 75 s in /dev/shm/H1'
    """
    seconds = int(waiting.get("strain", 0.0)) // 5 * 5
    return f"no strain for {seconds} s {where}" if seconds else ""


def file_duration(config: Config) -> int | None:
    """Return the nanoseconds of an output file; None: as the input's files."""
    return max(config.input.arrakis.stride, NS) if config.input.streams_strain else None


def live_input(config: Config, clock: Clock, accounts: Accounts) -> LiveInput:
    """Return the live input of a configuration.

    Raises:
        ConfigError: the client of streams is not installed.
    """
    given, streams = config.input, config.input.arrakis.channels
    streamed = given.arrakis.server is not None
    places = [] if streamed and streams != "strain" else list(given.witnesses)
    strain = None if given.streams_strain else given.strain_frames
    tails = [FrameTail(one.directory, one.description, clock) for one in places]
    inbox: StreamInbox | None = None
    if streamed:
        feed = _feed(config, clock, accounts)
        inbox = StreamInbox(feed, given.arrakis.reach, accounts.ledger.ignored)
    return LiveInput(
        *(config, clock, accounts),
        None if strain is None else FrameTail(strain.directory, strain.description, clock),
        tails,
        inbox,
    )


def live_source(
    given: LiveInput, engine: Engine, sink: FrameSink, drain: Drain, turn: Callable[[], None]
) -> LiveSource:
    """Return the source of a live input, resuming after the last output."""
    config, accounts, inbox = given.config, given.accounts, given.inbox
    run = LiveRun(
        channels=channels_of(config),
        clock=given.clock,
        deadline=config.input.deadline / NS,
        probe=config.input.probe / NS,
        history=engine.history + engine.settings.hop,
        stopped=drain.is_over,
        draining=drain.told,
        turn=turn,
        checksum=config.input.checksum,
        timings=accounts.timings,
        counts=accounts.counters.inputs,
        ignored=accounts.ledger.ignored,
        waiting=accounts.counters.waiting,
        history_read=accounts.counters.history_read,
    )
    witnesses: WitnessInput | None = None
    if given.witnesses:
        witnesses = WitnessFiles(run, given.witnesses)
    elif given.strain is not None and inbox is not None:
        witnesses = WitnessStream(run, inbox)
    reader: LiveReader
    if given.strain is not None:
        reader = StrainFiles(run, given.strain, witnesses)
    else:
        assert inbox is not None
        reader = StrainStream(run, inbox, config.input.arrakis.stride, witnesses)
    outputs = [name.span.end for name in sink.finished()]
    return LiveSource(run, reader, config.input.max_lag, outputs)


def _feed(config: Config, clock: Clock, accounts: Accounts) -> StreamFeed:
    """Return what reads the stream of a configuration."""
    arrakis, channels = config.input.arrakis, channels_of(config)
    assert arrakis.server is not None
    of_strain = () if arrakis.channels == "witnesses" else channels.of_strain_file
    witnesses = () if arrakis.channels == "strain" else channels.witnesses
    return StreamFeed(
        server=arrakis.server,
        wanted=(*of_strain, *witnesses),
        needed=channels.strain if of_strain else None,
        session=connected(arrakis.server, arrakis.token),
        clock=clock,
        wake=clock.wake if isinstance(clock, SystemClock) else lambda: None,
        accept=partial(_accept, channels, arrakis.stride, bool(of_strain)),
        counts=accounts.counters.streamed,
        ages=accounts.counters.ages,
    )


def _accept(
    channels: Channels, stride: int, has_strain: bool, found: Mapping[str, StreamedChannel]
) -> None:
    """Raise ConfigError or InputError where the server's channels do not suit a configuration."""
    if has_strain:
        channels.check_state(found)
        rate = found[channels.strain].rate
        channels.check_rate(int(rate) if rate.is_integer() else round(rate))
        longest = max(one.stride for one in found.values())
        if longest and stride % longest:
            raise ConfigError(
                f"input.arrakis.stride: {stride / NS} s is not a multiple of the server's, "
                f"{longest / NS} s; use one"
            )
