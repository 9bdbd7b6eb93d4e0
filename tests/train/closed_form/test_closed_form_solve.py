from collections.abc import Sequence

import numpy as np
import pytest

from deepclean.core.block import Float64
from deepclean.train.closed_form.solve import solve
from deepclean.train.closed_form.statistics import Complex, Statistics, measure

Values = Sequence[float] | Float64

BINS, SEGMENTS = 20, 400
VALUE = np.ones(BINS)


def statistics(sizes: Values, truth: Values, noise: float, seed: int = 0) -> Statistics:
    """Return those of independent features of some sizes and a strain that has them in it."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Complex:
        both = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        return np.asarray(both / np.sqrt(2), dtype=np.complex128)

    features = normal(BINS, len(sizes), SEGMENTS) * np.array(sizes)[:, None]
    strain = np.einsum("fps,p->fs", features, np.array(truth)) + noise * normal(BINS, SEGMENTS)
    return measure(features, strain, np.ones(SEGMENTS))


def groups(count: int, size: int = 1) -> np.ndarray:
    return np.repeat(np.arange(count), size)


def test_coefficients_come_back_exactly_where_there_is_no_noise() -> None:
    truth = [1.0, -2.0, 3e-3, 5e4]
    sizes = [1.0, 10.0, 1.0, 1e-6]
    made = solve(statistics(sizes, truth, noise=1e-8), VALUE, groups(4))
    assert made.coefficients == pytest.approx(truth, rel=1e-5)


def test_nothing_depends_on_the_scale_of_strain_or_features() -> None:
    sizes, truth = np.array([1.0, 2.0, 0.5]), np.array([1.0, 0.3, 0.0])
    one = solve(statistics(sizes, truth, noise=1.0), VALUE, groups(3))
    other = solve(statistics(sizes * 1e4, truth * 1e-25, noise=1e-21), VALUE, groups(3))
    assert other.coefficients * 1e25 == pytest.approx(one.coefficients, rel=1e-6, abs=1e-9)
    assert other.freedom == pytest.approx(one.freedom, rel=1e-6)
    assert other.residual * 1e42 == pytest.approx(one.residual, rel=1e-6)


def test_the_evidence_drops_what_does_not_belong_and_leaves_a_strong_line_alone() -> None:
    truth = [1000.0, 1.0, *[0.0] * 40]
    made = solve(statistics([1.0] * 42, truth, noise=1.0), VALUE, groups(42))
    # A ridge of a thousandth, the same for all, would take the line's thousandth: one whole unit.
    assert made.coefficients[0] == pytest.approx(1000.0, abs=0.05)
    assert made.freedom[:2] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert np.median(made.freedom[2:]) < 0.2
    plain = solve(statistics([1.0] * 42, truth, noise=1.0), VALUE, groups(42), ridge=1e-9)
    useless = slice(2, None)
    energy = np.sum(made.coefficients[useless] ** 2) / np.sum(plain.coefficients[useless] ** 2)
    assert energy < 0.5


def test_an_estimate_scatters_as_the_ridges_assume() -> None:
    # In units of its own noise the variance is 1 for segments that do not overlap.
    errors = []
    for seed in range(60):
        found = statistics([1.0, 1.0], [0.0, 3.0], noise=1.0, seed=seed)
        made = solve(found, VALUE, groups(2), ridge=1e-9, rounds=2)
        size = np.sqrt(np.tensordot(1 / made.residual, found.gram, 1).diagonal())
        errors += list((made.coefficients - [0.0, 3.0]) * size)
    # Complex residuals of unit power have half of it in each part.
    assert np.var(errors) == pytest.approx(0.5, rel=0.35)


def test_the_residual_of_a_fit_is_that_of_other_data() -> None:
    truth = [0.0] * 100
    made = solve(statistics([1.0] * 100, truth, noise=1.0), VALUE, groups(1, 100), ridge=1e-9)
    # The fit has eaten 100 of 2 x 20 x 400 real numbers; the estimate counts overlapping ones.
    assert made.residual.mean() == pytest.approx(1.0, abs=0.02)


def test_no_parameters_leave_the_strain() -> None:
    found = statistics([1.0], [1.0], noise=1.0)
    made = solve(found.of([]), VALUE, groups(0))
    assert len(made.coefficients) == 0
    assert made.residual == pytest.approx(found.power / SEGMENTS)
