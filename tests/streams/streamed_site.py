"""The small site as a stream: its channels and blocks, its daemon, a replay of the same data."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from arrakis import Channel, SeriesBlock

from deepclean.config import Config
from deepclean.core.accounting import Ledger
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.io import gwf
from deepclean.io.arrakis.live import StrainStream
from deepclean.io.arrakis.store import BlockStore, StreamedBlock, Taken
from deepclean.io.channels import OutputChannel
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_models
from deepclean.run.cleaner import sink_of
from deepclean.run.daemon import Daemon, build
from deepclean.run.replay import replay
from deepclean.system.clock import SystemClock
from tests.helpers.small_site import (
    RATES,
    STATE,
    STRAIN,
    STRAIN_RATE,
    publish_model,
    samples,
    small_config,
)
from tests.streams.rig import STRIDE, cut, publish_live, wait_for

CHANNELS = [
    Channel(STRAIN, np.float64, STRAIN_RATE),
    Channel(STATE, np.uint32, 16),
    *(Channel(name, np.float32, rate) for name, rate in RATES.items()),
]

OF_STRAIN = CHANNELS[:2]

OUT_DQ = f"{STRAIN}_DEEPCLEAN_PRODUCTION_OUT_DQ"

OUTPUTS = (f"{STRAIN}_DEEPCLEAN_PRODUCTION", OUT_DQ, "H1:DEEPCLEAN-STATE_VECTOR")


def streamed_config(place: Path, server: str, *overrides: str) -> Config:
    """Return the configuration of the small site with all input streamed, and make its model."""
    place.mkdir(parents=True, exist_ok=True)
    config = small_config(
        place,
        f"input.arrakis.server={server}",
        "engine.hop=0.0625",
        *overrides,
    )
    publish_model(config)
    return config


def second_of(second: int) -> dict[str, np.ndarray]:
    """Return one GPS second of every channel, as the small site's frames have it."""
    found: dict[str, np.ndarray] = {
        STRAIN: samples(STRAIN, second, STRAIN_RATE) * 1e-21,
        STATE: np.full(16, 7, dtype=np.uint32),
    }
    for name, rate in RATES.items():
        found[name] = samples(name, second, rate).astype(np.float32)
    return found


def blocks_of(
    first: int, seconds: int, channels: Collection[Channel] = CHANNELS
) -> list[SeriesBlock]:
    """Return the blocks of some GPS seconds."""
    wanted = {channel.name for channel in channels}
    return [
        block
        for second in range(first, first + seconds)
        for block in cut(
            second * NS,
            {name: made for name, made in second_of(second).items() if name in wanted},
            list(channels),
        )
    ]


def masked(block: SeriesBlock, channel: str) -> SeriesBlock:
    """Return a block of which one channel is a gap."""
    data = dict(block.data)
    data[channel] = np.ma.array(data[channel], mask=True)
    return SeriesBlock(block.time_ns, data, block.channels)


