"""Blocks on their way to Arrakis: how they are cut, and what the queue does where nothing answers.

What needs the real server and broker is in tests/streams.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, OutputError
from deepclean.io.arrakis.position import PublishedPosition, path_in
from deepclean.io.arrakis.publisher import BlockPublisher, publisher_of
from deepclean.io.arrakis.strides import PublishedBlock, PublishedChannel, StrideCutter
from deepclean.io.frame_channels import published_channels
from tests.helpers.small_site import START, small_config

STRIDE = NS // 16
RATES = {"A": (256, "float64"), "B": (16, "int32")}
T0 = START * NS


def channels(span: Span) -> dict[str, Series]:
    """Return samples that are their index."""
    return {
        name: Series(span, rate, np.arange(*span.indices(rate)).astype(kind))
        for name, (rate, kind) in RATES.items()
    }


@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 20),
    st.sampled_from([1, 2, 16]),
)
def test_blocks_hold_what_came_however_it_was_cut(
    parts: list[tuple[int, bool]], offset: int, strides: int
) -> None:
    stride, start = strides * STRIDE, T0 + offset * STRIDE
    cutter, blocks = StrideCutter(stride), list[PublishedBlock]()
    expected: dict[int, Any] = {}
    known, cursor = False, start
    for length, is_there in parts:
        span = Span(cursor, cursor + length * STRIDE)
        known = known or is_there
        if is_there:
            blocks += cutter.push(span, channels(span))
        else:
            blocks += cutter.push_gap(span)
        if known:
            expected |= dict.fromkeys(range(*span.indices(256)), is_there)
        cursor = span.end
    blocks += cutter.flush()
    times = [block.start for block in blocks]
    assert times == sorted(set(times))
    assert all(time % stride == 0 for time in times)
    there: dict[int, Any] = {}
    for block in blocks:
        samples = np.ma.asarray(block.data["A"])
        first = block.start * 256 // NS
        assert len(samples) == 256 * stride // NS
        for index, value in enumerate(samples):
            if value is not np.ma.masked:
                assert value == first + index
                there[first + index] = True
    assert there == {index: True for index, is_there in expected.items() if is_there}


def test_what_another_rate_or_type_has_is_masked() -> None:
    cutter = StrideCutter(STRIDE, {"A": PublishedChannel(256, "float64")})
    span = Span(T0, T0 + STRIDE)
    other = Series(span, 512, np.zeros(32))
    wrong = Series(span, 256, np.zeros(16, np.float32))
    for series in (other, wrong):
        (block,) = cutter.push(span, {"A": series})
        assert np.ma.getmaskarray(block.data["A"]).all()


class Blocked:
    """A session to a broker that confirms when it is let."""

    def __init__(self) -> None:
        self.goes_on, self.came = threading.Event(), threading.Event()
        self.handed: list[int] = []
        self.published: list[int] = []
        self.held = -1
        self.most = 0

    def connect(self, wanted: Mapping[str, PublishedChannel]) -> Blocked:
        return self

    def send(self, block: PublishedBlock) -> None:
        self.came.set()
        self.handed.append(block.start)

    def confirm(self, timeout: float) -> None:
        self.most = max(self.most, self.unconfirmed())
        if not self.goes_on.wait(timeout):
            raise TimeoutError
        self.published += self.handed[len(self.published) :]

    def unconfirmed(self) -> int:
        return len(self.handed) - len(self.published)

    def is_stuck(self) -> bool:
        return False

    def pop_forgotten(self) -> int:
        return 0

    def last_times(self) -> dict[str, int]:
        return dict.fromkeys(RATES, self.held)

    def close(self) -> None:
        self.published.append(-1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return small_config(
        tmp_path, "output.arrakis.server=grpc://127.0.0.1:9", "output.arrakis.queue=20"
    )


def test_the_oldest_blocks_leave_a_full_queue_and_all_are_counted(config: Config) -> None:
    broker, counts = Blocked(), Counter[str]()
    with BlockPublisher(config, broker.connect, counts) as publisher:
        first = Span(T0, T0 + STRIDE)
        publisher.push(first, channels(first))
        assert broker.came.wait(30)
        span = Span(first.end, first.end + 50 * STRIDE)
        publisher.push(span, channels(span))
        assert counts == {"full": 30}
        broker.goes_on.set()
    assert counts == {"published": 21, "full": 30, "stopped": 0}
    last = range(span.end - 20 * STRIDE, span.end, STRIDE)
    assert broker.published == [T0, *last, -1]


def test_a_block_that_is_not_confirmed_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = small_config(
        tmp_path, "output.arrakis.server=grpc://127.0.0.1:9", "output.arrakis.timeout=0.01"
    )
    broker, counts = Blocked(), Counter[str]()
    with BlockPublisher(config, broker.connect, counts) as publisher:
        span = Span(T0, T0 + 2 * STRIDE)
        publisher.push(span, channels(span))
        while "nothing is published" not in caplog.text:
            assert broker.came.wait(30)
        broker.goes_on.set()
    assert counts == {"published": 2, "stopped": 0}
    assert broker.handed == [T0, T0 + STRIDE]
    assert "published again; 0 blocks were not" in caplog.text


def test_blocks_that_wait_are_handed_over_together_and_in_doubt_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small_config(
        tmp_path, "output.arrakis.server=grpc://127.0.0.1:9", "output.arrakis.timeout=0.1"
    )
    broker, counts = Blocked(), Counter[str]()
    span = Span(T0, T0 + 21 * STRIDE)
    with BlockPublisher(config, broker.connect, counts) as publisher:
        first = Span(T0, T0 + STRIDE)
        publisher.push(first, channels(first))
        assert broker.came.wait(30)
        rest = Span(first.end, first.end + 20 * STRIDE)
        publisher.push(rest, channels(rest))
        while "nothing is published" not in caplog.text:  # it takes longer than a block
            assert broker.came.wait(30)
        broker.goes_on.set()
    assert broker.handed == list(range(T0, span.end, STRIDE))
    assert broker.most == 2
    assert counts == {"published": 21, "stopped": 0}
    # A process that dies with five blocks on their way, of which the broker has two.
    path = path_in(config.output.directory, config.output.description)
    position = PublishedPosition(path)
    assert position.confirmed == span.end - STRIDE
    position.claim(span.end, span.end - 5 * STRIDE)
    position.close()
    again, counts = Blocked(), Counter[str]()
    again.held = span.end - 4 * STRIDE
    again.goes_on.set()
    with BlockPublisher(config, again.connect, counts) as publisher:
        publisher.push(rest, channels(rest))
    assert again.handed == list(range(span.end - 3 * STRIDE, span.end, STRIDE))
    assert counts == {"published": 3, "past": 17, "stopped": 0}


def test_a_stream_that_goes_back_is_not_published(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counter[str]()
    for start in (T0 + 10 * NS, T0, T0 + 10 * NS - STRIDE):
        broker = Blocked()
        broker.goes_on.set()
        with BlockPublisher(config, broker.connect, counts) as publisher:
            span = Span(start, start + 2 * STRIDE)
            publisher.push(span, channels(span))
    assert counts == {"published": 2, "past": 4, "stopped": 0}
    assert "remove that file for a stream that begins again" in caplog.text


def test_a_long_gap_is_left_out(config: Config) -> None:
    broker, counts = Blocked(), Counter[str]()
    broker.goes_on.set()
    with BlockPublisher(config, broker.connect, counts) as publisher:
        for start, gap in ((T0, 3 * NS), (T0 + 4 * NS, NS)):
            span = Span(start, start + STRIDE)
            publisher.push(span, channels(span))
            publisher.push_gap(Span(span.end, span.end + gap))
    assert counts == {"published": 2 + 16, "stopped": 0}


def test_the_position_is_read_again_and_rubbish_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "made" / ".published"
    position = PublishedPosition(path)
    assert position.reached == 0
    position.claim(T0, T0 - STRIDE)
    position.close()
    again = PublishedPosition(path)
    assert (again.reached, again.confirmed) == (T0, T0 - STRIDE)
    path.write_text(f"{T0}\n")  # as before there were two
    again = PublishedPosition(path)
    assert (again.reached, again.confirmed) == (T0, None)
    path.write_text("rubbish\n")
    assert PublishedPosition(path).reached == 0
    assert "holds no time" in caplog.text


def test_without_the_client_a_server_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "arrakis", None)
    with pytest.raises(ConfigError, match=r"install deepclean-production\[arrakis\]"):
        publisher_of(config, Counter())


def test_a_connection_that_fails_is_not_tried_again_and_again_at_the_end(config: Config) -> None:
    tried: list[float] = []

    def refuse(wanted: Mapping[str, PublishedChannel]) -> Blocked:
        tried.append(time.monotonic())
        raise OutputError("no such publisher")

    counts = Counter[str]()
    with BlockPublisher(config, refuse, counts) as publisher:
        span = Span(T0, T0 + STRIDE)
        publisher.push(span, channels(span))
    assert counts == {"stopped": 1}
    assert 1 <= len(tried) <= 4  # in a drain of a second, with pauses of half a second


def test_channels_of_which_none_is_there_end_the_start(tmp_path: Path) -> None:
    server = "output.arrakis.server=grpc://127.0.0.1:9"
    wrong = small_config(tmp_path, server, "output.arrakis.channels=[DEEPCLEAN-STATE_VECTORS]")
    with pytest.raises(ConfigError, match=r"channels: .*mean H1:DEEPCLEAN-STATE_VECTOR\?"):
        publisher_of(wrong, Counter())
    # Two of which one is there are published as far as they are; see the site's check.
    some = small_config(tmp_path, server, "output.arrakis.channels=[DEEPCLEAN-STATE_VECTOR, NONE]")
    assert published_channels(some) == {"H1:DEEPCLEAN-STATE_VECTOR": (16, "uint32")}
