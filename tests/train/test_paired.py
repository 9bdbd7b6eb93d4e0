"""Networks judged beside a baseline on the same held-out segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deepclean.config import TrainConfig
from deepclean.core.reach import Reach
from deepclean.core.time import Span
from deepclean.errors import InputError, ModelError
from deepclean.train.checkpoint import Resume
from deepclean.train.loss import InBandPower
from deepclean.train.network import NetworkFit, NetworkTraining
from deepclean.train.paired import PairedValidation, SegmentPowers, usual
from deepclean.train.prepare import TrainingStretch

RATE, BANDS, LINE = 256, ((25.0, 35.0),), 3.0


class Scaled(nn.Module):
    """A share of the first witness, which sees the noise in the target."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, witnesses: Tensor) -> Tensor:
        return self.share * witnesses[:, 0]


def stretch(seed: int, seconds: int) -> TrainingStretch:
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    line = LINE * np.cos(2 * np.pi * 30 * time)
    floor = rng.standard_normal(len(time))
    rows = np.stack([line, floor]).astype(np.float32)
    return TrainingStretch(Span.of_seconds(0, seconds), rows, (line + floor).astype(np.float32))


def powers(*stretches: TrainingStretch, reach: int = 100) -> SegmentPowers:
    power = InBandPower(BANDS, RATE, 2.0, 0.5)
    return SegmentPowers(stretches, power, Reach(reach, 10), RATE, "cpu")


@pytest.fixture(scope="module")
def paired() -> PairedValidation:
    return PairedValidation(powers(stretch(1, 200)), powers(stretch(2, 300)), Scaled(0.99))


def test_every_segment_of_a_stretch_counts_once() -> None:
    one = stretch(3, 101)
    left, output = powers(one).measure(Scaled(1.0))
    # 101 s less the reach in multiples of 64 samples hold as many whole segments of 2 s, 1 s apart.
    assert len(left) == len(output) == (101 * RATE - 128 - 64 - 2 * RATE) // RATE + 1
    whole = InBandPower(BANDS, RATE, 2.0, 0.5).segments(torch.from_numpy(one.witnesses[1:, 128:]))
    assert np.allclose(left, whole[0, : len(left)].numpy(), rtol=1e-3)


def test_glitches_do_not_move_the_usual_power() -> None:
    rng = np.random.default_rng(0)
    power = rng.exponential(2.0, (4000, 3))
    power[:40] *= 1e6
    assert usual(power) == pytest.approx(2.0, rel=0.1)


def test_the_baseline_gains_nothing_and_the_truth_gains(paired: PairedValidation) -> None:
    assert paired.gain(Scaled(0.99)).mean == 0
    assert paired.figures(Scaled(0.99)).score == 0
    assert paired.gain(Scaled(1.0)).significance > 3
    assert paired.gain(Scaled(0.97)).significance < -3
    # A tenth of a percent of the line is not seen in ratios of spectra, but here.
    ratios = [paired.figures(Scaled(share)).asd_ratio for share in (0.99, 1.0)]
    assert abs(ratios[1] - ratios[0]) < 0.01


def test_silence_is_heard_where_the_noise_is(paired: PairedValidation) -> None:
    assert paired.excess > 100
    shares = [paired.figures(Scaled(share)).peak_output for share in (0.0, 0.005, 0.5, 1.0)]
    assert shares == pytest.approx([0, 0.005, 0.5, 1.0], abs=0.01)


def test_an_output_that_is_not_finite_is_worse_than_any(paired: PairedValidation) -> None:
    assert paired.figures(Scaled(float("nan"))).score == float("inf")


def test_a_glitch_in_the_held_out_data_decides_nothing() -> None:
    spoilt = stretch(1, 200)
    spoilt.target[40 * RATE : 40 * RATE + 20] += 1e5
    found = PairedValidation(powers(spoilt), powers(stretch(2, 300)), Scaled(0.99))
    assert found.gain(Scaled(1.0)).significance > 3


def test_too_short_a_stretch_says_so() -> None:
    with pytest.raises(InputError, match=r"longer than the \d\.\d s that"):
        powers(stretch(1, 2))


def descended(place: Path, network: nn.Module, rate: float) -> NetworkFit:
    """Train a network of one weight for three epochs of 149 steps, beside the true coupling."""
    settings = TrainConfig(epochs=3, batch_size=1, window=2.0, learning_rate=rate)
    training = NetworkTraining(
        training=[stretch(2, 300)],
        held_out=[stretch(1, 100)],
        baseline=Scaled(1.0),
        reach=Reach(0, 0),
        bands=BANDS,
        rate=RATE,
        settings=settings,
        window=2 * RATE,
        device="cpu",
    )
    return training.fit(network, Reach(0, 0), Resume(place, "", wanted=False))


def test_a_silent_network_is_stopped_and_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"silent: after 2 epochs its output is 0\.1 %") as caught:
        descended(tmp_path, Scaled(1e-3), 1e-9)
    assert "training.learning_rate" in str(caught.value)


def test_one_that_learns_is_not(tmp_path: Path) -> None:
    network = Scaled(1e-3)
    fit = descended(tmp_path, network, 0.05)
    assert fit.epoch > 0
    assert network.share.item() == pytest.approx(1, abs=0.05)


def test_what_it_began_with_is_a_candidate(tmp_path: Path) -> None:
    network = Scaled(1.0)
    # At such a rate no epoch ends near the truth again, on any processor.
    assert descended(tmp_path, network, 1e3).epoch == 0
    assert network.share.item() == 1.0
