"""Strain from one kind of input and witnesses from the other: the samples of a replay of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.io import gwf
from tests.helpers.small_site import strain_frame, strain_path, witness_frame, witness_path
from tests.streams.rig import STRIDE, Site, gps_now, live_site, publisher
from tests.streams.streamed_site import (
    CHANNELS,
    OF_STRAIN,
    assert_equal,
    blocks_of,
    output_of,
    publishing,
    replayed,
    running,
    streamed_config,
    write_frames,
)

__all__ = ["live_site"]


@contextmanager
def writing(
    path: Callable[[Config, int], Path],
    frame: Callable[[int], bytes],
    config: Config,
    first: int,
    seconds: int,
) -> Iterator[None]:
    """Write frames of a second each, when that is over."""

    def write() -> None:
        for second in range(first, first + seconds):
            time.sleep(max((second + 1) * NS - gps_now(), 0) / NS)
            gwf.publish(path(config, second), frame(second))

    path(config, first).parent.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("streamed", ["strain", "witnesses"])
def test_mixed_input_is_cleaned_as_a_replay_has_it(
    live_site: Site, tmp_path: Path, streamed: str
) -> None:
    config = streamed_config(tmp_path, live_site.url, f"input.arrakis.channels={streamed}")
    channels = OF_STRAIN if streamed == "strain" else CHANNELS[2:]
    written = (witness_path, witness_frame) if streamed == "strain" else (strain_path, strain_frame)
    with publisher(live_site.server, "SITE", channels) as publish:
        first, count = gps_now() // NS + 1, 8
        with (
            publishing(publish, blocks_of(first, count, channels)),
            writing(*written, config, first, count),
            running(config) as daemon,
        ):
            daemon.wait_to((first + count - 1) * NS)
    ours = output_of(config)
    begun, last = min(ours), (first + count - 1) * NS
    assert begun <= (first + 4) * NS
    assert sorted(start for start in ours if start < last) == list(range(begun, last, STRIDE))
    assert not daemon.ledger.gaps.total()
    for directory in (config.input.strain_frames.directory, config.input.witnesses[0].directory):
        for path in directory.glob("*.gwf"):
            path.unlink()
    write_frames(config, blocks_of(first, count))
    theirs = replayed(config, tmp_path / "replayed", Span.of_seconds(first, count))
    assert_equal(ours, theirs, [start for start in ours if start < last])
