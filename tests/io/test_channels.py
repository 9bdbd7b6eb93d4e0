"""What frame files and HDF5 files share."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core.block import Series
from deepclean.core.time import Span
from deepclean.io.channels import OutputChannel, absent_channels, whole_rate


@given(st.integers(1, 65536))
def test_a_spacing_means_its_rate(rate: int) -> None:
    assert whole_rate(1 / rate) == rate
    assert whole_rate(float(np.float32(1 / rate))) == rate


@pytest.mark.parametrize("spacing", [0.0, -0.5, 2.0, 0.3, 1 / 16.001, 5e-324, np.inf, np.nan])
def test_a_spacing_that_is_no_whole_rate_is_refused(spacing: float) -> None:
    with pytest.raises(ValueError, match="whole number of samples per second"):
        whole_rate(spacing)


def test_a_masked_array_is_refused() -> None:
    samples = np.ma.MaskedArray(np.zeros(16), mask=np.arange(16) == 3)
    with pytest.raises(ValueError, match="masked"):
        OutputChannel(Series(Span.of_seconds(0, 1), 16, samples))


def test_every_absent_channel_is_named_with_what_was_meant() -> None:
    fault = absent_channels({"H1:STRAINN", "K1:0"}, ["H1:STRAIN", "L1:X"], Path("a.gwf"))
    assert fault.channels == ("H1:STRAINN", "K1:0")
    assert str(fault) == "a.gwf: no such channel: H1:STRAINN (did you mean H1:STRAIN?), K1:0"
