#!/usr/bin/env python3
"""Measure the latency of the daemon between two streams of Arrakis, in blocks of 1/16 s.

A broker and a server run on the loopback. A process publishes a simulated site of 21 witnesses in
real time, each block when its last sample is made. `deepclean run` reads and publishes them. From
the end of a block at the publisher to the cleaned block at a subscriber: median, p99, worst; blocks
missing, doubled or masked; the same of what the daemon reads at a second subscriber (the echo: one
transport without any cleaning); the parts of the way, by the times that the producers gave their
messages; what each process uses; whether the published samples are those of a replay, bit for bit.
Runs in the environment that has the clients (`.venv-streams`).
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

# In place of this directory, where the client would find this file under its own name.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import pyarrow as pa

import tests.streams.conftest  # noqa: F401  (a table of leap seconds for the clients)
from benchmarks import common
from benchmarks.common import ROOT, Figures, spread
from benchmarks.processes import Daemon, processor, resident, service_env
from benchmarks.site import COUPLING, SiteDirectory, wide_site
from deepclean.config.frames import ArrakisOutputConfig
from deepclean.core.block import Series
from deepclean.core.channels import product_names, state_vector
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.io.arrakis.connection import connect_to
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_models
from deepclean.run.cleaner import sink_of
from deepclean.run.replay import replay
from deepclean.simulate.files import Product
from deepclean.simulate.recording import Playing, Recording, publish_as_live
from deepclean.simulate.stream import Pace
from deepclean.system.clock import SystemClock
from tests.streams.rig import (
    EPOCH,
    FETCH_WAIT,
    STRIDE,
    Site,
    Subscriber,
    gps_now,
    site,
    subscriber,
    wait_for,
    wait_known,
)

BLOCKS = (
    *("engine.hop=0.0625", "engine.ramp=0.0625"),
    *("engine.resample.slowest_rate=512", "engine.resample.zeros=8"),
    *("engine.interpolation.zeros=8", "gate.guard=13.5"),
    f"couplings.{COUPLING}.predict.edge=0.0234375",
    f"couplings.{COUPLING}.bandpass.transition=13.5",
)
"""Overrides for blocks of 1/16 s, with a look-ahead of a quarter of a second."""

START, SETTLE = 40, 15
"""Seconds that the daemon has to start, and seconds after its first block that are not measured."""

AHEAD = 5
"""Seconds between the last preparation and the first block."""

SPEED = 8
"""Seconds of data that are simulated in a second, at least."""

LATENCY = 5
"""Seconds that the server waits for a block: no machine is so busy that it gives up one."""


def main() -> None:
    """Run the streams; print what was measured. Status 1 where a sample differs."""
    options = _options()
    if options.publish:
        publish(options)
        return
    memory = Path("/dev/shm")
    with common.scratch(memory if memory.is_dir() else None) as place:
        figures = common.run("arrakis", options, lambda options: measure(place, options))
    wrong = ("missing", "doubled", "masked")
    sys.exit(figures["differing_blocks"] > 0 or any(figures["blocks"][one] for one in wrong))


def _options() -> argparse.Namespace:
    parser = common.parser(__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=2.0, help="of the stream that are measured")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    held = "milliseconds that the server lets the broker hold a request; Kafka's default is 500"
    add("--fetch-wait", type=int, default=FETCH_WAIT, metavar="MS", help=held)
    add("--publish", nargs=4, metavar="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.set = [*BLOCKS, *options.set]
    return options


def measure(place: Path, options: argparse.Namespace) -> Figures:
    """Return the figures."""
    with ExitStack() as stack:
        streams = stack.enter_context(
            site("SITE", "DEEPCLEAN", latency=LATENCY, wait=options.fetch_wait)
        )
        overrides = (
            *options.set,
            f"input.arrakis.server={streams.url}",
            f"output.arrakis.server={streams.url}",
            *("output.frames=false", "metrics.enabled=false"),
        )
        made = wide_site(place, overrides)
        engine = make_engine(made.config, load_models(made.config))
        note(f"look-ahead {engine.lookahead / 1e6:.0f} ms")
        total = START + SETTLE + math.ceil(options.minutes * 60) + 5
        first = gps_now() // NS + total // SPEED + AHEAD
        span = Span.of_seconds(first, total)
        made.write(span, 8)
        note(f"{total} s of data are there")
        if gps_now() >= (first - 2) * NS:
            raise RuntimeError("the data were simulated too slowly; use a quiet machine")
        source = stack.enter_context(publishing(place, made, options, first, streams.url))
        strain = made.config.strain.channel
        wait_known(streams.server, [strain])
        wait_for(lambda: gps_now() > (first + 1) * NS, "the stream begins", math.inf)
        log, env = place / "log", service_env([])
        note("the daemon starts")
        daemon = stack.enter_context(
            Daemon(made.path, made.overrides, log, ("-m", "deepclean", "run"), env=env)
        )
        daemon.until(lambda: daemon.says("first frame written") or published(made), pause=0.1)
        wanted = [
            *product_names(strain, made.config.output.products).values(),
            state_vector(made.config.interferometer),
        ]
        wait_known(streams.server, wanted)
        pids = {"daemon": daemon.pid, "server": streams.server.pid, "broker": streams.kafka.pid}
        pids |= {"publisher": source.pid, "subscribers": os.getpid()}
        begin = gps_now() // NS * NS + SETTLE * NS
        end = min(begin + math.ceil(options.minutes * 60) * NS, span.end - 4 * NS)
        if end <= begin:
            raise RuntimeError("the daemon started too slowly; use a quiet machine")
        note(f"{(end - begin) / NS:.0f} s are measured from {SETTLE} s on")
        since, used = time.monotonic(), {name: processor(pid) for name, pid in pids.items()}
        inputs = channels_of(made.config)  # all of them: for one set the server asks but once
        echo = stack.enter_context(
            subscriber(streams.url, [*inputs.of_strain_file, *inputs.witnesses])
        )
        reader = stack.enter_context(subscriber(streams.url, wanted))
        wait_for(lambda: gps_now() > end + 3 * NS, "the stream is over", math.inf)
        elapsed = time.monotonic() - since
        spent = {name: 1e3 * (processor(pid) - used[name]) / elapsed for name, pid in pids.items()}
        memory = resident(daemon.pid)
        status = daemon.stop()
        if status != 0:
            raise RuntimeError(f"the daemon ended with status {status}:\n{log.read_text()}")
        warnings = [line for line in log.read_text().splitlines() if " WARNING " in line]
        whole = Span(begin, end)
        parts = hops(streams, {strain: echo, wanted[0]: reader}, whole)
    for line in warnings:
        note(line)
    found = {
        "latency_ms": latencies(reader, whole),
        "echo_ms": latencies(echo, whole),
        "hops_ms": parts,
        "blocks": blocks(reader, whole),
    }
    note(f"{found}; a replay of the same data")
    return {
        **found,
        "differing_blocks": differing(place, made, reader, whole),
        "lookahead_ms": engine.lookahead / 1e6,
        "cpu_ms_per_s": spent,
        "resident_mb": memory,
        "warnings": len(warnings),
    }


def note(said: str) -> None:
    """Say on standard error how far the run is."""
    print(f"{time.strftime('%H:%M:%S')} {said}", file=sys.stderr, flush=True)


def published(made: SiteDirectory) -> bool:
    """Return whether the daemon has published something."""
    output = made.config.output
    file = output.directory / f".{output.description}.published"
    return file.exists() and file.stat().st_size > 0


@contextmanager
def publishing(
    place: Path, made: SiteDirectory, options: argparse.Namespace, first: int, url: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Publish the site's frames in their time, from a process of its own."""
    words = [sys.executable, "-m", "benchmarks.arrakis"]
    words += [word for one in made.overrides for word in ("--set", one)]
    words += ["--publish", str(made.path), str(place), str(first), url]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def publish(options: argparse.Namespace) -> None:
    """Do the publisher's work."""
    from deepclean.config import load

    path, place, first, url = options.publish
    config = load(Path(path), options.set, environ={})
    channels = channels_of(config)
    source = HistorySource(
        channels, History([Path(place, "strain")]), History([Path(place, "witnesses")])
    )
    (span,) = source.strain.spans(channels.strain)
    kind = Product(Path(), "", 1, channels.of_strain_file + channels.witnesses)
    recording = Recording(config.interferometer, source, [kind], span)
    settings = ArrakisOutputConfig(server=url, publisher="SITE", timeout=10)
    clock = SystemClock()
    start = clock.monotonic() + (int(first) * NS - gps_now()) / NS
    playing = Playing(Pace(), start=start)
    for _ in publish_as_live(recording, connect_to(url, settings), settings, clock, playing):
        pass


