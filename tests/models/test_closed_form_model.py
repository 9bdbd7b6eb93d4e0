from typing import Any

import numpy as np
import pytest
import torch

from deepclean.errors import ModelError
from deepclean.models.closed.parts import EstimateParts, part_groups
from deepclean.models.closed_form import ClosedForm
from deepclean.models.networks import measure

OPTIONS: dict[str, Any] = {
    "decimation": 4,
    "features": [
        [[0, "wide", 0]],
        [[0, "wide", 0], [1, "slow", 2]],
        [[1, "wide", 0], [1, "wide", 0], [0, "slow", 0]],
        [[0, "power", 3], [0, "wide", 0]],
        [[1, "slow", 0]],
    ],
    "taps": [[-9, 0, 1], [-3], [0, 2], [-1, 0], []],
    "halves": {"wide": 6, "slow": 10, "out": 8},
    "bases": [[[0, -2], [4, 3]]],
}


def network(**changed: Any) -> ClosedForm:
    made = ClosedForm(2, **{**OPTIONS, **changed})
    generator = torch.Generator().manual_seed(0)
    state = {
        name: 0.2 + torch.rand(values.shape, generator=generator)
        for name, values in made.state_dict().items()
    }
    for name in ("wide", "slow"):
        state[name] /= state[name].sum()
    made.load_state_dict(state)
    return made.eval()


def inputs(samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, samples, generator=generator, dtype=torch.float64)


def by_hand(made: ClosedForm, witnesses: np.ndarray) -> np.ndarray:
    """Return the model's output, written down as its docstring has it."""
    state = {name: values.double().numpy() for name, values in made.state_dict().items()}
    step = made.decimation
    low = {
        name: [np.correlate(row, state[name], "same")[::step] for row in witnesses]
        for name in ("wide", "slow")
    }
    count = len(low["wide"][0])

    def later(values: np.ndarray, shift: int) -> np.ndarray:
        moved = np.zeros(count)
        for place in range(count):
            if 0 <= place - shift < count:
                moved[place] = values[place - shift]
        return moved

    base = np.zeros(count)

    def feature(number: int) -> np.ndarray:
        values = np.ones(count)
        for which, name, parameter in OPTIONS["features"][number]:
            if name == "power":
                x = np.clip(base / state["base_scales"][0], -3, 3)
                values = values * (x**3 - 3 * x)
            else:
                values = values * later(low[name][which], parameter)
        return values

    for (number, lag), weight in zip(OPTIONS["bases"][0], state["base_weights"], strict=True):
        base += weight * later(feature(number), -lag)
    total, place = np.zeros(count), 0
    for number, lags in enumerate(OPTIONS["taps"]):
        for lag in lags:
            total += state["weights"][place] * later(feature(number), -lag)
            place += 1
    raised = np.zeros(count * step)
    raised[::step] = total
    return np.convolve(raised, state["out"], "same")


def test_it_computes_what_its_description_says() -> None:
    made = network().double()
    witnesses = inputs(400)
    with torch.inference_mode():
        output = made(witnesses)[0].numpy()
    assert output == pytest.approx(by_hand(made, witnesses[0].numpy()), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"taps": [[-40, -9], [-3], [-5], [-20], []]},
        {"taps": [[0], [30], [0], [0], []]},
        {"decimation": 1},
    ],
    ids=["both", "past", "ahead", "not decimated"],
)
def test_it_looks_exactly_as_far_as_it_states(changed: dict[str, Any]) -> None:
    made = network(**changed).double()
    count = 1024
    witnesses = inputs(count)
    middle = count // 2
    with torch.inference_mode():
        whole = made(witnesses)
        touched = []
        for place in range(middle, middle + 2 * made.decimation):
            moved = witnesses.clone()
            moved[..., place] += 1.0
            different = torch.nonzero((made(moved) - whole)[0].abs() > 1e-12).flatten()
            touched.append((place - int(different.min()), int(different.max()) - place))
    ahead = max(after for after, _ in touched)
    back = max(before for _, before in touched)
    assert (made.before, made.after) == (back, ahead)


