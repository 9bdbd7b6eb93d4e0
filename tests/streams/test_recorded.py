"""A recording published by `deepclean stream`, block by block."""

from __future__ import annotations

import math
import threading
from itertools import islice
from pathlib import Path

import numpy as np

from deepclean.core.time import NS
from deepclean.io.arrakis.connection import connect_to
from deepclean.simulate.recording import Playing, publish_as_live
from deepclean.simulate.stream import Pace
from deepclean.system.clock import SystemClock
from tests.helpers.commands import Run
from tests.helpers.small_site import RATES, START, STATE, STRAIN, STRAIN_RATE, make_site, samples
from tests.simulate.test_recording import recorded
from tests.streams.rig import STRIDE, Site, live_site
from tests.streams.stored import stored

__all__ = ["live_site"]

BEGIN = START + 9000


def test_a_recording_is_published_restamped(
    live_site: Site, tmp_path: Path, deepclean: Run
) -> None:
    make_site(tmp_path, seconds=4, no_strain=[START + 1], no_witnesses=[START + 2])
    done = deepclean(
        tmp_path,
        "stream -c small.yaml --strain strain --witnesses witnesses --speed inf "
        f"--to {live_site.url} --publisher SITE --restamp {BEGIN} "
        # Into how many directories files would go does not matter.
        "--set 'input.witnesses=[{directory: witnesses}, {directory: others}]'",
    ).good()
    assert f"64 blocks published as SITE at {live_site.url}" in done.stdout
    assert f"not in the recording: 1 s of {STRAIN}" in done.stdout
    for channel, rate in {STRAIN: STRAIN_RATE, STATE: 16, **RATES}.items():
        blocks = stored(live_site, channel)
        assert [time for time, _ in blocks] == [BEGIN * NS + k * STRIDE for k in range(64)]
        read = np.concatenate([block for _, block in blocks]).reshape(4, rate)
        absent = 1 if channel in {STRAIN, STATE} else 2
        for second in range(4):
            sent = samples(channel, START + second, rate)
            sent = sent * 1e-21 if channel == STRAIN else sent.astype(read.dtype)
            sent = np.full(rate, 7) if channel == STATE else sent
            np.testing.assert_array_equal(read[second], 0 if second == absent else sent)


def test_a_server_that_is_not_there_ends_it(tmp_path: Path, deepclean: Run) -> None:
    make_site(tmp_path, seconds=1)
    command = "stream -c small.yaml --strain strain --to grpc://127.0.0.1:9"
    deepclean(tmp_path, command).refused("grpc://127.0.0.1:9: cannot be published to", status=1)


def test_a_broker_that_is_away_for_a_while_is_waited_for(live_site: Site, tmp_path: Path) -> None:
    config = make_site(tmp_path, "output.arrakis.timeout=0.3", seconds=2)
    recording, arrakis = recorded(config, tmp_path), config.output.arrakis
    arrakis = arrakis.model_copy(update={"server": live_site.url, "publisher": "SITE"})
    begin, clock = BEGIN + 100, SystemClock()
    playing = Playing(Pace(speed=math.inf), begin)
    connect = connect_to(live_site.url, arrakis)
    blocks = publish_as_live(recording, connect, arrakis, clock, playing)
    next(blocks)
    live_site.kafka.pause()
    # None of these is confirmed before the broker is back.
    assert len(list(islice(blocks, 31))) == 31
    back = threading.Timer(1.0, live_site.kafka.go_on)
    back.start()
    assert not list(blocks)
    back.join()
    times = [time for time, _ in stored(live_site, STRAIN) if time >= begin * NS]
    assert times == [begin * NS + k * STRIDE for k in range(32)]
