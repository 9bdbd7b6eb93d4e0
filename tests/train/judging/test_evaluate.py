"""Models over held-out data: what is measured, what counts, and what the gate does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.engine.coupling import Coupling
from deepclean.core.predict import Network, Predictor
from deepclean.core.reach import Reach
from deepclean.core.spectra import band_ratio
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models.budget import coupling_bandpass
from deepclean.train.data import SiteData
from deepclean.train.judging.evaluate import (
    Evaluation,
    engine_validation,
    evaluate,
    figures_against,
)
from deepclean.train.judging.heldout import HeldOut, longest_parts
from deepclean.train.judging.meter import ValidationFigures, significance
from deepclean.train.judging.objection import gate_in_words, objection
from tests.helpers.settings import predict_settings
from tests.helpers.training_site import (
    FLOOR,
    GATES,
    LINE,
    START,
    STATE,
    STRAIN,
    channels,
    toy_config,
    toy_data,
)

BANDS = ((25.0, 35.0),)


def coupling_of(config: Config, network: Network) -> Coupling:
    """Return the toy's coupling with a network that sees the line at unit amplitude."""
    predictor = Predictor(
        network=network,
        witness_mean=np.array([50.0]),
        witness_std=np.array([1.0]),
        strain_mean=0.0,
        strain_std=6 * FLOOR,
        reach=Reach.both(32),
        period=1,
    )
    layout = predict_settings(kernel=256, edge=32)
    bandpass = coupling_bandpass(config, "30Hz")
    return Coupling("30Hz", (LINE,), predictor, layout, bandpass, BANDS)


def judged(
    place: Path,
    network: Network,
    spans: list[Span],
    *,
    keep: bool = True,
    replaced: Mapping[str, np.ndarray] | None = None,
) -> ValidationFigures:
    """Judge a network over the toy's line alone."""
    config = toy_config(place)
    site = SiteData(toy_data(200, product=0.0, replaced=replaced), STRAIN, (LINE,), STATE)
    held_out = HeldOut(site, spans, keep=keep)
    return engine_validation(engine_settings(config), coupling_of(config, network), 16.0, held_out)


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


def test_a_frozen_witness_costs_its_part_and_no_more(tmp_path: Path) -> None:
    line = channels(200, product=0.0)[LINE].copy()
    line[120 * 256 : 130 * 256] = line[120 * 256]
    figures = judged(tmp_path, late, SPANS, replaced={LINE: line})
    whole = judged(tmp_path, late, SPANS)
    assert whole.seconds - 16 < figures.seconds < whole.seconds - 9
    assert figures.asd_ratio == pytest.approx(whole.asd_ratio, abs=0.02)
    assert figures.worst_outside == pytest.approx(1, abs=0.01)


def gated(place: Path, networks: dict[str, Network], spans: list[Span]) -> dict[str, Evaluation]:
    """Judge networks with the gates of the toy, with what was trained on before the spans."""
    config = toy_config(place, *GATES)
    couplings = {name: coupling_of(config, network) for name, network in networks.items()}
    site = SiteData(toy_data(200, product=0.0), STRAIN, (LINE,), STATE)
    around = [Span.of_seconds(START, 100)]
    held_out = HeldOut(site, spans, keep=False, around=around)
    return evaluate(engine_settings(config), couplings, 16.0, held_out)


def test_the_gate_is_judged_from_the_first_second_on(tmp_path: Path) -> None:
    spans = [Span.of_seconds(START + 100, 50)]
    networks = {"good": late, "wrong": lambda x: -late(x)}
    found = gated(tmp_path, networks, spans)
    good, wrong = found["good"].figures, found["wrong"].figures
    # The stretch before fills the history. Nothing is there for the look-ahead of the last second.
    assert good.gate is not None
    assert wrong.gate is not None
    assert good.gate.seconds == good.seconds == 49
    assert good.gate.open == 1
    assert wrong.gate.open == 0
    assert sum(wrong.gate.closed.values()) == pytest.approx(49)
    assert wrong.out_dq_ratio == 1
    assert wrong.asd_ratio > 1
    assert objection(good.numbers()) == ""
    assert objection(wrong.numbers()).startswith("it does not beat no cleaning beyond chance")


def test_a_gate_that_cannot_be_judged_is_no_objection(tmp_path: Path) -> None:
    found = gated(tmp_path, {"good": late}, [Span.of_seconds(START + 150, 12)])
    gate = found["good"].figures.gate
    assert gate is not None
    assert gate.seconds == 0
    numbers = found["good"].figures.numbers()
    assert objection(numbers) == ""
    assert gate_in_words(numbers).startswith("not judged: no held-out stretch is longer")


def test_models_are_paired_by_segment(tmp_path: Path) -> None:
    networks = {"good": late, "half": lambda x: 0.5 * late(x), "nearly": lambda x: 0.98 * late(x)}
    found = gated(tmp_path, networks, [Span.of_seconds(START + 100, 90)])
    good = found["good"].meter
    assert good.significance_over(good) == 0
    over = good.significance_over(found["half"].meter)
    assert over > 5
    assert found["half"].meter.significance_over(good) == pytest.approx(-over)
    # A gain of a thousandth, which the ratio of two spectra does not show.
    assert found["good"].cost > 0
    frequency, before, after = good.spectra()
    at = np.argmin(np.abs(frequency - 30))
    assert after[at] < 0.5 * before[at]
    assert figures_against(found, "good", "half", 7)["production_version"] == 7


def test_few_gains_say_little_of_their_scatter() -> None:
    rng = np.random.default_rng(0)
    chance = [significance(rng.standard_normal(5)) for _ in range(5000)]
    # One in 741 exceeds three standard errors, however few the gains are.
    assert 1 <= np.sum(np.array(chance) > 3) <= 18


def test_too_little_held_out_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no held-out stretch leaves 4 s.*validation_fraction"):
        judged(tmp_path, nothing, [Span.of_seconds(START, 5)])


def test_the_longest_parts_come_first() -> None:
    spans = [Span.of_seconds(0, 5), Span.of_seconds(10, 40), Span.of_seconds(60, 20)]
    assert longest_parts(spans, 50 * NS) == [Span.of_seconds(10, 40), Span.of_seconds(60, 10)]
    assert longest_parts(spans, 100 * NS) == [spans[1], spans[2], spans[0]]
