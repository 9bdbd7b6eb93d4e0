from pathlib import Path

import numpy as np
import pytest
import torch

from deepclean.config.settings import engine_settings
from deepclean.core.engine.coupling import Coupling
from deepclean.core.predict import Network, Predictor
from deepclean.core.reach import Reach
from deepclean.core.spectra import band_ratio
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import coupling_bandpass
from deepclean.train.data import SiteData
from deepclean.train.judging.evaluate import engine_validation
from deepclean.train.judging.heldout import HeldOut, longest_parts
from deepclean.train.judging.meter import ValidationFigures
from tests.helpers.settings import predict_settings
from tests.helpers.training_site import (
    FLOOR,
    LINE,
    START,
    STATE,
    STRAIN,
    channels,
    toy_config,
    toy_data,
)

BANDS = ((25.0, 35.0),)


def judged(
    place: Path, network: Network, spans: list[Span], *, keep: bool = True
) -> ValidationFigures:
    """Judge a network over the toy's line alone, which it sees at unit amplitude."""
    config = toy_config(place)
    predictor = Predictor(
        network=network,
        witness_mean=np.array([50.0]),
        witness_std=np.array([1.0]),
        strain_mean=0.0,
        strain_std=6 * FLOOR,
        reach=Reach.both(32),
        period=1,
    )
    settings, bandpass = engine_settings(config), coupling_bandpass(config, "30Hz")
    layout = predict_settings(kernel=256, edge=32)
    coupling = Coupling("30Hz", (LINE,), predictor, layout, bandpass, BANDS)
    site = SiteData(toy_data(200, product=0.0), STRAIN, (LINE,), STATE)
    return engine_validation(settings, coupling, 16.0, HeldOut(site, spans, keep=keep))


def late(witnesses: torch.Tensor) -> torch.Tensor:
    """Return the toy's true coupling: the line, half a radian late."""
    # 30 Hz at 256 Hz: cos(x - a) from its neighbours, 2 cos(x) cos(w) = cos(x - w) + cos(x + w).
    step = 2 * np.pi * 30 / 256
    x = witnesses[:, 0]
    sine = (torch.roll(x, 1, 1) - torch.roll(x, -1, 1)) / (2 * np.sin(step))
    noise: torch.Tensor = np.cos(0.5) * x + np.sin(0.5) * sine
    return noise


def nothing(witnesses: torch.Tensor) -> torch.Tensor:
    return 0 * witnesses[:, 0]


SPANS = [Span.of_seconds(START + 10, 70), Span.of_seconds(START + 100, 90)]


def test_predicting_nothing_leaves_the_raw_strain(tmp_path: Path) -> None:
    figures = judged(tmp_path, nothing, SPANS)
    assert figures.asd_ratio == 1
    assert figures.worst_outside == 1


def test_the_true_coupling_leaves_the_floor(tmp_path: Path) -> None:
    figures = judged(tmp_path, late, SPANS)
    made = channels(200, product=0.0)
    part = slice(100 * 512, 190 * 512)
    floor = band_ratio(made["floor"][part], made[STRAIN][part], 512, BANDS)
    assert floor < 0.95
    # Two stretches against one, and the rest of the line that its witness's noise leaves.
    assert figures.asd_ratio == pytest.approx(floor, abs=0.01)
    assert figures.worst_outside == pytest.approx(1, abs=0.01)


def test_only_what_is_cleaned_at_full_gain_counts(tmp_path: Path) -> None:
    figures = judged(tmp_path, nothing, SPANS)
    assert 150 <= figures.seconds < 160


def test_kept_and_streamed_blocks_give_the_same_figures(tmp_path: Path) -> None:
    kept = judged(tmp_path, late, SPANS, keep=True)
    assert judged(tmp_path, late, SPANS, keep=False) == kept


def test_a_network_that_breaks_is_worse_than_any(tmp_path: Path) -> None:
    calls: list[int] = []

    def breaking(witnesses: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        good = nothing(witnesses)
        return good + torch.nan if len(calls) == 30 else good

    assert judged(tmp_path, breaking, SPANS).asd_ratio == float("inf")


def test_too_little_held_out_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no held-out stretch leaves 4 s.*validation_fraction"):
        judged(tmp_path, nothing, [Span.of_seconds(START, 5)])


def test_the_longest_parts_come_first() -> None:
    spans = [Span.of_seconds(0, 5), Span.of_seconds(10, 40), Span.of_seconds(60, 20)]
    assert longest_parts(spans, 50 * NS) == [Span.of_seconds(10, 40), Span.of_seconds(60, 10)]
    assert longest_parts(spans, 100 * NS) == [spans[1], spans[2], spans[0]]
