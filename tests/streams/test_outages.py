"""Servers and brokers that die, come back and stall: nothing lost that came, nothing twice."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from deepclean.core.time import NS, Span
from tests.streams.rig import STRIDE, Site, gps_now, live_site, publisher, site, wait_for
from tests.streams.streamed_site import (
    CHANNELS,
    RunningDaemon,
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


def whole(ours: Collection[int], last: int) -> bool:
    """Return whether output has every sixteenth from its first one up to an instant."""
    return sorted(s for s in ours if s < last) == list(range(min(ours), last, STRIDE))


@pytest.mark.slow
def test_a_restarted_server_costs_nothing(live_site: Site, tmp_path: Path) -> None:
    config = streamed_config(tmp_path, live_site.url)
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first, count = gps_now() // NS + 1, 9
        with publishing(publish, blocks_of(first, count)), running(config) as daemon:
            daemon.wait_to((first + 2) * NS)
            live_site.server.restart()
            daemon.wait_to((first + count - 1) * NS)
    assert whole(output_of(config), (first + count - 1) * NS)
    assert daemon.streamed["reconnected"] >= 1
    assert daemon.streamed["past"] >= 1
    assert not daemon.ledger.gaps.total()


@pytest.mark.slow
def test_a_restarted_daemon_goes_on_after_its_output(live_site: Site, tmp_path: Path) -> None:
    config = streamed_config(tmp_path, live_site.url)
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first, count = gps_now() // NS + 1, 10
        with publishing(publish, blocks_of(first, count)):
            with running(config) as daemon:
                daemon.wait_to((first + 3) * NS)
            with running(config) as again:
                again.wait_to((first + count - 1) * NS)
    ours = output_of(config)
    assert whole(ours, (first + count - 1) * NS)
    assert daemon.ledger.frames_in + again.ledger.frames_in == len(ours)
    write_frames(config, blocks_of(first, count))
    theirs = replayed(config, tmp_path / "replayed", Span.of_seconds(first, count))
    both = sorted(set(ours) & set(theirs))
    assert_equal(ours, theirs, [start for start in both if start < (first + count - 1) * NS])


@pytest.mark.slow
def test_a_stalled_broker_is_at_most_a_gap(live_site: Site, tmp_path: Path) -> None:
    config = streamed_config(tmp_path, live_site.url)
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first, count = gps_now() // NS + 1, 12
        blocks = blocks_of(first, count)
        with publishing(publish, blocks), running(config) as daemon:
            daemon.wait_to((first + 2) * NS)
            live_site.kafka.pause()
            wait_for(lambda: gps_now() > (first + 6) * NS, "the stall lasts")
            live_site.kafka.go_on()
            daemon.wait_to((first + count - 1) * NS)
    ours = output_of(config)
    missing = len(range(min(ours), (first + count - 1) * NS, STRIDE)) - len(
        [s for s in ours if s < (first + count - 1) * NS]
    )
    assert set(ours) <= {block.time_ns for block in blocks}
    assert missing // 16 <= daemon.ledger.gaps.total() <= missing // 16 + 1
    assert daemon.ledger.frames_in == len(ours)


@pytest.mark.slow
def test_a_broker_that_forgot_everything(tmp_path: Path) -> None:
    with site("SITE") as own:
        config = streamed_config(tmp_path, own.url)
        with running(config) as daemon:
            first = publish_to(own, daemon)
            own.kafka.restart()
            own.server.restart()
            later = publish_to(own, daemon)
    ours = output_of(config)
    assert {s // NS for s in ours} <= {*range(first, first + 3), *range(later, later + 3)}
    assert [s for s in ours if s >= later * NS][:32] == list(
        range(later * NS, (later + 2) * NS, STRIDE)
    )
    assert daemon.ledger.frames_in == len(ours)
    assert daemon.streamed["reconnected"] >= 1
    assert abs(daemon.ledger.gaps.total() - (later - first - 3)) <= 1


def publish_to(own: Site, daemon: RunningDaemon) -> int:
    """Publish three seconds, wait until two are cleaned; return the first.

    The publisher ends with this function: a wiped broker does not take what one that was connected
    before sends.
    """
    with publisher(own.server, "SITE", CHANNELS) as publish:
        first = gps_now() // NS + 1
        with publishing(publish, blocks_of(first, 3)):
            daemon.wait_to((first + 2) * NS)
    return first
