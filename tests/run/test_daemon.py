"""The daemon as a process: real files, real events, real signals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.io import gwf
from tests.helpers import small_site as site
from tests.helpers.small_site import START
from tests.run.test_replay import clean, contents

COMMAND = [sys.executable, "-c", "from deepclean.cli import main; main()"]


@contextmanager
def daemon(
    config: Config, log: Path, *options: str, under: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon until the block ends, with options, or under another command."""
    file = config.input.strain.directory.parent / "small.yaml"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*under, *COMMAND, "run", "-c", str(file), *options], stderr=stream
        )
        try:
            until(lambda: "cleaning from GPS" in log.read_text(), process)
            yield process
        finally:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that another process does."""
    limit = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the daemon ended"
        assert time.monotonic() < limit, "the daemon did not come so far"
        time.sleep(0.005)  # what is waited for is another process, not time


def is_written(config: Config, second: int) -> bool:
    return (config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf").exists()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = site.small_config(tmp_path)
    site.publish_model(config)
    site.write_site(config, START, 8)
    return config


def test_stream_is_cleaned_as_replay_cleans_it(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with daemon(config, log) as process:
        for second in range(START + 8, START + 20):
            gwf.publish(site.witness_path(config, second), site.witness_frame(second))
            gwf.publish(site.strain_path(config, second), site.strain_frame(second))
            # Each frame comes out when the next has come in.
            until(partial(is_written, config, second - 1), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    live = contents(config.output.directory)
    # The newest frame there at the start is the first; the last was let go without look-ahead.
    assert sorted(live) == list(range(START + 7, START + 20))
    clean(config, START + 7, START + 19, tmp_path / "replay")
    replayed = contents(tmp_path / "replay")
    assert {second: live[second] for second in replayed} == replayed
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
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 0
    live = contents(config.output.directory)
    assert sorted(live) == list(range(START + 7, START + 20))
    clean(config, START + 7, START + 19, tmp_path / "replay")
    replayed = contents(tmp_path / "replay")
    assert {second: live[second] for second in replayed} == replayed


def test_other_site_is_refused_with_one_line(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    site.publish_model(config)
    site.write_site(config, START, 2)
    done = subprocess.run(
        [*COMMAND, "run", "-c", str(tmp_path / "small.yaml"), "--set", "strain.rate=4096"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is at 2048 Hz, the configuration says 4096 Hz (strain.rate)" in done.stderr
    assert "Traceback" not in done.stderr
