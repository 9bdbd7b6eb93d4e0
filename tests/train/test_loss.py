import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from deepclean.errors import ConfigError
from deepclean.train.loss import InBandPower, Log1p, build_loss

RATE, BANDS = 256, ((25.0, 35.0), (60.0, 62.5))


def noise(seed: int, batch: int = 2, seconds: int = 8) -> torch.Tensor:
    return torch.randn(batch, seconds * RATE, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(fft=st.sampled_from([0.5, 1.0, 2.0, 4.0]), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_the_power_is_welchs(fft: float, overlap: float) -> None:
    samples = noise(0)
    ours = InBandPower(BANDS, RATE, fft, overlap)(samples).numpy()
    length = int(fft * RATE)
    frequencies, theirs = signal.welch(
        samples.numpy(), RATE, "hann", length, round(length * overlap), detrend=False
    )
    inside = np.any([(frequencies >= low) & (frequencies <= high) for low, high in BANDS], axis=0)
    scale = ours / theirs[:, inside]
    assert np.allclose(scale, scale.mean(), rtol=1e-4)


def test_predicting_nothing_everything_and_half() -> None:
    target = noise(1)
    for name, nothing, half in (("asd_ratio", 1, 0.5), ("log_asd_ratio", 0, np.log(0.5))):
        loss = build_loss(name, {}, BANDS, RATE)
        assert float(loss(0 * target, target)) == pytest.approx(nothing, abs=1e-6)
        assert float(loss(target / 2, target)) == pytest.approx(half, abs=1e-5)
        assert float(loss(0.999 * target, target)) < float(loss(0.9 * target, target))
    assert float(build_loss("mse", {}, BANDS, RATE)(target / 2, target)) == pytest.approx(
        float(target.square().mean()) / 4
    )


@pytest.mark.parametrize("name", ["log1p", "asd_ratio", "log_asd_ratio"])
def test_what_lies_outside_the_bands_does_not_count(name: str) -> None:
    target = noise(2)
    time = torch.arange(target.shape[1]) / RATE
    loss = build_loss(name, {}, BANDS, RATE)
    outside = loss(100 * torch.cos(2 * torch.pi * 90 * time).expand_as(target), target)
    inside = loss(100 * torch.cos(2 * torch.pi * 30 * time).expand_as(target), target)
    assert float(outside) == pytest.approx(float(loss(0 * target, target)), abs=1e-2)
    assert float(inside) > float(outside) + 0.5


def relative(target: torch.Tensor, floor: torch.Tensor) -> Log1p:
    """Return log1p, relative to what is under a line."""
    loss = build_loss("log1p", {}, BANDS, RATE)
    assert isinstance(loss, Log1p)
    loss.reference = loss.power(floor).mean(dim=0)
    return loss


def test_log1p_is_relative_to_the_reference() -> None:
    floor = noise(7, seconds=64)
    loss = relative(floor, floor)
    assert float(loss(0 * floor, floor)) == pytest.approx(np.log(2), abs=0.01)
    assert float(loss(floor, floor)) == 0
    # Quadratic near the reference, logarithmic far above it.
    assert float(loss(-0.1 * floor, 0 * floor)) == pytest.approx(0.01, rel=0.05)
    far = [float(loss(-scale * floor, 0 * floor)) for scale in (100.0, 1000.0)]
    assert far[1] - far[0] == pytest.approx(np.log(100), rel=1e-3)


def test_log1p_rewards_a_step_towards_a_line_that_the_published_loss_forbids() -> None:
    """The step of an untrained network spills into the bins beside the line: no noise is there."""
    time = torch.arange(64 * RATE) / RATE
    floor, line = noise(8, batch=1, seconds=64), 2 * torch.cos(2 * torch.pi * 30 * time)[None]
    wander = torch.sin(2 * torch.pi * 1.3 * time + torch.sin(2 * torch.pi * 0.21 * time))
    target, step = floor + line, 0.5 * line * (1 + 0.3 * wander)
    losses = (relative(target, floor), build_loss("asd_ratio", {}, BANDS, RATE))
    gains = [float(loss(0 * step, target) - loss(step, target)) for loss in losses]
    assert gains[1] < -0.02 < 0.04 < gains[0]


def test_the_logarithm_pulls_harder_at_a_strong_line_s_remainder() -> None:
    time = torch.arange(8 * RATE) / RATE
    line = 30 * torch.cos(2 * torch.pi * 30 * time)[None]
    target = noise(3, batch=1) + line
    pulls = []
    for name in ("asd_ratio", "log_asd_ratio"):
        scale = torch.tensor(0.9, requires_grad=True)
        build_loss(name, {}, BANDS, RATE)(scale * line, target).backward()
        assert scale.grad is not None
        pulls.append(-float(scale.grad))
    assert 0 < 3 * pulls[0] < pulls[1]


@pytest.mark.parametrize("name", ["log1p", "asd_ratio", "log_asd_ratio", "mse"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    loss = build_loss(name, {"fft_length": 1} if name != "mse" else {}, BANDS, RATE).double()
    target = noise(4, seconds=2).double()
    prediction = (0.3 * noise(5, seconds=2).double()).requires_grad_()
    way = noise(6, seconds=2).double()
    loss(prediction, target).backward()
    assert prediction.grad is not None
    step = 1e-6
    with torch.no_grad():
        change = loss(prediction + step * way, target) - loss(prediction - step * way, target)
    assert float((prediction.grad * way).sum()) == pytest.approx(float(change) / (2 * step), 1e-4)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("asd_ration", {}, "training.loss: unknown 'asd_ration'; did you mean asd_ratio?"),
        ("asd_ratio", {"fft_lenght": 2}, "did you mean fft_length?"),
        ("mse", {"fft_length": 2}, "training.loss_options: unknown 'fft_length'"),
        ("asd_ratio", {"fft_length": "2"}, "'2' is not a number"),
        ("asd_ratio", {"fft_length": 0}, "a length of 0 s"),
        ("asd_ratio", {"overlap": 1}, "with overlap 1"),
        ("asd_ratio", {"fft_length": 0.02}, "no bin of a 0.02 s transform"),
    ],
)
def test_an_unsuitable_loss_is_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_loss(name, options, BANDS, RATE)
    assert said in str(caught.value)
    assert len(caught.value.faults) == 1
