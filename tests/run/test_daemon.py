"""The daemon as a process: real files, real events, real signals."""

from __future__ import annotations

import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from tests.helpers import small_site as site
from tests.helpers.site_runs import (
    COMMAND,
    assert_as_replayed,
    contents,
    daemon,
    is_written,
    stop,
    stream,
    until,
)
from tests.helpers.small_site import START


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.make_site(tmp_path, seconds=8)


def test_stream_is_cleaned_as_replay_cleans_it(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with daemon(config, log) as process:
        stream(config, process, range(START + 8, START + 20))
        stop(process)
    # The newest frame there at the start is the first; the last was let go without look-ahead.
    assert sorted(contents(config.output.directory)) == list(range(START + 7, START + 20))
    assert_as_replayed(config, tmp_path / "replay", START + 7, START + 19)
    said = "13 frames in, 13 written, 12 of them cleaned, 0 lost, 0 s without strain"
    assert said in log.read_text()


def test_restart_goes_on_where_it_stopped(config: Config, tmp_path: Path) -> None:
    with daemon(config, tmp_path / "log1") as process:
        site.write_site(config, START + 8, 4)
        until(partial(is_written, config, START + 10), process)
        process.kill()
        process.wait()
    site.write_site(config, START + 12, 4)
    with daemon(config, tmp_path / "log2") as process:
        site.write_site(config, START + 16, 4)
        until(partial(is_written, config, START + 18), process)
        stop(process, signal.SIGINT)
    assert sorted(contents(config.output.directory)) == list(range(START + 7, START + 20))
    assert_as_replayed(config, tmp_path / "replay", START + 7, START + 19)


def test_other_site_is_refused_with_one_line(tmp_path: Path) -> None:
    site.make_site(tmp_path, seconds=2)
    done = subprocess.run(
        [*COMMAND, "run", "-c", str(tmp_path / "small.yaml"), "--set", "strain.rate=4096"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is at 2048 Hz, the configuration says 4096 Hz (strain.rate)" in done.stderr
    assert "Traceback" not in done.stderr
