"""A stream as the work loop takes it: holes, what is asked for, being behind; its configuration."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deepclean.core.block import Gap, Series
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.io.arrakis.feed import StreamFeed
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.arrakis.live import StrainStream
from deepclean.io.arrakis.store import StreamedBlock, StreamedChannel
from deepclean.io.live.run import LiveRun
from deepclean.io.live.source import LiveSource
from deepclean.io.source import Channels
from deepclean.system.clock import SystemClock
from tests.helpers.commands import Run
from tests.helpers.small_site import START, small_config

STRIDE = NS // 16
STRAIN = "H1:STRAIN"


def block(number: int) -> StreamedBlock:
    """Return a block whose samples say its number, counted from START."""
    span = Span(START * NS + number * STRIDE, START * NS + (number + 1) * STRIDE)
    return StreamedBlock(span, {STRAIN: Series(span, 64, np.full(4, float(number)))})


@dataclass
class Recorded:
    """Gives recorded blocks: some as what comes, others when the past is asked for."""

    comes: Collection[int]
    past_ones: Collection[int] = ()
    asked: list[Span] = field(default_factory=list)
    all_came: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def find(self, wanted: Collection[str]) -> dict[str, StreamedChannel]:
        return dict.fromkeys(wanted, StreamedChannel(64.0, STRIDE, NS))

    def live(self, channels: Collection[str]) -> Generator[StreamedBlock, None, None]:
        yield from map(block, self.comes)
        self.all_came.set()
        self.over.wait()

    def past(self, channels: Collection[str], span: Span) -> Generator[StreamedBlock, None, None]:
        self.asked.append(span)
        yield from (one for one in map(block, self.past_ones) if span.covers(one.span))

    def cancel(self) -> None:
        self.over.set()


def given(
    session: Recorded, until: int, *, outputs: Collection[int] = (), max_lag: int | None = None
) -> tuple[list[InputFrame], Mapping[str, int]]:
    """Return the frames of a source up to the block of a number."""
    frames: list[InputFrame] = []
    clock = SystemClock()
    feed = StreamFeed("recorded", (STRAIN,), STRAIN, session, clock, clock.wake)
    inbox = StreamInbox(feed, reach=60 * NS)
    end = block(until).span.end
    run = LiveRun(
        channels=Channels(STRAIN, 64, None, ()),
        clock=clock,
        deadline=2.0,
        probe=0.05,
        history=2 * NS,
        stopped=lambda: bool(frames) and frames[-1].span.end >= end and frames[-1].wanted,
    )
    source = LiveSource(run, StrainStream(run, inbox, STRIDE), max_lag, sorted(outputs))
    with feed:
        # How far behind the source is must not hang on the speed of the feed's thread.
        assert session.all_came.wait(60)
        frames += (one for one in source.events() if isinstance(one, InputFrame))
    return frames, inbox.ignored


def strain(frames: Collection[InputFrame]) -> list[float | str]:
    """Return the number of each wanted frame's block, or why it has no strain."""
    pieces = [one.strain for frame in frames if frame.wanted for one in frame.blocks]
    return [p.reason if isinstance(p, Gap) else float(p.samples[0]) for p in pieces]


def test_a_hole_is_asked_for_and_what_is_not_there_is_a_gap() -> None:
    comes = [n for n in range(64) if n not in {20, 21, 40}]
    session = Recorded([*comes[:30], 5, 25, *comes[30:]], past_ones=[*range(-48, 0), 20, 40])
    frames, ignored = given(session, until=63)
    assert strain(frames) == [*map(float, range(21)), "strain_missing", *map(float, range(22, 64))]
    assert all(a.span.end == b.span.start for a, b in pairwise(frames))
    # The history came from the past too, and what came twice is counted once each.
    assert [frame.wanted for frame in frames[:33]] == [False] * 32 + [True]
    assert sum(ignored.values()) == 2
    assert len(session.asked) == 3


def test_a_stream_without_samples_is_told_from_a_silent_one() -> None:
    """A server gives masked blocks where the publisher is dead or late."""
    feed = StreamFeed("recorded", (STRAIN,), STRAIN, Recorded([]), SystemClock(), trouble="")
    good = block(0)
    other = {"H1:OTHER": good.pieces[STRAIN]}
    masked = {STRAIN: Gap(good.span, "missing")}
    for pieces, said in ((good.pieces, ": connected"), (masked, "but it gives gaps only")):
        feed._receive(StreamedBlock(good.span, {**other, **pieces}))
        assert feed.describe().endswith(said)
    assert len(feed.ages) == 2


