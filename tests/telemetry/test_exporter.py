"""Serving metrics on real sockets: what clients do, and what the port is, never stops anything."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from statistics import median

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.registry import Collector

from deepclean.config.schema import MetricsConfig
from deepclean.telemetry import exporter
from deepclean.telemetry.exporter import Exporter

LIMIT = 20.0


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("frames", "Of a test.", registry=registry).inc(7)
    return registry


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    before = threading.active_count()
    yield
    until(lambda: threading.active_count() <= before)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, "it did not come so far"
        time.sleep(0.002)  # what is waited for is another thread, not time


def is_open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=LIMIT).close()
    except ConnectionRefusedError:
        return False
    return True


def ask(port: int, address: str = "127.0.0.1", method: str = "GET") -> HTTPResponse:
    until(lambda: is_open(address, port))
    connection = HTTPConnection(address, port, timeout=LIMIT)
    connection.request(method, "/metrics")
    return connection.getresponse()


def test_registry_is_served(port: int, registry: CollectorRegistry) -> None:
    with Exporter(MetricsConfig(port=port), registry), ask(port) as answer:
        assert answer.status == 200
        assert "frames_total 7.0" in answer.read().decode()
    assert not is_open("127.0.0.1", port)


def test_it_listens_where_it_is_told(port: int, registry: CollectorRegistry) -> None:
    with Exporter(MetricsConfig(port=port), registry):
        ask(port).close()
        assert not is_open("127.0.0.2", port)


def test_version_6_addresses_are_served(
    port: int, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Exporter(MetricsConfig(address="::1", port=port), registry), ask(port, "::1") as answer:
        assert answer.status == 200
    assert caplog.messages == [f"metrics on http://[::1]:{port}/metrics"]


def test_nothing_is_served_where_it_is_not_wanted(port: int, registry: CollectorRegistry) -> None:
    before = threading.active_count()
    with Exporter(MetricsConfig(enabled=False, port=port), registry):
        assert threading.active_count() == before
        assert not is_open("127.0.0.1", port)


def test_a_taken_port_is_said_once_and_tried_again(
    port: int, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    taken = socket.create_server(("127.0.0.1", port))
    tries: list[int] = []
    with Exporter(MetricsConfig(port=port), registry, retry=0.01) as exporter:
        until(lambda: len(caplog.records) > 0)
        wait = exporter._stopped.wait

        def count(timeout: float | None = None) -> bool:
            tries.append(1)
            return wait(timeout)

        exporter._stopped.wait = count  # type: ignore[method-assign]
        until(lambda: len(tries) > 3)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "Address already in use; cleaning goes on" in caplog.messages[0]
        assert "metrics.port" in caplog.messages[0]
        taken.close()
        until(lambda: len(caplog.records) > 1)
        with ask(port) as answer:
            assert answer.status == 200
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_it_stops_while_the_port_is_taken(
    port: int, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        Exporter(MetricsConfig(port=port), registry, retry=1000.0),
    ):
        until(lambda: len(caplog.records) > 0)


def test_an_address_of_another_machine_is_no_reason_to_stop(
    port: int, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with Exporter(MetricsConfig(address="192.0.2.1", port=port), registry, retry=1000.0):
        until(lambda: len(caplog.records) > 0)
    assert f"no metrics on 192.0.2.1:{port}" in caplog.text


def test_a_silent_client_holds_up_nobody_for_long(port: int, registry: CollectorRegistry) -> None:
    with Exporter(MetricsConfig(port=port), registry, patience=0.05):
        until(lambda: is_open("127.0.0.1", port))
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        threads = threading.active_count()
        with ask(port) as answer:
            assert answer.status == 200
        assert threading.active_count() == threads
        for client in silent:
            client.settimeout(LIMIT)
            assert client.recv(1) == b""
            client.close()


def test_a_silent_client_does_not_hold_up_the_stop(port: int, registry: CollectorRegistry) -> None:
    exporter = Exporter(MetricsConfig(port=port), registry, patience=1000.0)
    exporter.__enter__()
    until(lambda: is_open("127.0.0.1", port))
    with socket.create_connection(("127.0.0.1", port)):
        start = time.monotonic()
        exporter.__exit__()
        assert time.monotonic() - start < LIMIT


@pytest.mark.parametrize(
    "message", [b"\0\xff\n\n", b"GET\r\n\r\n", b"POST / HTTP/1.0\r\n\r\n", b"x" * 70_000 + b"\n"]
)
def test_nonsense_does_no_harm(port: int, registry: CollectorRegistry, message: bytes) -> None:
    with Exporter(MetricsConfig(port=port), registry, patience=0.5):
        until(lambda: is_open("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
            client.sendall(message)
            client.shutdown(socket.SHUT_WR)
        with ask(port) as answer:
            assert answer.status == 200


class Broken(Collector):
    """Fails while it is `broken`."""

    broken = True

    def collect(self) -> list[Metric]:
        if self.broken:
            raise RuntimeError("a bug")
        return []


def test_a_registry_that_fails_ends_one_request(
    port: int, registry: CollectorRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = Broken()
    registry.register(broken)
    with Exporter(MetricsConfig(port=port), registry):
        with pytest.raises(ConnectionError):
            ask(port)
        broken.broken = False
        with ask(port) as answer:
            assert answer.status == 200
    assert capfd.readouterr() == ("", "")


def test_no_descriptors_left_is_not_the_end(
    port: int, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepting fails once, as it does where the process has no descriptors left."""
    accept, failures = socket.socket.accept, [OSError(24, "Too many open files")]

    def fail_once(self: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    with Exporter(MetricsConfig(port=port), registry), ask(port) as answer:
        assert answer.status == 200
    assert not failures


def test_head_is_answered(port: int, registry: CollectorRegistry) -> None:
    with Exporter(MetricsConfig(port=port), registry), ask(port, method="HEAD") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert answer.read() == b""


def test_other_methods_are_refused(port: int, registry: CollectorRegistry) -> None:
    with Exporter(MetricsConfig(port=port), registry), ask(port, method="DELETE") as answer:
        assert answer.status == 405


CLIENTS = 50


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def test_scrapes_take_less_than_a_second_beside_silent_and_slow_clients(port: int) -> None:
    """Fifty say nothing, fifty send a byte now and then, some read nothing of a long answer."""
    registry = CollectorRegistry()
    counter = Counter("frames", "Of a test.", ["name"], registry=registry)
    for number in range(2000):
        counter.labels(f"of a long name that fills the buffers {number}").inc()
    with Exporter(MetricsConfig(port=port), registry):
        until(lambda: is_open("127.0.0.1", port))
        threads = threading.active_count()
        silent = [connected(port) for _ in range(CLIENTS)]
        slow = [connected(port) for _ in range(CLIENTS)]
        deaf = [connected(port) for _ in range(5)]
        for client in deaf:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        took = []
        for byte in b"GET /me":
            for client in slow:
                client.sendall(bytes([byte]))
            start = time.monotonic()
            with ask(port) as answer:
                assert answer.status == 200
                assert answer.read().count(b"frames_total{") == 2000
            took.append(time.monotonic() - start)
        assert threading.active_count() == threads
        assert median(took) < 1.0  # one may be held up by the machine
        for client in (*silent, *slow, *deaf):
            client.close()


def test_a_client_that_sends_a_byte_now_and_then_is_dropped(
    port: int, registry: CollectorRegistry
) -> None:
    with Exporter(MetricsConfig(port=port), registry, patience=0.3):
        until(lambda: is_open("127.0.0.1", port))
        with connected(port) as client:
            start, dropped = time.monotonic(), False
            while not dropped and time.monotonic() - start < LIMIT:
                try:
                    client.sendall(b"x")
                except ConnectionError:
                    dropped = True
                time.sleep(0.02)  # the pace of the client is what is tried
        assert dropped


def test_the_number_of_clients_is_bounded(
    port: int, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_MOST", 10)
    with Exporter(MetricsConfig(port=port), registry, patience=1000.0) as served:
        until(lambda: is_open("127.0.0.1", port))
        clients = [connected(port) for _ in range(30)]
        for client in clients[:20]:  # those that came first are dropped
            assert client.recv(1) == b""
        assert len(served._clients) <= 10
        with ask(port) as answer:
            assert answer.status == 200
        for client in clients:
            client.close()
