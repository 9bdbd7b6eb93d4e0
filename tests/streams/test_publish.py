"""Cleaned frames published: what a subscriber reads is what the frames hold, each block once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io.arrakis.connection import connect_to
from deepclean.io.arrakis.position import PublishedPosition, path_in
from deepclean.io.arrakis.publisher import BlockPublisher, publisher_of
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel
from tests.helpers.small_site import STATE, small_config
from tests.streams.rig import (
    STRIDE,
    Site,
    gps_now,
    live_site,
    site,
    subscriber,
    wait_for,
    wait_known,
)
from tests.streams.stored import stored

__all__ = ["live_site"]

RATES = {
    "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION_OUT_DQ": (16384, "float64"),
    "H1:DEEPCLEAN-STATE_VECTOR": (16, "uint32"),
    "H1:DEEPCLEAN-60Hz_MODEL_VERSION": (16, "int32"),
    "H1:DEEPCLEAN-60Hz_GAIN": (16, "float32"),
}
STRAIN = next(iter(RATES))


def configured(place: Path, server: str, *more: str) -> Config:
    return small_config(place, f"output.arrakis.server={server}", *more)


def channels(span: Span, rates: dict[str, tuple[int, str]] = RATES) -> dict[str, Series]:
    """Return samples over a span that tell where they stand."""
    found = {}
    for name, (rate, kind) in rates.items():
        low, high = span.indices(rate)
        found[name] = Series(span, rate, (np.arange(low, high) % 30011).astype(kind))
    return found


@contextmanager
def publishing(config: Config, counts: Counter[str]) -> Iterator[BlockPublisher]:
    made = publisher_of(config, counts)
    assert made is not None
    with made:
        yield made


def begin(publisher: BlockPublisher, running: Site, counts: Counter[str]) -> int:
    """Publish a first second, wait until readers find the channels; return its end."""
    start = gps_now() // NS * NS
    before = counts.total()
    publisher.push(Span(start, start + NS), channels(Span(start, start + NS)))
    wait_for(lambda: counts.total() == before + 16, "16 blocks are published")
    wait_known(running.server, list(RATES))
    return start + NS


def test_a_subscriber_reads_the_samples_and_the_gaps(live_site: Site, tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        publisher = stack.enter_context(publishing(configured(tmp_path, live_site.url), counts))
        begin(publisher, live_site, counts)
        reader = stack.enter_context(subscriber(live_site.url, list(RATES)))
        reader.wait(1)
        start = (gps_now() // NS + 1) * NS
        wait_for(lambda: gps_now() > start, "the second begins")
        # A second; half of one, which leaves a block in part; no strain; the rest of a second.
        span = Span(start, start + NS)
        publisher.push(span, channels(span) | {STATE: Series(span, 16, np.full(16, 7))})
        half = Span(start + NS, start + 3 * NS // 2 + STRIDE // 2)
        publisher.push(half, channels(half, {STRAIN: RATES[STRAIN]}))
        publisher.push_gap(Span(half.end, start + 2 * NS - STRIDE))
        rest = Span(start + 2 * NS - STRIDE, start + 2 * NS)
        publisher.push(rest, channels(rest))
        wait_for(lambda: reader.blocks[-1].time_ns >= rest.start, "the last block comes")
        taken = list(reader.blocks)
        got = {block.time_ns: block for block in taken}
    assert counts == {"published": 48, "stopped": 0}
    assert len(got) == len(taken)
    blocks = [got[start + k * STRIDE].data[STRAIN] for k in range(32)]
    whole = np.ma.concatenate(blocks)  # type: ignore[no-untyped-call]
    expected = channels(Span(start, start + 2 * NS))[STRAIN].samples
    low, high = half.end - start, rest.start - start
    masked = np.zeros(len(whole), bool)
    masked[low * 16384 // NS : high * 16384 // NS] = True
    np.testing.assert_array_equal(np.ma.getmaskarray(whole), masked)
    np.testing.assert_array_equal(whole.data[~masked], expected[~masked])
    for name in RATES:
        one = got[start].data[name]
        sent = channels(Span(start, start + STRIDE))[name].samples
        assert one.dtype == sent.dtype
        np.testing.assert_array_equal(np.ma.getdata(one), sent)


def push_seconds(publisher: BlockPublisher, start: int, count: int) -> float:
    """Push whole seconds at once; return the longest time that a push took."""
    longest = 0.0
    for second in range(start, start + count * NS, NS):
        span = Span(second, second + NS)
        given, before = channels(span), time.monotonic()
        publisher.push(span, given)
        longest = max(longest, time.monotonic() - before)
    return longest


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a stalled broker", "a killed broker", "a killed server"])
def test_a_long_outage_costs_what_the_queue_does_not_hold(tmp_path: Path, what: str) -> None:
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        running = stack.enter_context(site("DEEPCLEAN"))
        config = configured(
            tmp_path, running.url, "output.arrakis.timeout=0.3", "output.arrakis.queue=32"
        )
        publisher = stack.enter_context(publishing(config, counts))
        start = begin(publisher, running, counts)
        before = counts["published"]
        match what:
            case "a stalled broker":
                running.kafka.pause()
            case "a killed broker":
                running.kafka.kill()
            case "a killed server":
                running.server.kill()
        # Ten seconds of blocks come at once: what the queue does not hold is dropped.
        assert push_seconds(publisher, start, 10) < 0.1
        if what == "a killed server":  # the broker is all that a session needs
            wait_for(lambda: counts.total() == 16 * 11, f"all is published, {counts}")
            assert counts["published"] - before == 160 - counts["full"]
            return
        # A block is on its way, and what follows it fills the queue.
        noted = path_in(config.output.directory, config.output.description)
        wait_for(lambda: int(noted.read_text()[:19]) > start, "a block is handed over")
        push_seconds(publisher, start + 10 * NS, 2)
        wait_for(lambda: counts["unconfirmed"] + counts["refused"] > 0, f"it fails, {counts}")
        assert counts["published"] == before
        if what == "a stalled broker":
            running.kafka.go_on()
        else:
            running.kafka.start()
        end, whole = start + 12 * NS, False
        while not whole:  # blocks keep on coming, as from a live site
            before = counts["published"]
            push_seconds(publisher, end, 1)
            end += NS
            everything = 16 + (end - start) // STRIDE
            # The pauses between connections double: they may have grown to 16 s.
            wait_for(lambda: taken(counts) == everything, f"all is accounted for, {counts}", 60.0)  # noqa: B023
            whole = counts["published"] == before + 16
        times = [time for time, _ in stored(running, STRAIN)]
    assert times == sorted(set(times))
    # What was confirmed last can be read, in the partition that readers read.
    assert times[-16:] == list(range(end - NS, end, STRIDE))
    # What was not confirmed may have arrived, what was dropped or refused cannot have.
    assert len(times) <= everything - counts["full"] - counts["refused"]
    # The killed broker had the first second in its memory.
    assert counts["forgotten"] == (16 if what == "a killed broker" else 0)
    assert len(times) >= counts["published"] - counts["forgotten"]


def taken(counts: Counter[str]) -> int:
    """Return how many blocks are accounted for."""
    return counts.total() - counts["forgotten"]


@pytest.mark.slow
def test_a_short_stall_costs_nothing(
    live_site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "deepclean")
    counts: Counter[str] = Counter()
    with publishing(configured(tmp_path, live_site.url), counts) as publisher:
        start = begin(publisher, live_site, counts)
        live_site.kafka.pause()
        push_seconds(publisher, start, 3)
        wait_for(lambda: "nothing is published" in caplog.text, "it is said")
        live_site.kafka.go_on()
        wait_for(lambda: counts.total() == 64, f"all is accounted for, {counts}")
        assert counts == {"published": 64}
        times = [time for time, _ in stored(live_site, STRAIN)]
    assert times[-64:] == list(range(start - NS, start + 3 * NS, STRIDE))
    assert "published again; 0 blocks were not" in caplog.text


@pytest.mark.slow
def test_a_broker_that_forgot_at_once_costs_a_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The client's producer is unknown to the broker that came back, and finds no end by itself.
    caplog.set_level("INFO", "deepclean")
    counts: Counter[str] = Counter()
    with site("DEEPCLEAN") as own:
        config = configured(tmp_path, own.url, "output.arrakis.timeout=0.3")
        with publishing(config, counts) as publisher:
            start = begin(publisher, own, counts)
            own.kafka.restart()
            push_seconds(publisher, start, 3)
            wait_for(lambda: taken(counts) == 64, f"all is accounted for, {counts}")
            times = [time for time, _ in stored(own, STRAIN)]
    lost = counts["unconfirmed"] + counts["refused"]
    assert counts == Counter(published=64 - lost, forgotten=16) + Counter(
        unconfirmed=counts["unconfirmed"], refused=counts["refused"]
    )
    assert 1 <= lost <= 2
    assert times == list(range(start + lost * STRIDE, start + 3 * NS, STRIDE))
    assert "the broker has lost 16 blocks that it had confirmed" in caplog.text


def test_after_a_restart_nothing_is_published_twice(live_site: Site, tmp_path: Path) -> None:
    # A busy machine may take more than the second in which a block is confirmed by default.
    config = configured(tmp_path, live_site.url, "output.frames=false", "output.arrakis.timeout=10")
    first: Counter[str] = Counter()
    with publishing(config, first) as publisher:
        start = begin(publisher, live_site, first)
        push_seconds(publisher, start, 2)
    assert first["published"] + first["stopped"] == 48
    again: Counter[str] = Counter()
    before = stored(live_site, STRAIN)
    with publishing(config, again) as publisher:
        # It goes on in the second of the last block that was published.
        assert publisher.finished() == [start + (first["published"] - 17) // 16 * NS]
        push_seconds(publisher, start + NS, 2)
        wait_for(lambda: again.total() == 32, f"all is accounted for, {again}")
    assert again["past"] == first["published"] - 32
    assert again["published"] == 64 - first["published"]
    times = [time for time, _ in stored(live_site, STRAIN)]
    ours = times[-(first["published"] + again["published"]) :]  # others published before
    assert ours == sorted(set(ours))
    assert len(times) - len(before) == again["published"]


@pytest.mark.slow
@pytest.mark.parametrize("delivered", [[], [STRAIN], list(RATES)])
def test_what_a_killed_process_handed_over_in_part_is_completed(
    live_site: Site, tmp_path: Path, delivered: list[str]
) -> None:
    config = configured(tmp_path, live_site.url, "output.frames=false")
    first: Counter[str] = Counter()
    with publishing(config, first) as publisher:
        start = begin(publisher, live_site, first)
    # A process that dies has noted its last block, and delivered all of it, a part or nothing.
    span = Span(start, start + STRIDE)
    position = PublishedPosition(path_in(config.output.directory, config.output.description))
    position.claim(span.end, span.start)
    position.close()
    made = channels(span)
    if delivered:
        known = {name: PublishedChannel.of(one) for name, one in made.items()}
        session = connect_to(live_site.url, config.output.arrakis)(known)
        session.send(PublishedBlock(start, {n: made[n].samples for n in delivered}))
        session.confirm(10.0)
        session.close()
    again: Counter[str] = Counter()
    with publishing(config, again) as publisher:
        assert publisher.finished() == [start]
        push_seconds(publisher, start, 1)
        wait_for(lambda: again.total() == 16, f"all is accounted for, {again}")
    whole = delivered == list(RATES)
    assert again == Counter(published=16 - whole, past=whole, stopped=0)
    for name in list(RATES)[:2]:
        blocks = stored(live_site, name)[-32:]
        assert [time for time, _ in blocks] == list(range(start - NS, start + NS, STRIDE))
        np.testing.assert_array_equal(blocks[16][1], made[name].samples)


def test_a_stop_waits_for_a_dead_broker_within_its_bound(tmp_path: Path) -> None:
    config = configured(tmp_path, "grpc://127.0.0.1:9", "output.arrakis.drain=0.5")
    counts: Counter[str] = Counter()
    with publishing(config, counts) as publisher:
        push_seconds(publisher, gps_now() // NS * NS, 1)
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    assert counts == {"stopped": 16}
