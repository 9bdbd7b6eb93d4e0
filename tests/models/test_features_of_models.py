"""`adapt: features`: which models give their estimates in parts, and the history it needs."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from deepclean.core.adapt.settings import FEATURES
from deepclean.core.time import NS
from deepclean.factory import make_coupling, make_engine
from deepclean.models.budget import budget
from deepclean.models.loading import load_models
from tests.helpers import small_site as site
from tests.helpers.closed_form_site import publish_closed_form

ADAPT = "couplings.60Hz.adapt=features"
MODES = ("gain", "features")


def test_a_closed_form_gives_a_part_for_each_feature(tmp_path: Path) -> None:
    config = site.small_config(tmp_path, ADAPT)
    publish_closed_form(config)
    loaded = load_models(config)["60Hz"]
    made = make_coupling(config, "60Hz", loaded).predictor
    assert made.parts == 3
    inputs = torch.randn(1, 3, 512, generator=torch.Generator().manual_seed(0))
    parts, whole = made.network(inputs), loaded.predict(inputs)
    assert parts.shape == (1, 3, 512)
    assert torch.allclose(parts.sum(dim=1), whole, atol=1e-6 * float(whole.abs().max()))
    # Without a witness the others' parts are those of the filter that is solved for without it.
    assert made.reduced is not None
    network = made.reduced.without(frozenset({1}))
    assert network is not None
    left = network(inputs)
    assert left.shape == parts.shape
    assert not left[:, 1].any()
    assert left[:, 0].any()


@pytest.mark.parametrize(
    ("closed", "override", "said"),
    [
        (False, "couplings.60Hz.predict.mode=auto", "version 1 is no closed form"),
        (True, "couplings.60Hz.predict.mode=windows", "is predicted by windows and not in one"),
    ],
)
def test_other_models_have_the_fast_gains_and_say_so(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    closed: bool,
    override: str,
    said: str,
) -> None:
    config = site.small_config(tmp_path, ADAPT, override)
    if closed:
        publish_closed_form(config)
    else:
        site.publish_model(config)
    with caplog.at_level(logging.WARNING):
        engine = make_engine(config, load_models(config))
    assert said in caplog.text
    # A closed form may take over from it, so the history is the same.
    assert engine.history == budget(config).plan.history


def test_the_history_grows_by_their_memory(tmp_path: Path) -> None:
    gain, features = (site.small_config(tmp_path, f"couplings.60Hz.adapt={a}") for a in MODES)
    publish_closed_form(gain)
    grown = budget(features).plan.history - budget(gain).plan.history
    assert grown == FEATURES.memory * NS
    for config in (gain, features):
        plan = budget(config).plan
        engine = make_engine(config, load_models(config))
        assert (plan.history, plan.lookahead) == (engine.history, engine.lookahead)


def test_a_filter_longer_than_the_guard_lengthens_it(tmp_path: Path) -> None:
    config = site.small_config(tmp_path, ADAPT, "couplings.60Hz.bandpass.settle_in=1.5")
    publish_closed_form(config)
    made = make_coupling(config, "60Hz", load_models(config)["60Hz"])
    assert made.adapt is not None
    assert made.adapt.features is not None
    assert made.adapt.features.guard == 2
    assert np.isfinite(make_engine(config, load_models(config)).history)
