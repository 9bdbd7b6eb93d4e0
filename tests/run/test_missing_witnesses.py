"""A closed form goes on without a missing witness: the daemon, its replay and its shards."""

from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.output.products import State
from deepclean.io import gwf
from tests.helpers import small_site as site
from tests.helpers.closed_form_site import publish_closed_form
from tests.helpers.faultsite import GAIN, outputs, raw
from tests.helpers.metrics_run import Run, scraped
from tests.helpers.site_runs import (
    OUT_DQ,
    assert_as_replayed,
    clean,
    contents,
    daemon,
    is_written,
    stop,
    until,
)
from tests.helpers.small_site import START

ALL = (OUT_DQ, "H1:DEEPCLEAN-STATE_VECTOR", GAIN)
LOST = range(START + 14, START + 18)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = site.small_config(tmp_path)
    publish_closed_form(made)
    site.write_site(made, START, 8)
    return made


def write(config: Config, second: int, absent: str = "H1:MIDDLE") -> None:
    """Write a second, in which a witness is absent while it is lost."""
    if second not in LOST:
        site.write_site(config, second, 1)
        return
    site.write_site(config, second, 1, no_witnesses=[second])
    content = site.witness_frame(second, absent=[absent])
    gwf.publish(site.witness_path(config, second), content)


def gains(directory: Path, second: int) -> list[float]:
    path = directory / f"H-H1_DEEPCLEAN-{second}-1.gwf"
    (series,) = gwf.read(path, [GAIN]).values()
    assert isinstance(series, Series)
    return list(series.samples)


@pytest.mark.slow
def test_the_daemon_goes_on_and_is_as_replayed(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with daemon(config, log) as process:
        for second in range(START + 8, START + 16):
            write(config, second)
            until(partial(is_written, config, second - 1), process)
        process.kill()
        process.wait()
    # Killed while the witness is missing, and begun again.
    with daemon(config, tmp_path / "again") as process:
        for second in range(START + 16, START + 24):
            write(config, second)
            until(partial(is_written, config, second - 1), process)
        stop(process)
    assert_as_replayed(config, tmp_path / "replay", START + 8, START + 23)
    live = contents(config.output.directory, ALL)
    assert contents(tmp_path / "replay", ALL) == {s: live[s] for s in range(START + 8, START + 23)}
    held = outputs(config.output.directory)
    for second in range(START + 10, START + 22):
        assert set(gains(config.output.directory, second)) == {1.0}
        assert held[second - START].all(State.CLEANED | State.STEADY)
        assert (held[second - START].samples != raw(second - START)).any()
    missing = [second for second in range(START + 10, START + 22) if second in LOST]
    assert missing == list(LOST)
    for second in LOST:
        assert not held[second - START].any(State.COMPLETE)
        assert not held[second - START].any(State.WITNESSES_GOOD)
    assert held[11].all(State.COMPLETE)
    assert held[20].all(State.COMPLETE)
    assert "60Hz goes on without H1:MIDDLE" in log.read_text()
    assert "60Hz has H1:MIDDLE again" in (tmp_path / "again").read_text()


def test_shards_and_long_frames_are_the_same(config: Config, tmp_path: Path) -> None:
    for second in range(START + 8, START + 24):
        write(config, second)
    whole = tmp_path / "whole"
    clean(config, START + 4, START + 20, whole, duration=16)
    for first in (4, 11, 15, 16, 18):
        shard = tmp_path / str(first)
        clean(config, START + first, START + first + 2, shard)
        expected = contents(whole, ALL)
        assert contents(shard, ALL) == {
            START + first + n: expected[START + first + n] for n in (0, 1)
        }


def test_all_witnesses_missing_pass_through(config: Config, tmp_path: Path) -> None:
    """The carrier of what is left: nothing."""
    site.write_site(config, START + 8, 16, no_witnesses=LOST)
    clean(config, START + 8, START + 22, tmp_path / "out")
    held = outputs(tmp_path / "out")
    for second in LOST:
        assert (held[second - START].samples == raw(second - START)).all()
        assert held[second - START].all(State.COMPLETE)
        assert not held[second - START].any(State.CLEANED)


def test_the_metrics_say_so(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    publish_closed_form(config)
    run = Run(config)
    run.over(12, dict.fromkeys((8, 9, 10, 11), lost))
    series = scraped(run.metrics)
    assert series['deepclean_witnesses_missing{coupling="60Hz"}'] == 1
    labels = '{channel="H1:MIDDLE",coupling="60Hz"}'
    assert series[f"deepclean_frames_without_witness_total{labels}"] >= 4
    assert series['deepclean_state_bit{bit="COMPLETE"}'] == 0
    labels = '{channel="H1:FAST",coupling="60Hz"}'
    assert series[f"deepclean_frames_without_witness_total{labels}"] == 0
    written = series['deepclean_output_frames_total{reason="none",result="cleaned"}']
    assert written >= 9


def lost(config: Config, second: int) -> None:
    site.write_site(config, second, 1, no_witnesses=[second])
    content = site.witness_frame(second, absent=["H1:MIDDLE"])
    gwf.publish(site.witness_path(config, second), content)
