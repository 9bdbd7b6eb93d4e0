"""A recording published by `deepclean stream`, block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepclean.core.time import NS
from tests.helpers.commands import Run
from tests.helpers.small_site import RATES, START, STATE, STRAIN, STRAIN_RATE, make_site, samples
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
        f"--to {live_site.url} --publisher SITE --restamp {BEGIN}",
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
