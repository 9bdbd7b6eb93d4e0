"""Trainings on data with faults: each costs its own part, or is said in one message."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models.files import load
from deepclean.train import TrainingData, train
from deepclean.train.site_checks import least_seconds
from tests.helpers.training_site import (
    LINE,
    MOTION,
    RATES,
    START,
    Toy,
    channels,
    toy_config,
    toy_data,
)

SECONDS = 160
WIENER = ("training.architecture=wiener", "training.architecture_options={taps: 33}")
CLOSED = ("training.architecture=closed_form",)


def frozen(name: str, low: int, high: int) -> dict[str, np.ndarray]:
    """Return a channel that keeps its value between two seconds."""
    samples, rate = channels(SECONDS)[name].copy(), RATES[name]
    samples[low * rate : high * rate] = samples[low * rate]
    return {name: samples}


def figures(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((path / "manifest.json").read_text())["validation"]
    return read


@pytest.mark.parametrize("kind", [WIENER, CLOSED])
def test_a_witness_frozen_in_the_held_out_data_costs_those_seconds(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    data = toy_data(SECONDS, product=0.0, replaced=frozen(MOTION, 140, 146))
    path = train(toy_config(tmp_path, *kind), "30Hz", data)
    found = figures(path)
    assert np.isfinite(list(found.values())).all()
    assert 10 <= found["seconds"] < 0.2 * (SECONDS - 6)
    assert found["asd_ratio"] < 0.95
    assert found["gain_sigma"] > 3


def test_a_witness_frozen_in_most_of_the_data_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = channels(SECONDS, product=0.0)
    data = toy_data(SECONDS, product=0.0, replaced=frozen(MOTION, 20, 150))
    path = train(toy_config(tmp_path, *CLOSED), "30Hz", data)
    assert f"{MOTION} is absent, frozen or clipped in 81 % of the data" in caplog.text
    assert figures(path)["asd_ratio"] < 0.95
    model = load(path)
    assert model.channels == (LINE, MOTION)
    # Should it move again, it adds nothing.
    place = model.channels.index(MOTION)
    moved = made[MOTION].max() * 1e6 - model.scalers.witness_mean[place]
    assert abs(moved / model.scalers.witness_std[place]) < 1e-20


def test_how_much_is_used_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = toy_data(SECONDS, gaps={LINE: range(START + 10, START + 40)})
    span = Span(START * NS, (START + 1000) * NS)
    caplog.set_level(logging.INFO)
    data = TrainingData(source.strain, source.witnesses, span)
    train(toy_config(tmp_path, *WIENER), "30Hz", data)
    assert "30Hz: 130 s of the 1000 s that were asked for are fit for training" in caplog.text


def test_too_little_of_it_is_refused(tmp_path: Path) -> None:
    missing = range(START + 25, START + SECONDS)
    source = toy_data(SECONDS, gaps={LINE: missing, MOTION: missing})
    with pytest.raises(InputError, match=r"25 s of data are fit.* at least 32 s are needed"):
        train(toy_config(tmp_path, *WIENER), "30Hz", source)


def test_the_least_follows_from_parameters_and_bandwidth() -> None:
    assert least_seconds(2, [(25.0, 35.0)]) == 32
    assert least_seconds(100, [(50.0, 55.0), (60.0, 65.0)]) == 100


def test_an_archive_at_another_rate_trains_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = toy_config(tmp_path, *WIENER, "strain.rate=1024")
    path = train(config, "30Hz", toy_data(SECONDS, product=0.0))
    assert "512 Hz in the data, at 1024 Hz in the configuration" in caplog.text
    assert json.loads((path / "manifest.json").read_text())["strain"]["rate"] == 512
    assert figures(path)["asd_ratio"] < 0.95


def test_an_archive_below_the_models_rate_names_the_setting(tmp_path: Path) -> None:
    config = toy_config(tmp_path, *WIENER, "strain.rate=1024", "engine.rate=1024")
    with pytest.raises(InputError, match=r"train with --set engine\.rate=512"):
        train(config, "30Hz", toy_data(SECONDS))


def test_a_witness_that_is_too_slow_is_named_with_the_remedy(tmp_path: Path) -> None:
    config = toy_config(
        tmp_path, *WIENER, "engine.resample.slowest_rate=128", "engine.resample.max_delay=0.25"
    )
    with pytest.raises(
        InputError, match=r"MOTION \(64 Hz\): slower than the 128 Hz of engine"
    ) as e:
        train(config, "30Hz", toy_data(SECONDS))
    assert e.value.channels == (MOTION,)


def test_a_minute_trend_is_told_from_a_misspelt_name(tmp_path: Path) -> None:
    made = {name: samples for name, samples in channels(SECONDS).items() if name != MOTION}
    source = Toy(made, SECONDS)
    with pytest.raises(InputError, match="a trend of less than one sample per second is not read"):
        train(toy_config(tmp_path, *WIENER), "30Hz", TrainingData(source, source))
