"""Samples with their transform, for several filters over the same samples."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_Complex = NDArray[np.complex128]


class Transformed:
    """Samples that are transformed once, when the first of several filters asks.

    >>> window = Transformed(np.ones(11))
    >>> window.size, window.spectra[0].shape, window.spectra[1] is None
    (12, (7,), True)

    Args:
        samples: shape `(n,)`; complex where gains have turned them.

    Attributes:
        length: the number of samples.
        size: of the transform.
    """

    def __init__(self, samples: NDArray[Any]) -> None:
        self.samples = samples
        self.length = len(samples)
        self.size = fft.next_fast_len(self.length, real=True)

    @cached_property
    def spectra(self) -> tuple[_Complex, _Complex | None]:
        """The transforms of the real and of the imaginary part; None where there is none."""
        real = fft.rfft(self.samples.real, self.size)
        if not np.iscomplexobj(self.samples):
            return real, None
        return real, fft.rfft(self.samples.imag, self.size)
