import numpy as np
import pytest

from deepclean.train.closed_form.statistics import Statistics, measure

BINS, PARAMETERS, SEGMENTS = 5, 4, 40


def drawn(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    return normal(BINS, PARAMETERS, SEGMENTS), normal(BINS, SEGMENTS), rng.uniform(0, 1, SEGMENTS)


def same(one: Statistics, other: Statistics) -> None:
    for name in ("gram", "cross", "power", "weight"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12, abs=1e-12)


def test_the_residual_power_is_that_of_the_residual() -> None:
    features, strain, weights = drawn()
    coefficients = np.array([1.0, -2.0, 0.5, 0.0])
    left = strain - np.einsum("fps,p->fs", features, coefficients)
    expected = (np.abs(left) ** 2 * weights).sum(axis=1) / weights.sum()
    made = measure(features, strain, weights).residual(coefficients)
    assert made == pytest.approx(expected, rel=1e-12)


def test_parts_merge_to_the_whole_and_a_part_can_be_left_out_again() -> None:
    features, strain, weights = drawn()
    cuts = [slice(0, 7), slice(7, 25), slice(25, None)]
    parts = [measure(features[..., c], strain[:, c], weights[c]) for c in cuts]
    whole = measure(features, strain, weights)
    same(parts[0] + parts[1] + parts[2], whole)
    same(whole - parts[1], parts[0] + parts[2])


def test_the_statistics_of_some_parameters_are_those_of_their_features() -> None:
    features, strain, weights = drawn()
    some = [3, 1]
    same(measure(features, strain, weights).of(some), measure(features[:, some], strain, weights))
