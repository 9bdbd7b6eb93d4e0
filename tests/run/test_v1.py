"""Virgo's configuration at its full size: fifteen couplings, 266 witnesses, strain at 20000 Hz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepclean.config import load
from deepclean.core.block import Series
from deepclean.core.channels import frame_part, product_names
from deepclean.core.output.products import State
from deepclean.core.time import Span
from deepclean.io import gwf
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.simulate.configured import site_of
from deepclean.simulate.files import Layout
from deepclean.simulate.history import write_history
from deepclean.simulate.simulator import Simulator
from tests.helpers import small_site
from tests.helpers.site_runs import clean
from tests.helpers.small_site import START

ROOT = Path(__file__).resolve().parents[2]


def _overrides(place: Path) -> list[str]:
    """Return the small changes: no gates, for they would keep out what untrained models say."""
    return [f"models.directory={place}/models", "gate.enabled=false"]


@pytest.mark.slow
def test_virgo_is_cleaned(tmp_path: Path) -> None:
    config = load(ROOT / "config" / "V1.yaml", _overrides(tmp_path), environ={})
    couplings = config.enabled_couplings
    assert len(couplings) == 15
    assert sum(len(coupling.witnesses) for coupling in couplings.values()) == 266
    simulator = Simulator(site_of(config))
    layout = Layout(strain=tmp_path / "strain", witnesses=tmp_path / "witnesses", witness_length=8)
    for _ in write_history(simulator, layout, Span.of_seconds(START, 8)):
        pass
    small_site.publish_model(config, 1, simulator.rates)
    source = HistorySource(
        channels_of(config), History([tmp_path / "strain"]), History([tmp_path / "witnesses"])
    )
    done = clean(config, START + 4, START + 6, tmp_path / "cleaned", source=source)
    assert done.written == 2

    raw_name = config.strain.channel
    product = product_names(raw_name, ["OUT_DQ"])["OUT_DQ"]
    for path in sorted((tmp_path / "cleaned").glob("V-V1_DEEPCLEAN-*-1.gwf")):
        versions = [f"V1:DEEPCLEAN-{frame_part(name)}_MODEL_VERSION" for name in couplings]
        read = gwf.read(path, [product, "V1:DEEPCLEAN-STATE_VECTOR", *versions])
        cleaned = read[product]
        assert isinstance(cleaned, Series)
        assert (cleaned.rate, cleaned.samples.dtype) == (20000, np.dtype(np.float64))
        raw = source.strain.read([raw_name], cleaned.span)[raw_name]
        assert isinstance(raw, Series)
        assert np.isfinite(cleaned.samples).all()
        assert (cleaned.samples != raw.samples).all()
        state = read["V1:DEEPCLEAN-STATE_VECTOR"]
        assert isinstance(state, Series)
        assert (state.samples & State.CLEANED == State.CLEANED).all()
        for name in versions:
            version = read[name]
            assert isinstance(version, Series)
            assert set(version.samples) == {1}
