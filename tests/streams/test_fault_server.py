"""The peer's server with faults: every block once and in order, what is masked is a gap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from deepclean.core.block import Gap
from deepclean.core.frame import InputFrame
from deepclean.core.time import NS
from deepclean.io.arrakis.feed import StreamFeed, connected
from deepclean.io.arrakis.inbox import StreamInbox
from deepclean.io.arrakis.live import StrainStream
from deepclean.io.live.run import LiveRun
from deepclean.io.live.source import LiveSource
from deepclean.io.source import Channels
from deepclean.system.clock import SystemClock
from tests.streams.rig import STRIDE, Service, mock_server

STRAIN, STATE, WITNESS = "V1:MADE-STRAIN", "V1:MADE-STATE", "V1:MADE-MAINS"

MADE = {
    STRAIN: (20000, "float64", "t"),
    STATE: (16, "int32", "7"),
    WITNESS: (256, "float32", "sin(t)"),
}
"""The strain says its own time."""


@dataclass
class Run:
    """What a source gave."""

    frames: list[InputFrame]
    ignored: Counter[str]
    counts: Counter[str]

    @property
    def gaps(self) -> list[str]:
        strain = (block.strain for frame in self.frames for block in frame.blocks)
        return [each.reason for each in strain if isinstance(each, Gap)]


def run(server: Service, count: int) -> Run:
    """Take some frames of a server's stream; every sample is checked to be that of its time."""
    frames: list[InputFrame] = []
    clock, counts = SystemClock(), Counter[str]()
    channels = Channels(STRAIN, 20000, STATE, (WITNESS,))
    feed = StreamFeed(
        server=server.url,
        wanted=tuple(MADE),
        needed=STRAIN,
        session=connected(server.url, "none"),
        clock=clock,
        wake=clock.wake,
        counts=counts,
    )
    inbox = StreamInbox(feed, reach=0)
    run = LiveRun(
        channels=channels,
        clock=clock,
        deadline=2.0,
        probe=0.05,
        history=NS,
        stopped=lambda: len(frames) >= count,
    )
    source = LiveSource(run, StrainStream(run, inbox, STRIDE))
    with feed:
        frames += (event for event in source.events() if isinstance(event, InputFrame))
    for before, after in pairwise(frames):
        assert after.span.start == before.span.end
    for frame in frames:
        assert frame.wanted
        for block in frame.blocks:
            if not isinstance(block.strain, Gap):
                times = block.span.start / NS + np.arange(1250) / 20000
                assert block.strain.samples.tobytes() == times.tobytes()
    return Run(frames, inbox.ignored, counts)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("duplicates", None),
        pytest.param("partial-gaps", 0.25, marks=pytest.mark.slow),
        pytest.param("full-gaps", None, marks=pytest.mark.slow),
        pytest.param("latency", 0.5, marks=pytest.mark.slow),
        pytest.param("stall", 1.5, marks=pytest.mark.slow),
    ],
)
def test_blocks_come_once_and_in_order(fault: str, value: float | None) -> None:
    # A stall that came as often would add up to more than the client waits for.
    interval = 30 if fault == "stall" else 12
    with mock_server(MADE, fault, interval=interval, value=value) as server:
        given, process = run(server, 40), server.process
    assert process is not None
    assert process.poll() is not None
    if fault.endswith("gaps"):
        # Every twelfth block, of those that the server counts from its first.
        gaps = [n for n, f in enumerate(given.frames) if isinstance(f.blocks[0].strain, Gap)]
        assert len(gaps) in {3, 4}
        assert set(np.diff(gaps)) == {12}
        assert set(given.gaps) == {"invalid" if value else "strain_missing"}
    else:
        # The client waits longer than this for what is late, and drops what comes twice itself.
        assert not given.gaps
    assert not given.ignored
    assert given.counts["masked"] >= len(given.gaps)


@pytest.mark.slow
def test_a_stall_longer_than_the_server_allows_is_a_gap() -> None:
    # A relay's client waits 2 s longer than the server says.
    with mock_server(MADE, "stall", interval=64, value=2.8, latency=0.1) as server:
        given = run(server, 104)
    gaps = [n for n, f in enumerate(given.frames) if isinstance(f.blocks[0].strain, Gap)]
    assert 0 < len(gaps) < 48
    assert set(given.gaps) == {"strain_missing"}
    assert gaps[-1] - gaps[0] == len(gaps) - 1
