"""Damaged blocks under every kind of setting: the output is that of a replay of what came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from arrakis import SeriesBlock

from deepclean.core.time import NS, Span
from tests.helpers.small_site import STATE, STRAIN
from tests.streams.rig import Site, gps_now, live_site, publisher
from tests.streams.streamed_site import (
    CHANNELS,
    OUT_DQ,
    OUTPUTS,
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

SECONDS = 10

ACCOUNTS = (
    f"{STRAIN}_DEEPCLEAN_SUBTRACTED",
    "H1:DEEPCLEAN-60HZ_NOISE",
    "H1:DEEPCLEAN-60HZ_GAIN",
    "H1:DEEPCLEAN-60HZ_NOISE_FACTOR",
)

NO_WAIT = "couplings.60Hz.wait=0"

SETTINGS = [
    pytest.param(("input.arrakis.stride=0.0625", "engine.hop=0.0625"), id="short"),
    pytest.param(("input.arrakis.stride=0.25", "engine.hop=0.125"), id="quarters"),
    pytest.param(("input.arrakis.stride=1", "engine.hop=0.0625", NO_WAIT), id="seconds"),
    pytest.param(("input.arrakis.stride=0.0625", "engine.hop=1"), id="long-hops"),
    pytest.param(
        (
            "input.arrakis.stride=0.0625",
            "engine.hop=0.0625",
            NO_WAIT,
            "couplings.60Hz.adapt=gain",
            "gate.enabled=true",
        ),
        id="gate",
    ),
    pytest.param(("input.arrakis.stride=2", "engine.hop=0.25"), id="two-seconds"),
]


def with_values(block: SeriesBlock, channel: str, value: float, count: int = 3) -> SeriesBlock:
    """Return a block of which the first samples of a channel have a value."""
    data = dict(block.data)
    data[channel] = np.array(data[channel])
    data[channel][:count] = value
    return SeriesBlock(block.time_ns, data, block.channels)


def damaged(blocks: Sequence[SeriesBlock]) -> list[SeriesBlock]:
    """Return blocks with values that are not finite or huge, with gaps and holes."""
    made = list(blocks)
    made[16 * 3 + 4] = with_values(made[16 * 3 + 4], STRAIN, np.nan)
    made[16 * 4 + 5] = with_values(made[16 * 4 + 5], "H1:FAST", np.inf)
    made[16 * 4 + 9] = with_values(made[16 * 4 + 9], "H1:SLOW", np.nan, 1)
    made[16 * 5 + 1] = masked(made[16 * 5 + 1], STRAIN)
    made[16 * 5 + 2] = masked(made[16 * 5 + 2], STATE)
    made[16 * 7 + 2] = with_values(made[16 * 7 + 2], STRAIN, 1e300)
    made[16 * 7 + 9] = with_values(made[16 * 7 + 9], "H1:MIDDLE", 1e38)
    holes = {16 * 6 + 3, 16 * 6 + 4, 16 * 6 + 9}
    return [block for index, block in enumerate(made) if index not in holes]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_output_is_that_of_a_replay_of_what_came(
    live_site: Site, tmp_path: Path, settings: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    archive = tmp_path / "archive"
    config = streamed_config(
        tmp_path,
        live_site.url,
        *settings,
        f"output.archive.directory={archive}",
        "output.archive.length=4",
        f"output.segments.directory={tmp_path / 'segments'}",
        "output.subtracted=true",
        "output.estimates=[all]",
    )
    with publisher(live_site.server, "SITE", CHANNELS) as publish:
        first = (gps_now() // NS + 3) // 2 * 2
        last = (first + SECONDS - 2) * NS
        blocks = damaged(blocks_of(first, SECONDS))
        with publishing(publish, blocks), running(config) as daemon:
            daemon.wait_to(last, 60.0)
    names = (*OUTPUTS, *ACCOUNTS)
    ours = output_of(config, wanted=names)
    had = daemon.had()
    write_frames(config, had)
    span = Span(min(ours) // NS * NS, had[-1].time_ns // NS * NS)
    theirs = replayed(config, tmp_path / "replayed", span, names)
    compared = [start for start in sorted(set(ours) & set(theirs)) if start < last]
    assert len(compared) >= 16
    assert_equal(ours, theirs, compared)
    kept = output_of(config, archive, (OUT_DQ,))
    assert kept
    for start, samples in kept.items():
        assert samples[OUT_DQ].tobytes() == ours[start][OUT_DQ].tobytes()
    assert list((tmp_path / "segments").glob("*.xml"))
    assert "segments are not written" not in caplog.text
