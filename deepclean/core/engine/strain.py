"""The raw strain of the last seconds, and its spectra, from which gains are learnt.

Every GPS second begins a transform of two seconds (core.adapt.spectra). All versions of all
couplings read the same transform, so it is computed once, when the first of them asks.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.spectra import SECONDS, transform
from deepclean.core.block import Block, Gap
from deepclean.core.engine.state import StrainState
from deepclean.core.nonfinite import finite
from deepclean.core.state_vector import not_ready
from deepclean.core.time import NS


class StrainSpectra:
    """Keeps the strain of a stream and transforms it.

    Args:
        rate: the strain's rate, Hz.
        highest: the highest bin of a transform that anybody reads.
    """

    def __init__(self, rate: int, highest: int) -> None:
        self._rate = rate
        self._bins = np.arange(highest + 1)

    def push(self, state: StrainState, block: Block) -> None:
        """Take the strain of the next block, and the stretches in which it says nothing."""
        span = block.span
        if isinstance(block.strain, Gap):
            state.unfit.add(span.start, span.end)
            return
        first, _ = span.indices(self._rate)
        samples, bad = finite(np.asarray(block.strain.samples, dtype=np.float64))
        for low, high in bad:
            start, last = ((first + index) * NS // self._rate for index in (low, high - 1))
            state.unfit.add(start, last + 1)
        for start, end in not_ready(block):
            state.unfit.add(start, end)
        state.samples.append(first, samples[None])

    def of_second(self, state: StrainState, second: int) -> Complex | None:
        """Return the transform that begins at a GPS second, shape `(highest + 1,)`.

        None where any of its samples is missing, not finite or not ready for analysis. The stream
        holds its samples: the second lies after the last `trim` and its end before the frontier.
        """
        if second not in state.spectra:
            state.spectra[second] = self._transform(state, second)
        return state.spectra[second]

    def trim(self, state: StrainState, second: int) -> None:
        """Drop what no transform needs that begins at or after a GPS second."""
        state.samples.drop_before(second * self._rate)
        state.unfit.drop_before(second * NS)
        for old in [one for one in state.spectra if one < second]:
            del state.spectra[old]

    def _transform(self, state: StrainState, second: int) -> Complex | None:
        if state.unfit.overlapping(second * NS, (second + SECONDS) * NS):
            return None
        samples = state.samples.read(second * self._rate, (second + SECONDS) * self._rate)
        return transform(samples[0], self._rate, self._bins)


def strain_spectra(rate: int, highest: Iterable[int]) -> StrainSpectra | None:
    """Return what keeps the strain's spectra; None where nobody reads them.

    Args:
        rate: the strain's rate, Hz.
        highest: the highest bin that each reader reads.
    """
    bins = list(highest)
    return StrainSpectra(rate, max(bins)) if bins else None