def latencies(reader: Subscriber, whole: Span) -> dict[str, float]:
    """Return median, p99 and worst in ms from the end of a block to its arrival."""
    taken = zip(tuple(reader.blocks), tuple(reader.came), strict=False)
    late = [(at - one.time_ns - STRIDE) / 1e6 for one, at in taken if inside(one.time_ns, whole)]
    return spread(late)


def hops(streams: Site, readers: Mapping[str, Subscriber], whole: Span) -> Figures:
    """Return how long the parts of the way took, in ms, by what the broker holds.

    Args:
        streams: the broker and the server.
        readers: who reads the raw strain, and who reads the cleaned strain, by channel.
        whole: the span that is measured.

    Returns:
        From the end of a block to the site's producer; from there to the raw subscriber (one
        transport), and to the daemon's producer (one transport and the daemon); from there to the
        subscriber (the other transport).
    """
    (raw, echo), (cleaned, reader) = readers.items()
    sent, again = (handed(streams, name, whole) for name in (raw, cleaned))
    came = [dict(zip((b.time_ns for b in r.blocks), r.came, strict=False)) for r in (echo, reader)]
    parts = {
        "to_producer": ({t: t + STRIDE for t in sent}, sent),
        "to_echo": (sent, came[0]),
        "to_daemons_producer": (sent, again),
        "to_subscriber": (again, came[1]),
    }
    return {
        name: spread([(end[t] - start[t]) / 1e6 for t in start if t in end])
        for name, (start, end) in parts.items()
    }


