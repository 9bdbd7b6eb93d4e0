from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepclean.config.settings import engine_settings
from deepclean.core.block import Float64
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.geometry import Geometry
from deepclean.core.predict import Predictor
from deepclean.core.reach import Reach
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models.budget import coupling_bandpass
from deepclean.train import TrainingData, data
from deepclean.train.data import SiteData
from deepclean.train.prepare import Preparer, TrainingStretch
from tests.helpers.settings import make_resampler, predict_settings
from tests.helpers.training_site import (
    LINE,
    MOTION,
    START,
    STATE,
    STRAIN,
    channels,
    toy_config,
    toy_data,
)

RATE = 256


def preparer(place: Path, source: TrainingData | None = None) -> Preparer:
    config = toy_config(place)
    site = SiteData(source or toy_data(200), STRAIN, (LINE, MOTION), STATE)
    return Preparer(site, engine_settings(config), coupling_bandpass(config, "30Hz"))


def whole(place: Path, start: int = 0, seconds: int = 200) -> tuple[TrainingStretch, Preparer]:
    made = preparer(place)
    (stretch,), _ = made.prepare([Span.of_seconds(START + start, seconds)])
    return stretch, made


def test_a_stretch_is_standardised_and_loses_its_margins(tmp_path: Path) -> None:
    stretch, made = whole(tmp_path)
    count = stretch.span.samples(RATE)
    assert stretch.span.duration == 200 * NS - 2 * made.margin
    assert made.margin % NS == 0
    assert stretch.witnesses.shape == (2, count)
    assert stretch.witnesses.dtype == stretch.target.dtype == np.float32
    rows = [*stretch.witnesses, stretch.target]
    assert np.allclose([row.mean(dtype=float) for row in rows], 0, atol=1e-5)
    assert np.allclose([row.std(dtype=float) for row in rows], 1, atol=1e-5)


def test_pieces_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, made = whole(tmp_path, seconds=60)
    monkeypatch.setattr(data, "PIECE", 7)
    (stretch,), _ = made.prepare([Span.of_seconds(START, 60)])
    assert np.allclose(stretch.witnesses, reference.witnesses, rtol=0, atol=2e-6)
    assert np.allclose(stretch.target, reference.target, rtol=0, atol=2e-6)


def test_the_target_is_the_strain_through_the_engines_own_filters(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    made = preparer(tmp_path)
    (stretch,), scalers = made.prepare([Span.of_seconds(START, 60)])
    first, stop = stretch.span.indices(RATE)
    bandpass = coupling_bandpass(config, "30Hz")
    pad = bandpass.settle_in
    decimator = make_resampler(512, RATE, zeros=16, max_delay=1)
    low, high = decimator.needs(first - pad, stop - first + 2 * pad)
    inputs = channels(200)[STRAIN][low - START * 512 : high - START * 512]
    slow = decimator.apply(inputs[None], first - pad, stop - first + 2 * pad)[0]
    expected = (bandpass.apply(slow) - scalers.strain_mean) / scalers.strain_std
    assert np.allclose(stretch.target, expected, rtol=0, atol=1e-5)


def test_the_network_sees_in_training_what_it_sees_in_the_engine(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    source = toy_data(200)
    made = preparer(tmp_path, source)
    span = Span.of_seconds(START, 60)
    (stretch,), scalers = made.prepare([span])
    seen: list[np.ndarray] = []

    class Spy(Predictor):
        def predict(self, window: NDArray[np.float32], shape: Geometry) -> Float64:
            seen.append(window[:, shape.before : window.shape[1] - shape.after])
            return super().predict(window, shape)

    spy = Spy(
        network=lambda witnesses: witnesses[:, 0],
        witness_mean=scalers.witness_mean,
        witness_std=scalers.witness_std,
        strain_mean=0.0,
        strain_std=1.0,
        reach=Reach.both(0),
        period=1,
    )
    settings = engine_settings(config)
    bandpass = coupling_bandpass(config, "30Hz")
    engine = Engine(
        replace(settings, gate=None),
        [Coupling("30Hz", (LINE, MOTION), spy, predict_settings(edge=0), bandpass)],
    )
    block = SiteData(source, STRAIN, (LINE, MOTION), STATE).read(span)
    assert block is not None
    engine.push(block)
    stream = np.concatenate(seen, axis=1)
    # The stream's place is its best match; then it must be the same samples, not like ones.
    target = stretch.witnesses[:, 4096:5120]
    matches = [
        start
        for start in range(stream.shape[1] - 1024)
        if np.allclose(stream[:, start : start + 1024], target, rtol=0, atol=2e-5)
    ]
    assert len(matches) == 1


def test_given_scalers_are_used(tmp_path: Path) -> None:
    made = preparer(tmp_path)
    (first,), scalers = made.prepare([Span.of_seconds(START, 60)])
    (second,), same = made.prepare([Span.of_seconds(START, 60)], scalers)
    assert same is scalers
    assert np.allclose(first.witnesses, second.witnesses, rtol=0, atol=1e-6)


def test_a_great_offset_costs_no_precision(tmp_path: Path) -> None:
    made = channels(200)
    moved = {LINE: made[LINE].astype(float) + 1e9}
    near, _ = preparer(tmp_path).prepare([Span.of_seconds(START, 60)])
    far, scalers = preparer(tmp_path, toy_data(200, replaced=moved)).prepare(
        [Span.of_seconds(START, 60)]
    )
    assert scalers.witness_mean[0] == pytest.approx(1e9 + 50, abs=1e-3)
    assert np.allclose(near[0].witnesses, far[0].witnesses, rtol=0, atol=1e-4)


def test_a_channel_that_stands_still_becomes_nothing(tmp_path: Path) -> None:
    still = {MOTION: np.full(200 * 64, 3.0)}
    (stretch,), scalers = preparer(tmp_path, toy_data(200, replaced=still)).prepare(
        [Span.of_seconds(START, 60)]
    )
    assert scalers.witness_mean[1] == pytest.approx(3.0)
    assert np.abs(stretch.witnesses[1]).max() < 1e-6


def test_several_spans_share_their_scalers(tmp_path: Path) -> None:
    spans = [Span.of_seconds(START, 40), Span.of_seconds(START + 50, 70)]
    stretches, _ = preparer(tmp_path).prepare(spans)
    assert [s.span.duration for s in stretches] == [38 * NS, 68 * NS]
    joined = np.concatenate([s.witnesses for s in stretches], axis=1)
    assert np.allclose(joined.std(axis=1, dtype=float), 1, atol=1e-5)


def test_too_short_a_span_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stretch of data is longer than 2 s"):
        preparer(tmp_path).prepare([Span.of_seconds(START, 2)])
