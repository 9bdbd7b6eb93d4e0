"""Blocks of 1/16 s, as docs/performance.md configures them: half a second, and the same samples.

What cuts and hops do to the samples is shown in test_stream_equals_whole.py with small engines.
Here it is the configuration for production, the published network and a gate that opens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.site import SHORT, START, SiteDirectory, wide_site
from deepclean.config import load
from deepclean.core.block import CleanedBlock
from deepclean.core.engine.engine import Engine
from deepclean.core.time import NS, Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models
from tests.helpers.builders import SIXTEENTH, Record, clean, estimate, raw_of, same_bits, strain_of

SECONDS = 24
"""Of data: the gate is open after 17."""

COMPARED = slice(18 * 16384, (SECONDS - 1) * 16384)
"""Samples of the strain that are held against one another: the gate is open, the end not cut."""


@dataclass(frozen=True)
class Runs:
    """The same data, cleaned in blocks of 1/16 s, and in blocks of 1 s at that hop and at 1 s."""

    engine: Engine
    short: list[CleanedBlock]
    cut: list[CleanedBlock]
    long: list[CleanedBlock]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    site = wide_site(tmp_path_factory.mktemp("site"), SHORT)
    loaded, data = load_models(site.config), simulated(site)
    longer = load(site.path, [*site.overrides, "engine.hop=1"], environ={})
    engine = make_engine(site.config, loaded)
    return Runs(
        engine,
        clean(engine, data.blocks([1])),
        clean(make_engine(site.config, loaded), data.blocks()),
        clean(make_engine(longer, loaded), data.blocks()),
    )


def simulated(site: SiteDirectory) -> Record:
    strain, span = site.config.strain.channel, Span.of_seconds(START, SECONDS)
    read = dict(site.simulator.read([strain, *site.config.witness_channels], span))
    return Record(span, read.pop(strain), read)


def test_the_latency_is_below_half_a_second(runs: Runs) -> None:
    """A sample waits for its hop and the look-ahead; computing takes some 10 ms."""
    engine = runs.engine
    assert engine.settings.hop == SIXTEENTH
    assert engine.settings.hop + engine.lookahead <= 0.4 * NS


def test_the_samples_are_those_of_blocks_of_one_second(runs: Runs) -> None:
    short, cut, long = (strain_of(blocks) for blocks in (runs.short, runs.cut, runs.long))
    assert same_bits(short, cut)
    gains = [estimate(blocks).gain[COMPARED] for blocks in (runs.short, runs.long)]
    assert (gains[0] == 1).all()
    assert same_bits(*gains)
    noise = (raw_of(runs.long) - long)[COMPARED]
    difference = (short - long)[COMPARED]
    assert np.sqrt(np.mean(difference**2)) <= 1e-6 * noise.std()
    assert np.abs(difference).max() <= 5e-6 * noise.std()
