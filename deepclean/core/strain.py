"""The raw strain of the last seconds, and its spectra: gates judge by it, gains are learnt from it.

Every GPS second begins a transform of two seconds. The gate and all versions of all couplings read
the same transform, so it is computed once, when the first of them asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deepclean.core.block import Block, Gap
from deepclean.core.buffer import StreamBuffer
from deepclean.core.gain import InvalidSpans
from deepclean.core.nonfinite import finite
from deepclean.core.output.state_vector import not_ready
from deepclean.core.spectra import FFT_SECONDS, Complex, transform
from deepclean.core.time import NS


@dataclass(slots=True)
class StrainState:
    """The raw strain of the last seconds.

    Args:
        samples: the strain at its own rate, strain units.
        unfit: the spans in which it is missing, not finite or not ready for analysis.
        spectra: the transforms that were asked for, by the GPS second at which each begins; None
            where it is not usable.
    """

    samples: StreamBuffer = field(default_factory=lambda: StreamBuffer(1))
    unfit: InvalidSpans = field(default_factory=InvalidSpans)
    spectra: dict[int, Complex | None] = field(default_factory=dict)


class StrainSpectra:
    """Keeps the strain of a stream and transforms it.

    Args:
        rate: the strain's rate, Hz.
        stop: Hz of the highest bin of a transform that anybody reads.
    """

    def __init__(self, rate: int, stop: float) -> None:
        self.rate, self._stop = rate, stop

    def push(self, state: StrainState, block: Block) -> None:
        """Take the strain of the next block, and the stretches in which it says nothing."""
        span = block.span
        if isinstance(block.strain, Gap):
            state.unfit.add(span.start, span.end)
            return
        first, _ = span.indices(self.rate)
        samples, bad = finite(np.asarray(block.strain.samples, dtype=np.float64))
        for low, high in bad:
            start, last = ((first + index) * NS // self.rate for index in (low, high - 1))
            state.unfit.add(start, last + 1)
        for start, end in not_ready(block):
            state.unfit.add(start, end)
        state.samples.append(first, samples[None])

    def of_second(self, state: StrainState, second: int) -> Complex | None:
        """Return the transform that begins at a GPS second, shape `(bins,)`.

        None where any of its samples is missing, not finite or not ready for analysis. The stream
        holds its samples: the second lies after the last `trim` and its end before the frontier.
        """
        if second not in state.spectra:
            end, duration = (second + FFT_SECONDS) * NS, FFT_SECONDS * NS
            state.spectra[second] = self.before(state, end, duration)
        return state.spectra[second]

    def before(self, state: StrainState, instant: int, duration: int) -> Complex | None:
        """Return the transform of the time before an instant, both in ns; None if not usable."""
        if state.unfit.overlapping(instant - duration, instant):
            return None
        low, high = (time * self.rate // NS for time in (instant - duration, instant))
        return transform(state.samples.view(low, high)[0], self.rate, self._stop)

    def trim(self, state: StrainState, oldest: int) -> None:
        """Drop what no transform needs that begins at or after `oldest` (GPS nanoseconds)."""
        state.samples.drop_before(oldest * self.rate // NS)
        state.unfit.drop_before(oldest)
        for second in [one for one in state.spectra if one * NS < oldest]:
            del state.spectra[second]
