"""The daemon publishes what its frames hold, which is what a replay makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS
from deepclean.io import gwf
from deepclean.run.drain import PATIENCE
from tests.helpers import small_site
from tests.helpers.site_runs import clean, daemon, is_written, stop, until
from tests.helpers.small_site import START, STATE
from tests.streams.rig import STRIDE, Site, live_site
from tests.streams.stored import stored

__all__ = ["live_site"]

PRODUCT = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION_OUT_DQ"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small_site.make_site(
        tmp_path, "output.estimates=[all]", seconds=4, no_strain=[START + 6]
    )


def options(running: Site, *more: str) -> list[str]:
    wanted = (f"output.arrakis.server={running.url}", "output.estimates=[all]", *more)
    return [word for one in wanted for word in ("--set", one)]


def published(running: Site, channel: str) -> dict[int, bytes]:
    """Return the samples of each block; each has come once, and in order."""
    blocks = stored(running, channel)
    times = [time for time, _ in blocks]
    assert times == sorted(set(times))
    return {time: samples.tobytes() for time, samples in blocks}


def held(directory: Path, seconds: Sequence[int]) -> dict[str, dict[int, bytes]]:
    """Return the blocks that frames hold, by channel and time."""
    found: dict[str, dict[int, bytes]] = {}
    for second in seconds:
        path = directory / f"H-H1_DEEPCLEAN-{second}-1.gwf"
        for name, series in gwf.read(path, list(gwf.channels(path))).items():
            assert isinstance(series, Series)
            cut = np.split(series.samples, 16)
            found.setdefault(name, {}).update(
                {second * NS + k * STRIDE: part.tobytes() for k, part in enumerate(cut)}
            )
    return found


@pytest.mark.slow
def test_blocks_are_those_of_the_frames_and_of_replay_through_a_kill(
    live_site: Site, config: Config, tmp_path: Path
) -> None:
    with daemon(config, tmp_path / "log1", *options(live_site)) as process:
        small_site.write_site(config, START + 4, 2)
        until(partial(is_written, config, START + 4), process)
        until(lambda: reached(config) >= START + 5, process)
        process.kill()
        process.wait()
    small_site.write_site(config, START + 6, 3, no_strain=[START + 6])
    with daemon(config, tmp_path / "log2", *options(live_site), patience=PATIENCE) as process:
        small_site.write_site(config, START + 9, 2)
        until(partial(is_written, config, START + 9), process)
        stop(process)
    log = (tmp_path / "log2").read_text()
    assert "nothing is published" not in log
    clean(config, START + 3, START + 10, tmp_path / "replay")
    seconds = [second for second in range(START + 3, START + 10) if second != START + 6]
    frames = held(config.output.directory, seconds)
    assert frames == held(tmp_path / "replay", seconds)
    assert STATE in frames
    gap = range((START + 6) * NS, (START + 7) * NS, STRIDE)
    for channel in frames.keys() - {STATE}:
        blocks = published(live_site, channel)
        # What waited in the queue when the process was killed is published by the next.
        there = {time: block for time, block in blocks.items() if time < (START + 10) * NS}
        assert {time: there[time] for time in there.keys() - set(gap)} == frames[channel]
        assert set(gap) <= blocks.keys()


def reached(config: Config) -> int:
    """Return the GPS second to which the daemon has published."""
    text = (config.output.directory / ".H1_DEEPCLEAN.published").read_text()
    return int(text[:19] or 0) // NS
