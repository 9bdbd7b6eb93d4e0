"""Cleaned frames published: what a subscriber reads is what the frames hold, each block once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.io.arrakis.publisher import BlockPublisher, publisher_of
from tests.helpers.small_site import STATE, small_config
from tests.streams.rig import STRIDE, Site, gps_now, live_site, site, subscriber, wait_for, wait_known

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
    before = counts["published"]
    publisher.push(Span(start, start + NS), channels(Span(start, start + NS)))
    wait_for(lambda: counts["published"] == before + 16, f"16 blocks are published, {counts}")
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
        got = {block.time_ns: block for block in reader.blocks}
    assert counts == {"published": 48, "stopped": 0}
    assert len(got) == len(reader.blocks)
    whole = np.ma.concatenate([got[start + k * STRIDE].data[STRAIN] for k in range(32)])
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