def handed(streams: Site, channel: str, whole: Span) -> dict[int, int]:
    """Return when each block of a channel was handed to its producer, by its start (GPS ns)."""
    from arrakis import Client
    from arrakis.constants import topic_name
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    partition = Client(streams.url, token=False).describe([channel])[channel].partition_id
    topic, found = topic_name(partition), dict[int, int]()
    consumer = Consumer({"bootstrap.servers": streams.kafka.address, "group.id": "benchmark"})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    while (message := consumer.poll(5)) is not None and message.error() is None:
        start = int(pa.ipc.open_stream(message.value()).read_all()["time"][0].as_py())
        if inside(start, whole):
            found[start] = message.timestamp()[1] * 1_000_000 - EPOCH
        if start >= whole.end:
            break
    consumer.close()
    return found


def inside(instant: int, whole: Span) -> bool:
    """Return whether a block begins inside a span."""
    return whole.start <= instant < whole.end


def blocks(reader: Subscriber, whole: Span) -> Figures:
    """Return how many blocks there were, missed, came again or out of order, and had gaps."""
    times = [block.time_ns for block in reader.blocks if inside(block.time_ns, whole)]
    expected = range(whole.start, whole.end, STRIDE)
    return {
        "expected": len(expected),
        "missing": len(set(expected) - set(times)),
        "doubled": sum(after <= before for before, after in pairwise(times)),
        "masked": sum(block.has_gaps for block in reader.blocks if inside(block.time_ns, whole)),
    }


def differing(place: Path, made: SiteDirectory, reader: Subscriber, whole: Span) -> int:
    """Return how many blocks differ from those of a replay in any bit of any channel.

    The frames begin where the stream began, so a replay finds the same past.
    """
    config, loaded = made.config, load_models(made.config)
    source = HistorySource(
        channels_of(config), History([place / "strain"]), History([place / "witnesses"])
    )
    sink = sink_of(config, loaded, place / "replayed")
    replay(config, lambda: make_engine(config, loaded), source, sink, whole)
    again, found = History([place / "replayed"]), 0
    names: Sequence[str] = list(reader.blocks[0].data)
    for second in range(whole.start, whole.end, NS):
        theirs = again.read(names, Span(second, second + NS))
        for block in reader.blocks:
            if not second <= block.time_ns < second + NS:
                continue
            span = Span(block.time_ns, block.time_ns + STRIDE)
            for name, data in block.data.items():
                series = theirs[name]
                same = isinstance(series, Series) and np.array_equal(
                    np.ma.getdata(data), series.cut(span).samples, equal_nan=True
                )
                if not same:
                    found += 1
                    break
    return found


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
