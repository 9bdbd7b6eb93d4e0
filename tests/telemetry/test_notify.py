"""What the service manager hears, on real sockets, and what happens when it does not listen."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from deepclean.run.sources import silence_of
from deepclean.telemetry.notify import ServiceNotifier
from tests.helpers.metrics_run import PERIOD, WATCHDOG, Manager
from tests.helpers.small_site import FakeClock


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    yield manager
    manager.socket.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_life_is_told(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG}, clock)
    health.status("loading models")
    health.ready()
    health.watchdog()
    health.stopping()
    assert manager.heard() == ["STATUS=loading models", "READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_abstract_socket(clock: FakeClock) -> None:
    name = f"deepclean-test-{os.getpid()}"
    manager = Manager("\0" + name)
    ServiceNotifier({"NOTIFY_SOCKET": "@" + name}, clock).ready()
    assert manager.heard() == ["READY=1"]
    manager.socket.close()


def test_a_fact_is_told_once(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address}, clock)
    for _ in range(3):
        health.ready()
        health.status("cleaning")
    assert manager.heard() == ["READY=1", "STATUS=cleaning"]


def test_status_is_one_line(manager: Manager, address: str, clock: FakeClock) -> None:
    ServiceNotifier({"NOTIFY_SOCKET": address}, clock).status("lost a frame:\nREADY=1 \udcff")
    assert manager.heard() == ["STATUS=lost a frame: READY=1 ?"]


def test_pings_are_half_a_period_apart(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG}, clock)
    health.ready()
    manager.heard()
    times = []
    for _ in range(2000):  # turns of the work loop, 50 ms each
        health.watchdog()
        times += [clock.monotonic()] * manager.heard().count("WATCHDOG=1")
        clock.wait(0.05)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) == 6
    assert all(PERIOD / 2 <= gap <= PERIOD / 2 + 0.051 for gap in gaps)


def test_no_turn_no_ping(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG}, clock)
    health.ready()
    health.watchdog()
    manager.heard()
    clock.wait(10 * PERIOD)
    health.status("stuck")
    assert manager.heard() == ["STATUS=stuck"]


@pytest.mark.parametrize(
    "of_another", [{}, {"WATCHDOG_USEC": "0"}, {**WATCHDOG, "WATCHDOG_PID": "1"}]
)
def test_no_ping_where_none_is_wanted(
    manager: Manager, address: str, clock: FakeClock, of_another: dict[str, str]
) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **of_another}, clock)
    health.ready()
    manager.heard()
    for _ in range(100):
        health.watchdog()
        clock.wait(1.0)
    assert manager.heard() == []


def test_the_watchdog_is_this_process_own(manager: Manager, address: str, clock: FakeClock) -> None:
    pid = str(os.getpid())
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG, "WATCHDOG_PID": pid}, clock)
    health.ready()
    health.watchdog()
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]


def test_silence_is_said_in_steps(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address}, clock)
    for seconds in range(12):
        if silence := silence_of({"strain": float(seconds)}, "in /dev/shm/H1"):
            health.status(silence)
    assert manager.heard() == [f"STATUS=no strain for {s} s in /dev/shm/H1" for s in (5, 10)]


def test_nothing_is_said_to_nobody(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    health = ServiceNotifier(WATCHDOG, clock)
    health.ready()
    health.status("cleaning")
    for _ in range(10):
        health.watchdog()
        clock.wait(PERIOD)
    health.stopping()
    assert caplog.records == []


def test_what_is_not_heard_is_said_again(
    address: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The manager's socket is gone for a while: one line in the log, and nothing is lost."""
    caplog.set_level(logging.INFO)
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG}, clock)
    health.status("cleaning")
    health.ready()
    health.watchdog()
    health.status("passing through")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    manager = Manager(address)
    clock.wait(0.05)
    health.watchdog()
    (message,) = manager.heard()
    assert sorted(message.splitlines()) == [
        "READY=1",
        "STATUS=passing through",
        "WATCHDOG=1",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    manager.socket.close()


def test_full_queue_does_not_block(manager: Manager, address: str, clock: FakeClock) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, **WATCHDOG}, clock)
    for count in range(2000):  # more than a socket's queue takes
        health.status(f"frame {count}")
    assert len(manager.heard()) < 2000
    health.ready()
    assert manager.heard() == ["STATUS=frame 1999\nREADY=1"]


@pytest.mark.parametrize("name", ["relative", "vsock:2:1234", "/" + "x" * 200])
def test_useless_address(name: str, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": name}, clock)
    health.ready()
    health.watchdog()
    health.stopping()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_garbled_watchdog_is_none(
    manager: Manager, address: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    health = ServiceNotifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "soon"}, clock)
    health.ready()
    health.watchdog()
    assert manager.heard() == ["READY=1"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_process_environment_is_the_default(manager: Manager, address: str) -> None:
    code = "from deepclean.telemetry.notify import ServiceNotifier; ServiceNotifier().ready()"
    environment = {**os.environ, "NOTIFY_SOCKET": address}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert manager.heard() == ["READY=1"]