def write_frames(config: Config, blocks: Sequence[SeriesBlock]) -> None:
    """Write the frames of the same data: files of a second that hold a frame for each block.

    The strain has a file with its state vector, each witness has one of its own. Where a channel is
    masked the frame is left out.
    """
    strain, witnesses = config.input.strain_frames.directory, config.input.witnesses[0].directory
    files = {"H1_llhoft": (strain, [STRAIN, STATE])}
    files |= {name.replace(":", "_"): (witnesses, [name]) for name in RATES}
    for second, group in groupby(blocks, lambda block: block.time_ns // NS):
        parts = list(group)
        for description, (directory, names) in files.items():
            directory.mkdir(parents=True, exist_ok=True)
            frames = [
                (span, {name: OutputChannel(_series(block, name, span)) for name in names})
                for block in parts
                if not np.ma.is_masked(block.data[names[0]])
                for span in [Span(block.time_ns, block.time_ns + STRIDE)]
            ]
            if frames:
                gwf.write_frames(directory / f"H-{description}-{second}-1.gwf", frames)


def _series(block: SeriesBlock, name: str, span: Span) -> Series:
    return Series(span, int(block.channels[name].sample_rate), np.ma.getdata(block.data[name]))


@contextmanager
def publishing(
    publish: Callable[[SeriesBlock], None], blocks: Sequence[SeriesBlock]
) -> Iterator[None]:
    """Publish blocks in their time, from a thread of their own, to the last one."""
    thread = threading.Thread(target=publish_live, args=(publish, blocks))
    thread.start()
    try:
        yield
    finally:
        thread.join()


@dataclass(slots=True)
class RecordingStore(BlockStore):
    """Holds blocks as the daemon does, and records those that were taken."""

    taken: list[StreamedBlock] = field(default_factory=list)

    def push(self, block: StreamedBlock) -> Taken:
        result = BlockStore.push(self, block)
        if result == "taken":
            self.taken.append(block)
        return result


@dataclass(slots=True)
class RunningDaemon:
    """A daemon that serves in a thread."""

    daemon: Daemon
    config: Config
    stopping: threading.Event = field(default_factory=threading.Event)
    error: list[BaseException] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.daemon.cleaner.ledger

    @property
    def streamed(self) -> Counter[str]:
        assert isinstance(self.daemon.source.reader, StrainStream)
        return self.daemon.source.reader.inbox.feed.counts

    def had(self) -> list[SeriesBlock]:
        """Return the blocks that it cleaned from, in order of time, those of its history too.

        What came later than the server waited for it is masked here, as it was for the daemon.
        """
        assert isinstance(self.daemon.source.reader, StrainStream)
        store = self.daemon.source.reader.inbox.store
        assert isinstance(store, RecordingStore)
        return [_as_published(one) for one in sorted(store.taken, key=lambda one: one.span.start)]

    def wait_to(self, instant: int, patience: float = 30.0) -> None:
        """Wait until output reaches an instant."""
        wait_for(
            lambda: (self.ledger.last_out or 0) >= instant or self.error,
            f"output to {instant}, not {self.ledger}",
            patience,
        )
        if self.error:
            raise self.error[0]


def _as_published(block: StreamedBlock) -> SeriesBlock:
    known = {channel.name: channel for channel in CHANNELS}
    data = {}
    for name, channel in known.items():
        piece = block.pieces.get(name)
        count = block.span.samples(int(channel.sample_rate))
        absent = np.ma.array(np.zeros(count, channel.data_type), mask=True)
        data[name] = piece.samples if isinstance(piece, Series) else absent
    return SeriesBlock(block.span.start, data, known)


@contextmanager
def running(config: Config) -> Iterator[RunningDaemon]:
    """Run a daemon in this process; stop it at the end, and expect its ledger to be balanced."""
    stopping, clock = threading.Event(), SystemClock()
    daemon = build(config, clock, stopping.is_set, guard=lambda: None)
    runs = RunningDaemon(daemon, config, stopping)
    if isinstance(daemon.source.reader, StrainStream):
        daemon.source.reader.inbox.store = RecordingStore(0)

    def serve() -> None:
        try:
            daemon.serve()
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            runs.error.append(error)

    thread = threading.Thread(target=serve, name="daemon")
    thread.start()
    try:
        yield runs
    finally:
        stopping.set()
        clock.wake()
        thread.join(20.0)
        assert not thread.is_alive()
    assert runs.ledger.balanced
    assert runs.ledger.inside == 0
    assert not runs.ledger.lost


def output_of(
    config: Config, directory: Path | None = None, wanted: Sequence[str] = OUTPUTS
) -> dict[int, dict[str, np.ndarray]]:
    """Return the output's samples of the strain by GPS nanoseconds of each sixteenth."""
    place = directory or config.output.directory
    found: dict[int, dict[str, np.ndarray]] = {}
    history = History([place])
    for whole in history.spans():
        pieces = history.pieces(wanted, whole).pieces
        for name in wanted:
            for piece in pieces[name]:
                if not isinstance(piece, Series):
                    continue
                for start in range(piece.span.start, piece.span.end, STRIDE):
                    part = piece.cut(Span(start, start + STRIDE))
                    found.setdefault(start, {})[name] = part.samples
    return found


def replayed(
    config: Config, place: Path, span: Span, wanted: Sequence[str] = OUTPUTS
) -> dict[int, dict[str, np.ndarray]]:
    """Return what a replay of the frames gives."""
    loaded = load_models(config)
    source = HistorySource(
        channels_of(config),
        History([config.input.strain_frames.directory]),
        History([config.input.witnesses[0].directory]),
    )
    replay(
        config,
        lambda: make_engine(config, loaded),
        source,
        sink_of(config, loaded, place),
        span,
    )
    return output_of(config, place, wanted)


def assert_equal(
    ours: Mapping[int, Mapping[str, np.ndarray]],
    theirs: Mapping[int, Mapping[str, np.ndarray]],
    starts: Collection[int],
) -> None:
    """Assert that outputs have these sixteenths, with the same samples, bit for bit."""
    for start in starts:
        assert ours[start].keys() == theirs[start].keys()
        for name, made in ours[start].items():
            assert made.tobytes() == theirs[start][name].tobytes(), (start, name)
