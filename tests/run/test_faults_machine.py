"""Faults of the machine around the daemon (docs/faults.md): real processes, events and signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from deepclean.config import Config
from deepclean.core import reasons
from deepclean.io.tail import FrameTail
from deepclean.io.watch import DirectoryWatch
from deepclean.run import daemon as live
from deepclean.telemetry import status_file
from tests.helpers import small_site as site
from tests.helpers.faultsite import cleaned, outputs, undisturbed
from tests.helpers.site_runs import COMMAND, clean, daemon, stop, stream, until
from tests.helpers.small_site import START
from tests.helpers.turned_clock_daemon import TurnedClock, hinted, name

NO_WATCHES = ["unshare", "--user", "--map-root-user", "sh", "-c"]
NO_WATCHES += ['echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
"""Runs a command for which the kernel refuses every watch."""

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return site.make_site(tmp_path, seconds=8)


def assert_all_cleaned(config: Config, seconds: range) -> None:
    """Assert that each came out as it always does; the last was let go without look-ahead."""
    held = outputs(config.output.directory)
    assert sorted(held) == list(seconds)
    assert cleaned(held) == list(seconds)[:-1]
    for number in seconds[:-1]:
        assert (held[number].samples == undisturbed()[number].samples).all()


def kept(config: Config) -> status_file.StatusContent:
    """Return the account that the daemon left."""
    return status_file.read(
        status_file.path_in(config.output.directory, config.output.description), 0.0
    )


# 1, 3, 4: the watch


@pytest.mark.slow
def test_without_watches_it_cleans_the_same(config: Config, tmp_path: Path) -> None:
    probe = subprocess.run([*NO_WATCHES, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("needs a user namespace of its own")
    with daemon(config, tmp_path / "log", under=NO_WATCHES) as process:
        stream(config, process, range(START + 8, START + 20))
        stop(process)
    assert "probing instead" in (tmp_path / "log").read_text()
    assert_all_cleaned(config, range(7, 20))


@pytest.mark.slow
def test_an_overflown_queue_of_events_loses_no_frame(config: Config, tmp_path: Path) -> None:
    writes = int(QUEUE.read_text()) + 1
    if writes > 100_000:
        pytest.skip(f"{QUEUE} is too great to be filled here")
    with daemon(config, tmp_path / "log") as process:
        stream(config, process, range(START + 8, START + 12))
        process.send_signal(signal.SIGSTOP)
        # Each is an event when it is closed. Two files in turn: the same event again is not queued.
        for number in range(writes):
            (config.input.strain_frames.directory / f"junk-{number % 2}").write_bytes(b"junk")
        site.write_site(config, START + 12, 3)
        process.send_signal(signal.SIGCONT)
        stream(config, process, range(START + 15, START + 18))
        until(lambda: "queue overflowed" in (tmp_path / "log").read_text(), process)
        stop(process)
    assert_all_cleaned(config, range(7, 18))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_raises_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread dies of it; the next look finds that out."""
    clock = TurnedClock()
    tail = FrameTail(tmp_path, None, clock, relist=1e9)
    tail.poll(0)
    died, notice = threading.Event(), tail.notice

    def fail(filename: str) -> None:
        died.set()
        raise RuntimeError(filename)

    with DirectoryWatch([tail], clock) as watch:
        monkeypatch.setattr(tail, "notice", fail)
        (tmp_path / name(START)).write_bytes(b"x")
        assert died.wait(10)
        assert watch._observer is not None
        watch._observer.join(10)
        monkeypatch.setattr(tail, "notice", notice)
        clock.ahead += 1.0
        watch.check()
        assert watch.errors == 1
        (tmp_path / name(START + 1)).write_bytes(b"x")
        assert hinted(tail, clock, START + 1)


@pytest.mark.slow
def test_directories_that_are_made_again_cost_no_frame(config: Config, tmp_path: Path) -> None:
    with daemon(config, tmp_path / "log") as process:
        stream(config, process, range(START + 8, START + 12))
        for frames in (config.input.strain_frames, *config.input.witnesses):
            shutil.rmtree(frames.directory)
        stream(config, process, range(START + 12, START + 18))
        until(lambda: (tmp_path / "log").read_text().count("arming it anew") == 2, process)
        stream(config, process, range(START + 18, START + 20))
        stop(process)
    assert_all_cleaned(config, range(7, 20))


# 17, 27: signals


@pytest.mark.slow
def test_a_stopped_process_passes_through_what_it_missed(config: Config, tmp_path: Path) -> None:
    with daemon(config, tmp_path / "log", "--set", "input.max_lag=5") as process:
        stream(config, process, range(START + 8, START + 12))
        process.send_signal(signal.SIGSTOP)
        site.write_site(config, START + 12, 30)
        process.send_signal(signal.SIGCONT)
        stream(config, process, range(START + 42, START + 46))
        stop(process)
    ledger, held = kept(config).ledger, outputs(config.output.directory)
    assert sorted(held) == list(range(7, 46))
    assert ledger.balanced
    assert ledger.written[reasons.LATE] > 20
    assert set(range(42, 45)) <= set(cleaned(held))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_write_ends_it_with_the_frame_whole(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    clean(config, START, START + 3, config.output.directory)  # it goes on after these
    config = site.small_config(tmp_path, "output.fsync=true")
    sync, signalled = os.fsync, [0]

    def interrupt(descriptor: int) -> None:
        sync(descriptor)
        if not signalled[0]:
            signalled[0] = 1
            os.kill(os.getpid(), number)

    monkeypatch.setattr(os, "fsync", interrupt)
    ledger = live.run(config)
    assert signalled == [1]
    assert ledger.balanced
    assert (ledger.inside, ledger.lost.total()) == (0, 0)
    held = outputs(config.output.directory)
    assert sorted(held) == list(range(3 + ledger.written.total()))
    assert 1 <= ledger.written.total() < 5  # what was inside, and no more
    assert [p for p in config.output.directory.iterdir() if p.suffix == ".tmp"] == []


# 31: another instance, a taken port


@pytest.mark.slow
def test_the_second_daemon_is_refused_and_the_first_goes_on(config: Config, tmp_path: Path) -> None:
    with daemon(config, tmp_path / "log") as process:
        again = [*COMMAND, "run", "-c", str(tmp_path / "small.yaml")]
        second = subprocess.run(again, capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == 1
        assert f"process {process.pid} writes here already" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        stream(config, process, range(START + 8, START + 12))
        stop(process)
    assert_all_cleaned(config, range(7, 12))


@pytest.mark.slow
def test_a_taken_metrics_port_does_not_stop_the_cleaning(config: Config, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        metrics = ("--set", "metrics.enabled=true", "--set", f"metrics.port={port}")
        with daemon(config, tmp_path / "log", *metrics) as process:
            stream(config, process, range(START + 8, START + 12))
            stop(process)
    assert "Address already in use; cleaning goes on" in (tmp_path / "log").read_text()
    assert_all_cleaned(config, range(7, 12))
