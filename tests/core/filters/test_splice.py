"""The splice between two hops: it begins with the difference and ends with nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.filters.splice import Splice, back


@pytest.mark.parametrize("rate", [512, 4096])
@pytest.mark.parametrize("middles", [(60.0,), (11.5, 105.0), (20.0, 60.0, 120.0)])
@given(phase=st.floats(0, 6.28), size=st.floats(1e-23, 1e3))
def test_lines_at_the_middles_are_continued_under_the_weight(
    rate: int, middles: tuple[float, ...], phase: float, size: float
) -> None:
    splice = Splice(middles, rate, rate // 8)
    time = np.arange(1 - back(rate), rate // 8) / rate
    wave = size * np.cos(2 * np.pi * middles[0] * time + phase)
    added = splice.after(wave[: back(rate)])
    expected = splice.weight * wave[back(rate) - 1 :]
    assert added.shape == (rate // 8,)
    # The last sample before the end of the difference is the first that is added to.
    assert np.abs(added - expected).max() < 1e-6 * size


@pytest.mark.parametrize("frequency", [56.0, 60.0, 64.0])
def test_value_and_slope_go_on_anywhere_in_the_band(frequency: float) -> None:
    rate = 4096
    splice = Splice([60.0], rate, rate // 8)
    time = np.arange(1 - back(rate), 8) / rate
    wave = np.sin(2 * np.pi * frequency * time + 0.7)
    added = splice.after(wave[: back(rate)])
    assert np.abs(added[:4] - wave[back(rate) - 1 : back(rate) + 3]).max() < 0.02


def test_weight_falls_from_one_to_nothing() -> None:
    splice = Splice([60.0], 4096, 512)
    assert splice.weight[0] == 1
    assert (np.diff(splice.weight) < 0).all()
    assert 0 < splice.weight[-1] < 1e-4


def test_no_difference_adds_nothing() -> None:
    assert (Splice([60.0, 105.0], 4096, 512).after(np.zeros(back(4096))) == 0).all()
