"""Blocks of 1/16 s, as config/H1-sixteenths.yaml has them: soon, as clean, and the same samples.

What cuts and hops do to the samples is shown in test_stream_equals_whole.py with small engines.
Here it is the configuration for production, the published network and a gate that opens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.common import CONFIGURATIONS
from benchmarks.site import SIXTEENTHS, START, SiteDirectory, wide_site
from deepclean.config import load
from deepclean.core.block import CleanedBlock, Samples
from deepclean.core.engine.engine import Engine
from deepclean.core.spectra import band_ratio
from deepclean.core.time import Span
from deepclean.factory import make_engine
from deepclean.models.loading import load_models
from tests.helpers.builders import SIXTEENTH, Record, clean, estimate, raw_of, same_bits, strain_of

SECONDS = 24
"""Of data: the gate is open after 17."""

COMPARED = slice(18 * 16384, (SECONDS - 1) * 16384)
"""Samples of the strain that are held against one another: the gate is open, the end not cut."""


@dataclass(frozen=True)
class Runs:
    """The same data, cleaned in blocks of 1/16 s, in blocks of 1 s at that hop and at 1 s, and as
    config/H1.yaml has it; and the strain without the noise that is witnessed."""

    engine: Engine
    short: list[CleanedBlock]
    cut: list[CleanedBlock]
    long: list[CleanedBlock]
    usual: list[CleanedBlock]
    floor: Samples


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    site = wide_site(tmp_path_factory.mktemp("site"), path=SIXTEENTHS)
    loaded, data = load_models(site.config), simulated(site)
    longer = load(site.path, [*site.overrides, "engine.hop=1"], environ={})
    usual = load(CONFIGURATIONS / "H1.yaml", site.overrides, environ={})
    truth = "H1:TRUTH-BACKGROUND"
    engine = make_engine(site.config, loaded)
    return Runs(
        engine,
        clean(engine, data.blocks([1])),
        clean(make_engine(site.config, loaded), data.blocks()),
        clean(make_engine(longer, loaded), data.blocks()),
        clean(make_engine(usual, loaded), data.blocks()),
        site.simulator.read([truth], Span.of_seconds(START, SECONDS))[truth].samples,
    )


def simulated(site: SiteDirectory) -> Record:
    strain, span = site.config.strain.channel, Span.of_seconds(START, SECONDS)
    read = dict(site.simulator.read([strain, *site.config.witness_channels], span))
    return Record(span, read.pop(strain), read)


def test_a_block_waits_for_the_four_after_it(runs: Runs) -> None:
    engine = runs.engine
    assert engine.settings.hop == SIXTEENTH
    assert 3 * SIXTEENTH < engine.lookahead <= 4 * SIXTEENTH


def test_as_little_is_left_as_in_blocks_of_one_second(runs: Runs) -> None:
    floor, bands = np.asarray(runs.floor[COMPARED], dtype=np.float64), [(55.0, 65.0)]
    short, usual, raw = (
        band_ratio(samples[COMPARED], floor, 16384, bands)
        for samples in (strain_of(runs.short), strain_of(runs.usual), raw_of(runs.usual))
    )
    assert raw > 2
    assert short < 1.01 * usual


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
