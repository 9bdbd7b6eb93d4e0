"""A network on top of a closed form: kept where it finds what that leaves, dropped elsewhere."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

from deepclean.core.block import Block
from deepclean.core.time import Span
from deepclean.factory import make_engine
from deepclean.models.architectures.hybrid import Hybrid
from deepclean.models.closed_form import ClosedForm
from deepclean.models.files import load
from deepclean.models.networks import build, measure
from deepclean.train import train
from deepclean.train.judging.objection import objection
from tests.helpers.training_site import (
    FLOOR,
    LINE,
    MOTION,
    RATES,
    START,
    STRAIN,
    channels,
    toy_config,
    toy_data,
)

SECONDS = 300

BILINEAR = "training.architecture_options={hidden: [8], classes: []}"
"""The closed form is denied the powers by which it would find a saturation itself."""


@cache
def made(strength: float) -> dict[str, np.ndarray]:
    """Return the toy's channels with sidebands by a saturating motion."""
    rate = RATES[STRAIN]
    time = np.arange(SECONDS * rate) / rate
    toy = channels(SECONDS)
    motion = signal.resample_poly(toy[MOTION].astype("f8"), rate, RATES[MOTION])
    late = np.cos(2 * np.pi * 30 * time - 0.5)
    saturated = np.tanh(strength * motion) / strength if strength else motion
    return toy | {STRAIN: toy["floor"] + FLOOR * late * (6 + 12 * saturated)}


def manifest(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return read


def fitted(place: Path, architecture: str, strength: float, *overrides: str) -> Path:
    config = toy_config(
        place, f"training.architecture={architecture}", "training.epochs=8", *overrides
    )
    return train(config, "30Hz", toy_data(SECONDS, replaced=made(strength)))


EDGE = "couplings.30Hz.predict.edge=0.0625"


@pytest.fixture(scope="module")
def saturated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saturated")
    return fitted(place, "hybrid", 2.0, BILINEAR, "training.batch_size=2", EDGE)


@pytest.mark.slow
def test_a_network_finds_the_saturation_that_the_closed_form_leaves(saturated: Path) -> None:
    facts, model = manifest(saturated), load(saturated)
    figures = facts["validation"]
    assert facts["architecture"]["name"] == "hybrid"
    assert isinstance(model.network, Hybrid)
    assert figures["network_gain_sigma"] > 5
    assert 1 <= figures["epoch"] <= 8
    assert figures["asd_ratio"] < figures["held_out_ratio"] - 0.01
    assert objection(figures) == ""
    # The look-ahead is the coupling's: the network's inputs are late by what would be too much.
    assert model.network.delay > 0
    assert model.reach.after <= model.edge
    assert facts["receptive_field"] == list(model.reach)
    assert model.reach.before > model.reach.after


@pytest.mark.slow
def test_a_network_that_adds_nothing_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "closed").mkdir()
    path = fitted(tmp_path, "hybrid", 0.0, "training.epochs=2")
    assert "the closed form is kept by itself" in caplog.text
    closed = fitted(tmp_path / "closed", "closed_form", 0.0)
    facts = manifest(path)
    assert facts["architecture"] == manifest(closed)["architecture"]
    assert facts["validation"]["network_gain_sigma"] <= 3
    assert facts["validation"]["epoch"] == 0
    pair = (load(path).network.state_dict(), load(closed).network.state_dict())
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[1])


CLOSED: dict[str, Any] = {
    "decimation": 4,
    "features": [[[0, "wide", 0]], [[0, "wide", 0], [1, "slow", 0]]],
    "taps": [[-2, 1], [-1, 0]],
    "halves": {"wide": 3, "slow": 9, "out": 8},
}


def random_hybrid(**options: Any) -> Hybrid:
    torch.manual_seed(3)
    made = build({"name": "hybrid", "closed_form": CLOSED, "hidden": [4], **options}, 2)
    assert isinstance(made, Hybrid)
    for name in ("wide", "slow", "out", "weights"):
        getattr(made.closed_form, name).normal_()
    return made.eval()


def test_an_untrained_hybrid_is_its_closed_form() -> None:
    made, witnesses = random_hybrid(), torch.randn(2, 2, 1024)
    assert isinstance(made.closed_form, ClosedForm)
    assert torch.equal(made(witnesses), made.closed_form(witnesses))


def test_its_closed_form_is_not_trained() -> None:
    names = [name for name, _ in random_hybrid().named_parameters()]
    assert names
    assert all(name.startswith("network.") for name in names)


@pytest.mark.parametrize("delay", [0, 5, 12, 40])
def test_its_reach_is_stated_and_held(delay: int) -> None:
    made = random_hybrid(delay=delay)
    torch.nn.init.normal_(made.network.last.weight)
    seen = measure(made, 2, 1024)
    assert seen.period == 8
    assert tuple(seen.reach) == (made.before, made.after)
    assert made.after == max(made.closed_form.after, 17 + (12 - delay) * 4)
    assert made.before >= made.closed_form.before + (12 + delay) * 4


def test_what_lies_beyond_its_reach_does_not_matter() -> None:
    made = random_hybrid(delay=3)
    torch.nn.init.normal_(made.network.last.weight)
    made, at = made.double(), 2048
    one = torch.randn(1, 2, 4096, dtype=torch.float64)
    for low, high in ((at + made.after + 1, 4096), (0, at - made.before)):
        other = one.clone()
        other[..., low:high] += 1
        assert torch.allclose(made(one)[0, at], made(other)[0, at], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_engine_runs_it_however_the_stream_is_cut(saturated: Path, tmp_path: Path) -> None:
    config, model = toy_config(tmp_path, EDGE), load(saturated)
    assert isinstance(model.network, Hybrid)
    source = toy_data(SECONDS, replaced=made(2.0)).strain
    cleaned = []
    for length in (1, 5):
        engine, parts = make_engine(config, {"30Hz": model}), []
        for second in range(START + 200, START + 230, length):
            read = source.read([STRAIN, LINE, MOTION], Span.of_seconds(second, length))
            witnesses = {name: read[name] for name in (LINE, MOTION)}
            block = Block(Span.of_seconds(second, length), read[STRAIN], witnesses)
            parts += [b.products.production for b in engine.push(block) if b.products]
        cleaned.append(np.concatenate(parts))
    count = min(map(len, cleaned))
    assert count > 20 * RATES[STRAIN]
    assert np.array_equal(cleaned[0][:count], cleaned[1][:count])
