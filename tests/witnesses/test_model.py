"""What a model makes of its witnesses: gradient and ablation, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor, nn

from deepclean import factory
from deepclean.config import Config
from deepclean.config import settings as core_settings
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models import files as models
from deepclean.models.budget import coupling_bandpass
from deepclean.models.model import Model
from deepclean.train.data import SiteData, TrainingData
from deepclean.train.prepare import TrainingStretch
from deepclean.witnesses import saliency
from tests.helpers import training_site
from tests.helpers.training_site import LINE, MOTION, START, STATE, STRAIN, toy_data

BANDS = [(25.0, 35.0)]


class Multiplied(nn.Module):
    """Gives the product of its first two witnesses and ignores a third."""

    def forward(self, witnesses: Tensor) -> Tensor:
        return witnesses[:, 0] * witnesses[:, 1]


class Silent(nn.Module):
    """Gives nothing."""

    def forward(self, witnesses: Tensor) -> Tensor:
        return 0 * witnesses.sum(dim=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return training_site.make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def model(config: Config) -> Model:
    """A Wiener filter of a line; the motion is of no use to it."""
    return models.load(config.models.directory / "H1" / "30Hz" / "1")


def ask(config: Config, model: Model, data: TrainingData) -> saliency.Attribution:
    site = SiteData(data, STRAIN, model.channels, STATE)
    bandpass = coupling_bandpass(config, "30Hz")
    return saliency.attribute(model, site, core_settings.engine_settings(config), bandpass, BANDS)


def line_only(seconds: int = training_site.SECONDS) -> TrainingData:
    return toy_data(seconds, product=training_site.LINE_ONLY)


def drawn(channels: int, samples: int, seed: int = 3) -> TrainingStretch:
    """Return a stretch of standardised noise."""
    values = np.random.default_rng(seed).standard_normal((channels, samples)).astype("f4")
    return TrainingStretch(Span(0, samples * NS // 256), values, values[0])


def test_a_linear_model_of_a_line_rests_on_the_line_alone(config: Config, model: Model) -> None:
    asked = ask(config, model, line_only())
    assert model.channels == (LINE, MOTION)
    line, motion = asked.worths[LINE], asked.worths[MOTION]
    assert line.saliency > 0.9
    assert line.saliency + motion.saliency == pytest.approx(1)
    assert asked.asd_ratio < 0.9
    assert line.without == pytest.approx(1, abs=0.02)
    assert motion.without == pytest.approx(asked.asd_ratio, abs=0.01)
    assert (asked.version, asked.seconds) == (1, training_site.SECONDS - 4)


def test_the_asd_ratio_is_what_the_engine_would_give(config: Config, model: Model) -> None:
    from deepclean.core.engine.coupling import Coupling
    from deepclean.train.judging.evaluate import engine_validation
    from deepclean.train.judging.heldout import HeldOut

    data = line_only()
    site = SiteData(data, STRAIN, model.channels, STATE)
    coupling = Coupling(
        *("30Hz", model.channels, factory.predictor(model)),
        core_settings.predict_settings(config.couplings["30Hz"], 256),
        coupling_bandpass(config, "30Hz"),
        BANDS,
    )
    held_out = HeldOut(site, site.usable(), keep=False)
    seen = engine_validation(core_settings.engine_settings(config), coupling, 16.0, held_out)
    assert ask(config, model, data).asd_ratio == pytest.approx(
        seen.asd_ratio, abs=0.01
    )  # not the same ends


def test_data_is_bounded(config: Config, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "SECONDS", 20)
    assert ask(config, model, line_only()).seconds < 20


def test_gradient_is_the_change_of_the_rms_with_the_input(model: Model) -> None:
    multiplied = replace(model, network=Multiplied(), channels=("A", "B", "C"))
    stretch = drawn(3, model.kernel)
    kept = slice(model.edge, model.kernel - model.edge)
    width = 256 / (model.kernel - 2 * model.edge)
    window = torch.hann_window(model.kernel - 2 * model.edge).double().numpy()

    def rms(witnesses: np.ndarray) -> float:
        estimate = (witnesses[0] * witnesses[1])[kept] * window
        frequencies = np.arange(len(estimate) // 2 + 1) * width
        inside = (frequencies >= 25) & (frequencies <= 35)
        return float(np.sqrt((np.abs(np.fft.rfft(estimate)[inside]) ** 2).sum()))

    start = stretch.witnesses.astype("f8")
    expected = np.zeros((3, model.kernel))
    for channel in range(3):
        for sample in range(model.kernel):
            step = np.zeros_like(start)
            step[channel, sample] = 1e-5
            expected[channel, sample] = (rms(start + step) - rms(start - step)) / 2e-5
    found = saliency.gradient(multiplied, stretch.witnesses[None], BANDS)[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert not found[2].any()
    assert found[0].any()
    assert found[1].any()


def test_saliency_is_the_rms_change_under_other_noise_of_the_witness(model: Model) -> None:
    linear = nn.Conv1d(2, 1, 65, padding=32, bias=False)
    generator = np.random.default_rng(7)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(generator.standard_normal((1, 2, 65)) / 8))

    class Linear(nn.Module):
        def forward(self, witnesses: Tensor) -> Tensor:
            filtered: Tensor = linear(witnesses)
            return filtered[:, 0]

    changed = replace(model, network=Linear())
    coloured = signal.butter(2, (20, 40), btype="band", fs=256, output="sos")
    many = 256 * 64
    white = generator.standard_normal((2, many))
    witnesses = np.stack([signal.sosfilt(coloured, white[0]), 2 * white[1]]).astype("f4")
    stretch = TrainingStretch(Span(0, many * NS // 256), witnesses, witnesses[0])
    found = saliency.saliency(changed, [stretch], BANDS)
    # By hand: what the gradients of many kernels make of noise that they do not know.
    steps = range(0, many - model.kernel, model.kernel)
    kernels = np.stack([witnesses[:, s : s + model.kernel] for s in steps])
    slopes = saliency.gradient(changed, kernels, BANDS)
    other = np.roll(kernels, 7, axis=0)
    changes = (slopes * other).sum(axis=2)
    np.testing.assert_allclose(found, np.sqrt((changes**2).mean(axis=0)), rtol=0.25)


def test_saliency_does_not_depend_on_batches(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplied = replace(model, network=Multiplied())
    long = drawn(2, 256 * 30)
    whole = saliency.saliency(multiplied, [long], BANDS)
    monkeypatch.setattr(saliency, "_BATCH", 3)
    np.testing.assert_allclose(saliency.saliency(multiplied, [long], BANDS), whole, rtol=1e-6)
    assert whole[0] == pytest.approx(whole[1], rel=0.1)


def test_a_silent_model_has_no_saliency(config: Config, model: Model) -> None:
    silent = replace(model, network=Silent(), scalers=replace(model.scalers, strain_mean=0.0))
    asked = ask(config, silent, line_only(60))
    assert [worth.saliency for worth in asked.worths.values()] == [0, 0]
    assert asked.asd_ratio == 1


def test_too_little_data_for_the_model_is_refused(config: Config, model: Model) -> None:
    held = line_only()
    short = TrainingData(held.strain, held.witnesses, Span.of_seconds(START, 7))
    with pytest.raises(InputError, match="leaves 4 s for the model"):
        ask(config, model, short)
