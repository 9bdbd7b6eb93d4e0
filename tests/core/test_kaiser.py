"""The Kaiser window's shape is scipy's, to the bit."""

import numpy as np
from scipy import signal

from deepclean.core.resample import kaiser_beta


def test_beta_is_that_of_scipy() -> None:
    attenuations = [*np.linspace(0.0, 120.0, 1201).tolist(), 21.0, 50.0]
    assert [kaiser_beta(a) for a in attenuations] == [signal.kaiser_beta(a) for a in attenuations]
