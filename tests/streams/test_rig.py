"""The rig: what is published comes back, and nothing is left running."""

import threading
from typing import Any

import numpy as np
import pytest
from arrakis import Channel
from numpy.typing import NDArray

from tests.streams.rig import (
    STRIDE,
    Site,
    cut,
    gps_now,
    live_site,
    mock_server,
    publish_live,
    publisher,
    subscriber,
)

__all__ = ["live_site"]


def test_what_is_published_comes_back(live_site: Site) -> None:
    strain, state = (
        Channel("V1:RIG-STRAIN", np.float64, 20000),
        Channel("V1:RIG-STATE", np.int32, 16),
    )
    rng = np.random.default_rng(1)
    count = 24
    made = np.ma.array(rng.standard_normal(1250 * count))
    made[1250 * 9 + 3 : 1250 * 10] = np.ma.masked
    samples: dict[str, NDArray[Any]] = {
        strain.name: made,
        state.name: np.arange(count, dtype=np.int32),
    }
    with (
        publisher(live_site.server, "SITE", [strain, state]) as publish,
        subscriber(live_site.url, list(samples)) as got,
    ):
        start = (gps_now() // STRIDE + 4) * STRIDE
        blocks = cut(start, samples, [strain, state])
        thread = threading.Thread(target=publish_live, args=(publish, blocks))
        thread.start()
        got.wait(count)
        thread.join()
    times = [block.time_ns for block in got.blocks]
    assert np.all(np.diff(times) == STRIDE)
    by_time = {block.time_ns: block for block in got.blocks}
    for block in blocks[4:]:  # the first may come before the subscription
        if block.time_ns in by_time:
            theirs = by_time[block.time_ns]
            for name in samples:
                mine = np.ma.array(block.data[name])
                other = np.ma.array(theirs.data[name])
                assert np.array_equal(np.ma.getmaskarray(mine), np.ma.getmaskarray(other))
                assert np.array_equal(mine.compressed(), other.compressed())
    assert sum(block.time_ns in by_time for block in blocks) >= count // 2


@pytest.mark.slow
def test_the_server_with_faults_gives_gaps() -> None:
    channels = {"H1:RIG-SINE": (512, "float64", "sin(t)")}
    with mock_server(channels, "full-gaps", interval=4) as server:
        process = server.process
        with subscriber(server.url, list(channels)) as got:
            blocks = got.wait(9)
    assert {block.has_gaps for block in blocks} == {True, False}
    assert process is not None
    assert process.poll() is not None