def test_a_channel_that_is_found_and_not_given_is_explained() -> None:
    feed = StreamFeed("recorded", (STRAIN,), STRAIN, Recorded([]), SystemClock())
    feed._note_trouble(RuntimeError(f"channel(s) {STRAIN} are not available on this server"))
    said = "not available on this server; where a channel was registered just now this lasts up to"
    assert said in feed.describe()


def test_a_start_goes_on_after_the_last_output() -> None:
    session = Recorded(range(80), past_ones=range(-400, 0))
    frames, _ = given(session, until=79, outputs=[(START - 3) * NS, (START + 900) * NS])
    assert strain(frames) == [float(n) for n in range(-48, 80)]


def test_far_behind_blocks_pass_until_the_newest() -> None:
    session = Recorded(range(160))
    frames, _ = given(session, until=159, max_lag=4 * NS)
    wanted = [frame for frame in frames if frame.wanted]
    assert strain(frames) == [float(n) for n in range(160)]
    assert wanted[0].bypass
    assert not wanted[-1].bypass
    # Before cleaning goes on the engine is given the history again.
    first = next(n for n, frame in enumerate(frames) if frame.wanted and not frame.bypass)
    passed = next(n for n, frame in enumerate(frames) if frame.bypass)
    again = [frame for frame in frames[passed:first] if not frame.wanted]
    assert again[0].span.start == (frames[first].span.start - 2 * NS) // NS * NS
    assert all(a.span.end == b.span.start for a, b in pairwise([*again, frames[first]]))
    pieces = [block.strain for frame in again for block in frame.blocks]
    samples = np.concatenate([piece.samples for piece in pieces if isinstance(piece, Series)])
    assert samples[::4].tolist() == list(range(112, 159))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("input.arrakis.stride=0.1875", r"input\.arrakis\.stride: 0\.1875 s is not 1/16"),
        ("strain.rate=2056", "strain.rate: 2056 Hz is not a multiple of 16 Hz"),
        ("input.arrakis.server=7", "input.arrakis.server"),
        ("input.arrakis.channels=some", "input.arrakis.channels"),
    ],
)
def test_faults_of_the_configuration(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small_config(tmp_path, "input.arrakis.server=grpc://127.0.0.1:1", override)


def test_streamed_strain_alone_needs_files_of_witnesses(tmp_path: Path) -> None:
    streamed = ("input.arrakis.server=grpc://127.0.0.1:1", "input.arrakis.channels=strain")
    small_config(tmp_path, *streamed)
    with pytest.raises(ConfigError, match=r"there are none, and arrakis\.channels is strain"):
        small_config(tmp_path, *streamed, "input.witnesses=[]")


NO_FILES = ("input.strain.directory=null", "input.strain.description=null", "input.witnesses=[]")
SERVER = "input.arrakis.server=grpc://127.0.0.1:1"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (NO_FILES, r"input\.strain\.directory: missing; add it, or name a server that streams"),
        (
            (*NO_FILES, SERVER, "input.arrakis.channels=witnesses"),
            r"input\.strain\.directory: missing; add it, for only the witnesses are streamed",
        ),
        (
            (*NO_FILES, SERVER, "input.strain.description=H1_llhoft"),
            r"input\.strain\.description: there is no directory of these files; add it",
        ),
    ],
)
def test_frame_files_of_the_strain_are_named_where_they_are_needed(
    tmp_path: Path, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        small_config(tmp_path, *overrides)


def test_streamed_strain_needs_no_files(tmp_path: Path, deepclean: Run) -> None:
    config = small_config(tmp_path, *NO_FILES, SERVER)
    assert config.input.streams_strain
    with pytest.raises(ConfigError, match=r"input\.strain\.directory: not set, for the strain is"):
        _ = config.input.strain_frames
    sets = " ".join(f"--set {override}" for override in (*NO_FILES, SERVER))
    done = deepclean(tmp_path, f"config small.yaml {sets}").good()
    assert "directory: null" in done.stdout
    command = f"replay -c small.yaml {sets} --start {START} --end {START + 1} --output out"
    refused = deepclean(tmp_path, command).refused("small.yaml: input.strain.directory: not set")
    assert "give --strain PATH" in refused.stderr
