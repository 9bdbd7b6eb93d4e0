"""What is published is read by the client alone (docs/arrakis.md), and by a pipeline of SGN."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from arrakis import Client
from sgn.apps import Pipeline
from sgn_arrakis import ArrakisSource
from sgnts.base import Offset
from sgnts.sinks import TSFrameCollectSink

from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from tests.helpers.pages import ROOT, blocks
from tests.helpers.small_site import small_config
from tests.streams.rig import (
    STRIDE,
    Site,
    gps_now,
    live_site,
    publisher_config,
    wait_for,
    wait_known,
)
from tests.streams.test_publish import publishing

__all__ = ["live_site"]

PAGE = {block.language: block.text for block in blocks(ROOT / "docs" / "arrakis.md")}
WHOLE = 3
"""Seconds that are published; half of the second one is a gap."""


@pytest.fixture(scope="module")
def published(
    live_site: Site, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Span, dict[str, Series]]:
    """Publish samples of all types at LIGO's and at Virgo's rate; return them, and their span."""
    config = small_config(
        tmp_path_factory.mktemp("published"), f"output.arrakis.server={live_site.url}"
    )
    counts: Counter[str] = Counter()
    start = (gps_now() // NS - 20) * NS
    span = Span(start, start + WHOLE * NS)
    random = np.random.default_rng(7)
    channels = {
        "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION": (16384, "float64"),
        "V1:Hrec_hoft_20000Hz_DEEPCLEAN_PRODUCTION": (20000, "float64"),
        "H1:DEEPCLEAN-STATE_VECTOR": (16, "uint32"),
        "H1:DEEPCLEAN-60Hz_MODEL_VERSION": (16, "int32"),
        "H1:DEEPCLEAN-60Hz_NOISE": (512, "float32"),
    }
    made = {
        name: Series(span, rate, (random.standard_normal(WHOLE * rate) * 1e5).astype(kind))
        for name, (rate, kind) in channels.items()
    }
    gap = Span(start + NS, start + 3 * NS // 2)
    with publishing(config, counts) as publisher:
        for part in (Span(start, gap.start), None, Span(gap.end, span.end)):
            if part is None:
                publisher.push_gap(gap)
            else:
                publisher.push(part, {name: one.cut(part) for name, one in made.items()})
        wait_for(lambda: counts["published"] == WHOLE * 16, f"all is published: {counts}")
    wait_known(live_site.server, list(made))
    return span, made


def there(series: Series) -> np.ndarray:
    """Return which of the samples were published, shape `(n,)`."""
    found = np.ones(len(series.samples), bool)
    found[series.rate : series.rate * 3 // 2] = False
    return found


def test_the_client_alone_reads_every_sample(
    live_site: Site, published: tuple[Span, dict[str, Series]]
) -> None:
    span, made = published
    client = Client(live_site.url, token=False)
    blocks = list(client.stream(list(made), start=span.start / NS, end=span.end / NS))
    assert [block.time_ns for block in blocks] == list(range(span.start, span.end, STRIDE))
    assert len(blocks[0].data["V1:Hrec_hoft_20000Hz_DEEPCLEAN_PRODUCTION"]) == 1250
    for name, series in made.items():
        read = np.ma.concatenate([b.data[name] for b in blocks])  # type: ignore[no-untyped-call]
        good = there(series)
        assert read.dtype == series.samples.dtype
        np.testing.assert_array_equal(np.ma.getmaskarray(read), ~good)
        np.testing.assert_array_equal(read.data[good], series.samples[good])


def test_the_pages_reader_prints_every_block(
    live_site: Site, published: tuple[Span, dict[str, Series]], capsys: pytest.CaptureFixture[str]
) -> None:
    span, _ = published
    program, part = PAGE["python"], f"start={span.start / NS}, end={span.end / NS}"
    for old, new in {
        '"grpc://arrakis.example:31206"': f'"{live_site.url}", token=False',
        "stream(names)": f"stream(names, {part})",
        "_PRODUCTION_OUT_DQ": "_PRODUCTION",  # which the fixture has
    }.items():
        assert old in program
        program = program.replace(old, new)
    exec(program, {})
    times = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].isdigit()]
    assert times == [str(time) for time in range(span.start, span.end, STRIDE)]


def test_the_pages_publisher_is_the_servers_that_the_tests_run(tmp_path: Path) -> None:
    written = publisher_config(tmp_path, "DEEPCLEAN", latency=2)
    assert tomllib.loads(PAGE["toml"]) == tomllib.loads(written.read_text())


@pytest.fixture
def short_strides() -> Iterator[None]:
    """Let SGN have strides of 1/16 s, for this test."""
    before = Offset.SAMPLE_STRIDE_AT_MAX_RATE
    Offset.set_max_rate(16384)
    Offset.SAMPLE_STRIDE_AT_MAX_RATE = 1024
    yield
    Offset.SAMPLE_STRIDE_AT_MAX_RATE = before


@pytest.mark.usefixtures("short_strides")
def test_sgn_reads_every_sample(
    live_site: Site, published: tuple[Span, dict[str, Series]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARRAKIS_SERVER", live_site.url)
    span, made = published
    name = "H1:GDS-CALIB_STRAIN_DEEPCLEAN_PRODUCTION"
    source = ArrakisSource(
        name="published", channels=[name], start=span.start / NS, end=span.end / NS
    )
    sink = TSFrameCollectSink(name="read", sink_pad_names=(name,))
    pipeline = Pipeline()
    pipeline.insert(source, sink, link_map={sink.snks[name]: source.srcs[name]})
    pipeline.run()
    series = made[name]
    read = np.zeros_like(series.samples)
    good = np.zeros(len(read), bool)
    for frame in sink.collects[name]:
        for buffer in frame:
            low = round((Offset.tons(buffer.offset) - span.start) * series.rate / NS)
            if not buffer.is_gap:
                read[low : low + buffer.samples] = buffer.data
                good[low : low + buffer.samples] = True
    np.testing.assert_array_equal(good, there(series))
    np.testing.assert_array_equal(read[good], series.samples[good])
