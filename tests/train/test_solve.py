"""A closed form trained on a site's data, published, loaded and run by the engine; and refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from deepclean.config import Config
from deepclean.core.block import Block, CleanedBlock
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, DeepCleanError, ModelError
from deepclean.factory import make_engine
from deepclean.models.files import load
from deepclean.train import train
from deepclean.train.judging.objection import objection
from tests.helpers.training_site import (
    FLOOR,
    LINE,
    MOTION,
    RATES,
    START,
    STRAIN,
    toy_config,
    toy_data,
    wandering,
)

SECONDS = 300
CLOSED = "training.architecture=closed_form"


def made() -> dict[str, np.ndarray]:
    return wandering(SECONDS)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return toy_config(tmp_path_factory.mktemp("closed"), CLOSED)


@pytest.fixture(scope="module")
def version(config: Config) -> Path:
    return train(config, "30Hz", toy_data(SECONDS, replaced=made()))


def test_a_closed_form_is_a_version_like_any_other(version: Path) -> None:
    model, facts = load(version), json.loads((version / "manifest.json").read_text())
    assert facts["architecture"]["name"] == "closed_form"
    figures = facts["validation"]
    assert objection(figures) == ""
    assert figures["parameters"] < 60
    assert figures["asd_ratio"] < 0.6
    assert model.reach.after <= model.edge


def test_it_cleans_to_the_floor_through_the_engine(config: Config, version: Path) -> None:
    engine = make_engine(config, {"30Hz": load(version)})
    source = toy_data(SECONDS, replaced=made()).strain
    blocks: list[CleanedBlock] = []
    for second in range(START + 200, START + SECONDS):
        span = Span(second * NS, (second + 1) * NS)
        read = source.read([STRAIN, LINE, MOTION], span)
        witnesses = {name: read[name] for name in (LINE, MOTION)}
        blocks += engine.push(Block(span, read[STRAIN], witnesses))
    full = [b for b in blocks if b.products and (b.estimates["30Hz"].ungated().gain == 1).all()]
    assert len(full) > 60
    first, rate = full[0].span.start // NS - START, RATES[STRAIN]
    cleaned = np.concatenate([b.products.production for b in full if b.products])
    floor = made()["floor"][first * rate : first * rate + len(cleaned)]
    error = np.abs(np.fft.rfft((cleaned - floor) / FLOOR)) ** 2
    truth = np.abs(np.fft.rfft(floor / FLOOR)) ** 2
    band = slice(*(int(edge * len(cleaned) / rate) for edge in (25, 35)))
    assert np.sqrt(1 + error[band].mean() / truth[band].mean()) < 1.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{carrier: [LINE]}", "no such option; did you mean carriers?"),
        (f"{{carriers: [{MOTION}X]}}", "architecture_options.carriers: no "),
        ("{classes: [cubes]}", "architecture_options.classes: no cubes"),
        ("{ridge: -1}", "-1 is not a positive number"),
        ("{slow: 3}", "3 is not a list"),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path: Path, options: str, message: str) -> None:
    chosen = f"training.architecture_options={options}"
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        train(toy_config(tmp_path, CLOSED, chosen), "30Hz", toy_data(100))


def test_a_short_edge_limits_how_far_it_looks_ahead(config: Config, tmp_path: Path) -> None:
    """Where the lags of no delay need more, the model has its own edge, and the engine runs it."""
    short = toy_config(tmp_path, CLOSED, "couplings.30Hz.predict.edge=0.03125")
    path = train(short, "30Hz", toy_data(SECONDS, replaced=made()))
    model = load(path)
    assert 8 < model.reach.after == model.edge == model.ahead < 64
    engine = make_engine(short, {"30Hz": model})
    assert engine.lookahead < make_engine(config, {"30Hz": model}).lookahead
    assert json.loads((path / "manifest.json").read_text())["validation"]["asd_ratio"] < 0.6


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("pass", r"couplings.30Hz.predict.edge: 0.03125 s is less than what a closed form for"),
        ("windows", r"couplings.30Hz.predict.edge: .* give at least 0\.\d+, or"),
    ],
)
def test_an_edge_that_is_too_short_for_a_named_mode_is_said(
    tmp_path: Path, mode: str, message: str
) -> None:
    edge, kind = "couplings.30Hz.predict.edge=0.03125", f"couplings.30Hz.predict.mode={mode}"
    with pytest.raises(ConfigError, match=message):
        train(toy_config(tmp_path, CLOSED, edge, kind), "30Hz", toy_data(SECONDS, replaced=made()))


def test_a_mode_that_is_not_a_pass_is_refused(tmp_path: Path) -> None:
    config = toy_config(tmp_path, CLOSED, "couplings.30Hz.predict.mode=windows")
    with pytest.raises(ConfigError, match=r"predict\.mode: a closed form runs in one pass"):
        train(config, "30Hz", toy_data(SECONDS, replaced=made()))


def test_what_is_named_is_what_it_is_made_of(tmp_path: Path) -> None:
    options = f"training.architecture_options={{carriers: ['{LINE}'], slow: [], classes: []}}"
    data = toy_data(SECONDS, replaced=made())
    path = train(toy_config(tmp_path, CLOSED, options), "30Hz", data)
    features = json.loads((path / "manifest.json").read_text())["architecture"]["features"]
    assert all(len(feature) == 1 for feature in features)  # no product


def test_witnesses_that_tell_nothing_give_no_model(tmp_path: Path) -> None:
    data = toy_data(SECONDS, line=0.0, product=0.0)
    with pytest.raises(ModelError, match="no feature of the witnesses predicts the strain"):
        train(toy_config(tmp_path, CLOSED), "30Hz", data)
    assert not (tmp_path / "models" / "H1" / "30Hz" / "1").exists()


def test_too_little_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeepCleanError, match="at least 32 s are needed") as caught:
        train(toy_config(tmp_path, CLOSED), "30Hz", toy_data(40))
    (needed,) = re.findall(r"Give at least (\d+) s without a gap", str(caught.value))
    with pytest.raises(DeepCleanError, match="31 s of data"):
        train(toy_config(tmp_path, CLOSED), "30Hz", toy_data(int(needed) - 1))
    train(toy_config(tmp_path, CLOSED), "30Hz", toy_data(int(needed)))


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"asd_ratio": 0.7, "gain_sigma": 40.0}, ""),
        ({"asd_ratio": 0.999, "gain_sigma": 2.9, "seconds": 64.0}, "chance: ASD ratio 0.9990"),
        ({"asd_ratio": 1.3, "gain_sigma": -12.0}, "-12.0 standard errors where 3 are needed"),
        ({"asd_ratio": 1.0}, "does not beat no cleaning"),
        ({}, "its output is not finite"),
    ],
)
def test_a_useless_model_is_told_apart(figures: dict[str, float], why: str) -> None:
    assert why in objection(figures)
    assert bool(objection(figures)) == bool(why)
