"""The preparation of a site's data for a network: resampling, bandpass and scaling of the engine.

Witnesses are resampled to the model rate. The target is the strain at that rate, confined to the
coupling's bands. Both use the filters of the engine. Their support is finite, so a stretch prepared
in pieces has the same samples as a stretch prepared whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64, Series
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.bandpass import Bandpass
from deepclean.core.filters.resample import Resampler
from deepclean.core.time import NS, Span, index_at
from deepclean.errors import InputError
from deepclean.models.tensors import Scalers
from deepclean.train.data import SiteData, pieces

Float32 = NDArray[np.float32]

_VANISHING = 1e30
"""Standard deviation by which any channel's samples are divided to nothing, in single precision."""

_STILL = 1e-12
"""Standard deviation over mean below which a channel holds only rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingStretch:
    """A gap-free stretch at the model rate.

    Args:
        span: whole GPS seconds.
        witnesses: standardised witnesses, shape `(channels, n)`.
        target: bandpassed and standardised strain, shape `(n,)`.
    """

    span: Span
    witnesses: Float32
    target: Float32


class Preparer:
    """Prepares a coupling's data for training.

    Args:
        site: the data.
        settings: the engine's rates and resampling.
        bandpass: the coupling's bandpass.
    """

    def __init__(self, site: SiteData, settings: EngineSettings, bandpass: Bandpass) -> None:
        self._site, self._bandpass = site, bandpass
        self._rate = settings.model_rate
        resample = settings.resample
        self._resamplers = {
            rate: Resampler(
                rate,
                self._rate,
                zeros=resample.zeros,
                max_delay=resample.max_delay,
                attenuation=resample.attenuation,
            )
            for rate in {site.rates[name] for name in site.witnesses}
        }
        self._decimator = Resampler(
            site.rates[site.strain],
            self._rate,
            zeros=settings.interpolation_zeros,
            max_delay=1,
            attenuation=settings.interpolation_attenuation,
        )
        reach = self._decimator.half_length + Fraction(bandpass.settle_in, self._rate)
        halves = [reach, *(resampler.half_length for resampler in self._resamplers.values())]
        self.margin = NS * ceil(max(halves))
        """Nanoseconds at each end of a stretch that the filters need as margin."""

    def prepare(
        self,
        spans: Sequence[Span],
        scalers: Scalers | None = None,
        progress: Callable[[Span], None] | None = None,
    ) -> tuple[list[TrainingStretch], Scalers]:
        """Return the stretches of data inside `spans`, each shorter by its two margins.

        Args:
            spans: whole GPS seconds of fit data.
            scalers: mean and standard deviation that standardise; None for those of these data.
            progress: told of each finished piece.

        Raises:
            InputError: no span is longer than its margins, or the data are no longer fit.
        """
        inner = [
            Span(span.start + self.margin, span.end - self.margin)
            for span in spans
            if span.duration > 2 * self.margin
        ]
        if not inner:
            raise InputError(f"no stretch of data is longer than {2 * self.margin // NS} s")
        origin = self._piece(next(pieces(inner[0])))[0].mean(axis=1)
        raw = [self._stretch(span, origin, progress) for span in inner]
        if scalers is None:
            scalers = self.without_unusable(_scalers(raw, origin))
        return [
            TrainingStretch(span, *_standardise(witnesses, target, scalers, origin))
            for span, (witnesses, target) in zip(inner, raw, strict=True)
        ], scalers

    def without_unusable(self, scalers: Scalers) -> Scalers:
        """Return scalers by which a witness that no model could learn from vanishes.

        It is zeros in training. Should it come back to life, weights that no data determined must
        not make noise of it.
        """
        unusable = [name in self._site.unusable for name in self._site.witnesses]
        return replace(scalers, witness_std=np.where(unusable, _VANISHING, scalers.witness_std))

    def _stretch(
        self, span: Span, origin: Float64, progress: Callable[[Span], None] | None
    ) -> tuple[Float32, Float64]:
        """Return witnesses minus `origin`, which float32 resolves, and the target of a span."""
        first, stop = span.indices(self._rate)
        witnesses = np.empty((len(origin), stop - first), dtype=np.float32)
        target = np.empty(stop - first)
        for piece in pieces(span):
            low, high = (index - first for index in piece.indices(self._rate))
            rows, target[low:high] = self._piece(piece)
            witnesses[:, low:high] = rows - origin[:, None]
            if progress is not None:
                progress(piece)
        return witnesses, target

    def _piece(self, span: Span) -> tuple[Float64, Float64]:
        """Return resampled witnesses, `(channels, n)`, and bandpassed strain, `(n,)`."""
        rows, strain = self.read(span, self._bandpass.settle_in)
        return rows, self._bandpass.apply(strain)

    def read(self, span: Span, pad: int = 0) -> tuple[Float64, Float64]:
        """Return witnesses and strain at the model rate, before the bandpass.

        Args:
            span: whole GPS seconds of fit data with `margin` on either side.
            pad: samples of strain to give beyond the span at each end.

        Returns:
            Shape `(channels, n)` and `(n + 2 pad,)`.

        Raises:
            InputError: the data is no longer fit.
        """
        block = self._site.read(Span(span.start - self.margin, span.end + self.margin))
        if block is None:
            raise InputError(f"the data over {span} changed while it was read")
        first, stop = span.indices(self._rate)
        rows = np.empty((len(self._site.witnesses), stop - first))
        for row, name in zip(rows, self._site.witnesses, strict=True):
            series = block.witnesses[name]
            assert isinstance(series, Series)
            row[:] = _resampled(self._resamplers[series.rate], series, first, stop - first)
        assert isinstance(block.strain, Series)
        return rows, _resampled(self._decimator, block.strain, first - pad, stop - first + 2 * pad)


def _resampled(resampler: Resampler, series: Series, first: int, count: int) -> Float64:
    """Return `count` samples from `first` at the resampler's target rate."""
    low, high = resampler.needs(first, count)
    begin = index_at(series.span.start, series.rate)
    inputs = np.asarray(series.samples[low - begin : high - begin], dtype=np.float64)
    outputs = resampler.apply(inputs[None], first, count)
    return np.asarray(outputs[0], dtype=np.float64)


def _scalers(raw: Sequence[tuple[Float32, Float64]], origin: Float64) -> Scalers:
    """Return the mean and standard deviation of all the data."""
    count = sum(len(target) for _, target in raw)
    mean = sum(w.sum(axis=1, dtype=np.float64) for w, _ in raw) / count
    square = sum(np.square(w - mean[:, None], dtype=np.float64).sum(axis=1) for w, _ in raw)
    target = np.concatenate([target for _, target in raw])
    std = np.sqrt(square / count)
    return Scalers(
        witness_mean=origin + mean,
        # Scaling would turn the rounding of a constant channel into noise.
        witness_std=np.where(std > _STILL * np.abs(origin + mean), std, 1.0),
        strain_mean=float(target.mean()),
        strain_std=float(target.std()) or 1.0,
    )


def _standardise(
    witnesses: Float32, target: Float64, scalers: Scalers, origin: Float64
) -> tuple[Float32, Float32]:
    """Return both standardised. `witnesses` is given minus `origin` and is changed in place."""
    witnesses -= (scalers.witness_mean - origin)[:, None].astype(np.float32)
    witnesses /= scalers.witness_std[:, None].astype(np.float32)
    return witnesses, ((target - scalers.strain_mean) / scalers.strain_std).astype(np.float32)
