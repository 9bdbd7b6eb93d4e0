"""Subtraction, and that nothing subtracted means nothing changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepclean.core.block import Estimate
from deepclean.core.subtract import subtract
from tests.helpers.builders import same_bits

SIGNALLING = np.array([0x7FF0_0000_0000_0001], dtype=np.uint64).view(np.float64)
"""A NaN that any arithmetic would turn into another."""

AWKWARD = np.append(SIGNALLING, [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, 1.5e-21])


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(-1e3, 1e3)),
    hnp.arrays(np.float64, (3, 6), elements=st.floats(-1e3, 1e3)),
    hnp.arrays(np.float64, (3, 6), elements=st.floats(0, 1)),
)
def test_subtracts_the_gained_sum(strain: np.ndarray, noise: np.ndarray, gain: np.ndarray) -> None:
    estimates = [Estimate(n, g, 1) for n, g in zip(noise, gain, strict=True)]
    np.testing.assert_allclose(
        subtract(strain, estimates), strain - (gain * noise).sum(axis=0), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("noise", [1e300, -1e300, -3.0])
def test_zero_gain_changes_no_bit(noise: float) -> None:
    estimate = Estimate(np.full(len(AWKWARD), noise), np.zeros(len(AWKWARD)), 1)
    assert same_bits(subtract(AWKWARD, [estimate, estimate]), AWKWARD)


def test_no_estimates_change_no_bit() -> None:
    assert same_bits(subtract(AWKWARD, []), AWKWARD)


def test_the_strain_is_not_written_to() -> None:
    strain = np.ones(3)
    cleaned = subtract(strain, [Estimate(np.ones(3), np.array([0.0, 0.5, 1.0]), 1)])
    assert cleaned.tolist() == [1.0, 0.5, 0.0]
    assert strain.tolist() == [1.0, 1.0, 1.0]
    assert not np.shares_memory(strain, subtract(strain, []))


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_the_arithmetic_is_float64(dtype: str) -> None:
    strain = np.array([3], dtype=dtype)
    cleaned = subtract(strain, [Estimate(np.array([1e-12]), np.ones(1), 1)])
    assert cleaned.dtype == np.float64
    assert cleaned[0] == 3 - 1e-12