def test_windows_agree_with_a_long_pass() -> None:
    made = network()
    seen = measure(made, 2, 512)
    assert seen.period == 4
    assert (seen.reach.before, seen.reach.after) == (made.before, made.after)


def test_the_parts_add_up_to_the_estimate() -> None:
    made = network()
    witnesses = torch.cat([inputs(640, 1), inputs(640, 2)]).float()
    noise = made(witnesses)
    assert part_groups(made, 10) == [0, 1, 2, 3, 0]
    parts = EstimateParts(made, part_groups(made, 10))(witnesses)
    assert parts.shape == (2, 4, 640)
    assert torch.allclose(parts.sum(dim=1), noise, atol=1e-5 * float(noise.std()))
    for number, feature in enumerate(([0], [1], [2], [3])):
        alone = network()
        kept = torch.tensor([index in feature for index, _ in alone.lags])
        alone.load_state_dict({**made.state_dict(), "weights": made.weights * kept})
        assert torch.allclose(parts[:, number], alone(witnesses), atol=1e-5 * float(noise.std()))


def test_small_features_share_a_part_where_there_are_too_many() -> None:
    made, witnesses = network(), inputs(640).float()
    weights = torch.tensor([0.1, 0.1, 0.1, 0.2, 2.0, 0.0, 0.3, 0.1])
    made.load_state_dict({**made.state_dict(), "weights": weights})
    assert part_groups(made, 4) == [0, 1, 2, 3, 0]
    assert part_groups(made, 3) == [2, 2, 0, 1, 0]
    assert part_groups(made, 1) == [0, 0, 0, 0, 0]
    noise = made(witnesses)
    for most in (4, 3, 1):
        parts = EstimateParts(made, part_groups(made, most))(witnesses)
        assert parts.shape == (1, most, 640)
        assert torch.allclose(parts.sum(dim=1), noise, atol=1e-5 * float(noise.std()))


def test_a_batch_is_its_rows() -> None:
    made = network()
    both = torch.cat([inputs(256, 1), inputs(256, 2)]).float()
    with torch.inference_mode():
        assert torch.allclose(made(both)[1], made(both[1:])[0], atol=1e-6)


def test_a_gradient_may_be_had_after_an_inference() -> None:
    made, witnesses = network(), inputs(640).float()
    with torch.inference_mode():
        before = made(witnesses).clone()
    wanted = witnesses.clone().requires_grad_(True)
    noise = made(wanted)
    (slope,) = torch.autograd.grad(noise.square().sum(), wanted)
    assert torch.equal(noise, before)
    assert slope.abs().max() > 0


def test_new_weights_are_used_at_once() -> None:
    made, other = network(), network()
    witnesses = inputs(256).float()
    with torch.inference_mode():
        before = made(witnesses)
        changed = {**other.state_dict(), "wide": torch.arange(13.0)}
        other.load_state_dict(changed)
        made.load_state_dict(other.state_dict())
        assert torch.equal(made(witnesses), other(witnesses))
        assert not torch.allclose(made(witnesses), before)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decimation": 0}, "decimation"),
        ({"halves": {"wide": 6, "slow": 10}}, "halves"),
        ({"halves": {"wide": 6, "slow": 10, "out": 9}}, "multiple of the decimation"),
        ({"taps": [[0]]}, "5 features and 1 lists of taps"),
        ({"taps": [[], [], [], [], []]}, "all empty"),
        ({"features": [*OPTIONS["features"][:4], [[2, "slow", 0]]]}, "2 channels"),
        ({"features": [*OPTIONS["features"][:4], [[0, "fast", 0]]]}, "fast"),
        ({"bases": [[[3, 0]]]}, "without powers"),
        ({"bases": []}, "0 bases"),
    ],
)
def test_options_that_describe_no_model_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ClosedForm(2, **{**OPTIONS, **changed})


def test_samples_that_are_no_whole_internal_ones_are_refused() -> None:
    with pytest.raises(RuntimeError, match="not a multiple of 4"):
        network()(inputs(255).float())
