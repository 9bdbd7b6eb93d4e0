"""Streamed in, streamed out, in short blocks: every block in is one block out, as replay has it.

`benchmarks/arrakis.py` does the same for minutes, with 21 witnesses, and measures the latency.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepclean.core.time import NS, Span
from tests.streams.rig import STRIDE, Site, gps_now, publisher, site, subscriber, wait_known
from tests.streams.streamed_site import (
    CHANNELS,
    OUT_DQ,
    assert_equal,
    blocks_of,
    publishing,
    replayed,
    running,
    streamed_config,
    write_frames,
)

LATE = 20.0
"""Seconds that the server waits for a block. The daemon catches up with the history of its start,
and a block that the server gives up is masked."""

SECONDS = 13
WANTED = ["H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION", OUT_DQ, "H1:DEEPCLEAN-STATE_VECTOR"]


@pytest.mark.slow
def test_every_block_in_is_one_block_out(tmp_path: Path) -> None:
    with site("SITE", "DEEPCLEAN", latency=LATE) as live_site:
        stream(live_site, tmp_path)


def stream(live_site: Site, tmp_path: Path) -> None:
    config = streamed_config(
        tmp_path,
        live_site.url,
        f"output.arrakis.server={live_site.url}",
        "output.arrakis.timeout=10",  # a busy machine may take more than the default second
        "output.frames=false",
    )
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first = gps_now() // NS + 2
        end = first + SECONDS
        blocks = blocks_of(first, SECONDS)
        with publishing(publish, blocks), running(config) as daemon:
            daemon.wait_to((first + 5) * NS)
            wait_known(live_site.server, WANTED)
            with subscriber(live_site.url, WANTED) as reader:
                # What follows the last second is its look-ahead, which comes as that of a stop.
                daemon.wait_to((end - 1) * NS)
                done = (end - 1) * NS - STRIDE
                reader.wait(1)
                while reader.blocks[-1].time_ns < done:
                    reader.wait(len(reader.blocks) + 1)
    times = [block.time_ns for block in reader.blocks]
    assert times == list(range(times[0], times[-1] + STRIDE, STRIDE))
    assert times[0] <= (first + 10) * NS
    write_frames(config, blocks)
    theirs = replayed(config, tmp_path / "replayed", Span.of_seconds(first, SECONDS))
    ours = {}
    for block in reader.blocks:
        if block.time_ns <= done:
            assert not any(np.ma.is_masked(block.data[name]) for name in WANTED)
            ours[block.time_ns] = {name: np.ma.getdata(block.data[name]) for name in WANTED}
    assert_equal(ours, theirs, list(ours))
    published = daemon.daemon.cleaner.publisher
    assert published is not None
    assert published.counts == {"published": daemon.ledger.frames_in, "stopped": 0}
    assert not list(config.output.directory.glob("*.gwf"))
