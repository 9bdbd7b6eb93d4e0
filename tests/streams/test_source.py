"""Strain and witnesses from a real server and broker: nothing lost or invented, as a replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from arrakis import Channel

from deepclean.core.time import NS, Span
from deepclean.io.arrakis.reading import ReadingSession
from tests.streams.rig import STRIDE, Site, gps_now, live_site, publisher, site
from tests.streams.streamed_site import (
    CHANNELS,
    assert_equal,
    blocks_of,
    masked,
    output_of,
    publishing,
    replayed,
    running,
    streamed_config,
    write_frames,
)

__all__ = ["live_site"]


def test_the_output_is_that_of_a_replay_of_the_same_data(live_site: Site, tmp_path: Path) -> None:
    config = streamed_config(tmp_path, live_site.url)
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first, count = gps_now() // NS + 2, 7
        blocks = blocks_of(first, count)
        gap = first * NS + 5 * NS + 5 * STRIDE
        blocks = [
            masked(block, "H1:FAST") if block.time_ns == gap - 2 * NS else block
            for block in blocks
            if block.time_ns != gap
        ]
        with publishing(publish, blocks), running(config) as daemon:
            daemon.wait_to((first + count - 1) * NS)
    ours = output_of(config)
    expected = {block.time_ns for block in blocks}
    assert set(ours) <= expected
    # The first second may begin before the daemon is there; what it asks for comes before that.
    begun = min(ours)
    assert begun <= (first + 2) * NS
    assert set(ours) >= {start for start in expected if start >= begun}
    write_frames(config, blocks)
    theirs = replayed(config, tmp_path / "replayed", Span.of_seconds(first, count))
    # A replay writes whole seconds, and without what follows the last one lacks its look-ahead.
    assert {start // NS for start in set(ours) - set(theirs)} == {gap // NS}
    both = sorted(set(ours) & set(theirs))
    assert_equal(ours, theirs, [start for start in both if start < (first + count - 1) * NS])
    assert daemon.ledger.frames_in == len(ours)
    assert not daemon.ledger.ignored


def test_nothing_of_the_past_is_lost_where_partitions_are_read_together() -> None:
    """The server drops the oldest blocks of a partition that is a thousand ahead of another."""
    first, silent = gps_now() // NS - 100, Channel("H1:SILENT", np.float32, 64)
    blocks = blocks_of(first, 80)
    with site("SITE", "OTHER") as running_site:
        with publisher(running_site.server, "SITE", CHANNELS) as publish:
            for block in blocks:
                publish(block)
        with publisher(running_site.server, "OTHER", [silent]):
            session = ReadingSession(running_site.url, "none")
            wanted = [*(channel.name for channel in CHANNELS), silent.name]
            assert session.find(wanted).keys() == set(wanted)
            past = list(session.past(wanted, Span.of_seconds(first, 20)))
    assert [block.span.start for block in past] == [block.time_ns for block in blocks[: 20 * 16]]
    for block in past:
        assert block.pieces.keys() == set(wanted)
        assert [name for name in wanted if not block.has(name)] == [silent.name]


def test_a_request_for_the_past_ends_with_the_session(live_site: Site) -> None:
    wanted, first = [channel.name for channel in CHANNELS], gps_now() // NS - 1
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        for block in blocks_of(first, 1):
            publish(block)
        session = ReadingSession(live_site.url, "none")
        session.find(wanted)
        # Its end is not there yet: the server would wait for it.
        span = Span.of_seconds(first, 20)
        past = session.past(wanted, span)
        assert next(past).span.start == first * NS
        session.cancel()
        assert len(list(past)) < 10 * 16
        assert list(session.past(wanted, span)) == []
