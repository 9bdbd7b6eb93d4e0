"""The daemon as a process: real files, real events, real signals."""

from __future__ import annotations

import json
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.io import gwf
from deepclean.models.store import changes as store
from deepclean.models.store import rejections
from deepclean.rollout.record import path_in
from deepclean.run.drain import PATIENCE
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


def test_a_stop_waits_for_the_look_ahead_of_its_last_frame(config: Config, tmp_path: Path) -> None:
    """A planned restart costs no cleaned frame: the next start begins where this one ended."""
    log, again = tmp_path / "log1", tmp_path / "log2"
    with daemon(config, log, patience=PATIENCE) as process:
        stream(config, process, range(START + 8, START + 12))
        process.send_signal(signal.SIGTERM)
        until(lambda: "1 frames wait for what follows" in log.read_text(), process)
        site.write_site(config, START + 12, 1)
        assert process.wait(timeout=60) == 0
    assert sorted(contents(config.output.directory)) == list(range(START + 7, START + 12))
    assert "5 frames in, 5 written, 5 of them cleaned" in log.read_text()
    with daemon(config, again) as process:
        stream(config, process, range(START + 13, START + 16))
        stop(process)
    assert "the look-ahead did not come: " in again.read_text()
    assert_as_replayed(config, tmp_path / "replay", START + 7, START + 15)


@pytest.mark.slow
def test_a_start_can_be_tried(config: Config) -> None:
    """As an upgrade does: configuration and models are loaded, and nothing is written."""
    file = str(config.input.strain.directory.parent / "small.yaml")
    command = [*COMMAND, "run", "--check", "-c", file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "H1: can start with 60Hz version 1\n"
    assert not config.output.directory.exists()
    (config.models.directory / "H1/60Hz/production").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "production" in done.stderr


@pytest.mark.slow
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


VERSION = "H1:DEEPCLEAN-60HZ_MODEL_VERSION"


def models(config: Config, *arguments: str) -> None:
    """Run `deepclean models`."""
    file = str(config.input.strain.directory.parent / "small.yaml")
    command, *rest = arguments
    subprocess.run([*COMMAND, "models", command, "-c", file, *rest], check=True)


def version_of(config: Config, second: int) -> set[int]:
    path = config.output.directory / f"H-H1_DEEPCLEAN-{second}-1.gwf"
    (series,) = gwf.read(path, [VERSION]).values()
    assert isinstance(series, Series)
    return set(series.samples.tolist())


@pytest.mark.slow
def test_promotion_comes_into_force_during_the_stream(tmp_path: Path) -> None:
    """By the command line beside the daemon; one that is damaged changes nothing."""
    config = site.small_config(tmp_path)
    for version in (2, 3, 1):
        site.publish_model(config, version=version)
    site.write_site(config, START, 4)
    log, second = tmp_path / "log", START + 4
    with daemon(config, log, "--set", "models.probe=0.02") as process:

        def another() -> None:
            nonlocal second
            site.write_site(config, second, 1)
            until(partial(is_written, config, second - 1), process)
            second += 1

        def while_it_runs(said: str) -> None:
            for _ in range(200):
                if said in log.read_text():
                    return
                another()
            raise AssertionError(f"never said: {said}")

        another()
        # One that is damaged after it was promoted: the pointer moves, the daemon does not.
        damaged = config.models.directory / "H1" / "60Hz" / "3" / "weights.safetensors"
        models(config, "promote", "60Hz", "3", "--why", "looks good")
        whole = damaged.read_bytes()
        while_it_runs("60Hz version 3 in force, formerly version 1")
        damaged.write_bytes(whole[:100])
        store.promote(damaged.parents[1], 2, lambda path: None)
        while_it_runs("60Hz version 2 in force, formerly version 3")
        (config.models.directory / "H1" / "60Hz" / "production").write_text("3\n")
        while_it_runs("60Hz version 3 refused as production, all stays as it is: ")
        another()
        stop(process)
    live = contents(config.output.directory)
    assert sorted(live) == list(range(START + 3, second))  # not one is missing
    versions = [version_of(config, number) for number in sorted(live)]
    assert all(len(one) == 1 for one in versions)
    in_order = [one.pop() for one in versions]
    assert list(dict.fromkeys(in_order)) == [1, 3, 2]
    record = path_in(config.output.directory, "H1_DEEPCLEAN").read_text()
    events = [json.loads(line) for line in record.splitlines()]
    for event in events:
        if event["what"] == "in_force":
            begun = START + 3 + in_order.index(event["version"])
            assert float(event["instant"]) == begun
    assert [e["what"] for e in events] == ["started"] + 2 * ["offered", "in_force"] + ["refused"]
    assert rejections.read(config.models.directory / "H1" / "60Hz", 3) is not None
