"""The transforms of features at lags, over segments that all features have in common.

Every feature at every lag is *shifted first and then windowed*: the transform of a Hann-windowed
segment of `z(t + l)`, not the phase-shifted transform of the segment of `z(t)`, which differs where
a strong line stands in the segment. At the analytic rate a lag is whole samples and a remainder;
the remainder is made by decimating with another phase, so it is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.train.closed_form.layout import SEGMENT_SECONDS, BandLayout
from deepclean.train.closed_form.streams import (
    Base,
    Complex,
    Feature,
    Streams,
    analytic,
    base_values,
    product,
)

Complex64 = NDArray[np.complex64]


class Bank:
    """The features of some stretches.

    Args:
        layout: of the model.
        stretches: the data.
    """

    def __init__(self, layout: BandLayout, stretches: Sequence[Streams]) -> None:
        self.layout, self.stretches = layout, tuple(stretches)
        self.bases: dict[int, Base] = {}
        self._length = SEGMENT_SECONDS * layout.analytic_rate
        self._window = np.hanning(self._length + 1)[:-1]
        self._kept: dict[tuple[Feature, int], list[Complex64]] = {}
        self._starts = [stretch.starts for stretch in self.stretches]
        self.segments = sum(map(len, self._starts))
        """How many segments all stretches hold."""

    def set_base(self, number: int, base: Base) -> None:
        """Let the polynomials of a base be factors of features."""
        for stretch in self.stretches:
            stretch.bases[number] = base_values(stretch, base)
        self.bases[number] = base

    def strain(self) -> Complex:
        """Return the strain's transforms, `(bins, segments)`."""
        parts = [
            self._transform(stretch.strain, starts)
            for stretch, starts in zip(self.stretches, self._starts, strict=True)
        ]
        return np.asarray(np.concatenate(parts, axis=1), dtype=np.complex128)

    def columns(self, feature: Feature, lags: Sequence[int]) -> Complex64:
        """Return a feature's transforms at each lag, as they stand in the strain.

        Shape `(bins, lags, segments)`; the responses of the filters between are in them.
        """
        made = []
        for lag in lags:
            shift, rest = divmod(lag, self.layout.analytic_step)
            signals = self.signals(feature, rest)
            parts = [
                self._transform(signal, starts + shift)
                for signal, starts in zip(signals, self._starts, strict=True)
            ]
            made.append(np.concatenate(parts, axis=1))
        gain = self.layout.gain.astype(np.float32)[:, None, None]
        return np.asarray(np.stack(made, axis=1) * gain, dtype=np.complex64)

    def signals(self, feature: Feature, offset: int = 0) -> list[Complex64]:
        """Return a feature's analytic signal in each stretch, taken ahead by internal samples."""
        key = (feature, offset)
        if key not in self._kept:
            self._kept[key] = [
                analytic(product(stretch, feature)[None], self.layout, offset)[0]
                for stretch in self.stretches
            ]
        return self._kept[key]

    def keep(self, features: Collection[Feature]) -> None:
        """Forget the signals of all other features."""
        for key in [key for key in self._kept if key[0] not in features]:
            del self._kept[key]

    def gradient(self, weighted: Complex) -> list[Complex]:
        """Return the sequences whose correlation with a feature is the fit's gradient.

        The whitened square `sum_s,f |R - w Z|^2 V` falls fastest along the feature at lag `l` by
        `sum_s,f conj(Z) V R`, where `Z` is the transform of the windowed `z(t + l)`. Put the other
        way round this is `sum_t conj(z(t + l)) g(t)` with `g` the sum of the inverse transforms of
        `V R`, windowed again: one sequence for every feature and every lag.

        Args:
            weighted: `V R` with the segments' weights in it, `(bins, segments)`.

        Returns:
            For each stretch, its sequence at the analytic rate.
        """
        spectrum = np.zeros((self.segments, self._length), dtype=np.complex128)
        spectrum[:, self.layout.places] = (weighted * self.layout.gain[:, None]).T
        frames = self._length * scipy.fft.ifft(spectrum, axis=1) * self._window
        sequences, begin = [], 0
        for stretch, starts in zip(self.stretches, self._starts, strict=True):
            sequence = np.zeros(len(stretch.strain), dtype=np.complex128)
            for start, frame in zip(starts, frames[begin : begin + len(starts)], strict=True):
                sequence[start : start + self._length] += frame
            sequences.append(sequence)
            begin += len(starts)
        return sequences

    def _transform(self, signal: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[Any]:
        if not len(starts):
            return np.zeros((len(self.layout.places), 0), dtype=signal.dtype)
        view = np.lib.stride_tricks.sliding_window_view(signal, self._length)
        frames = view[starts] * self._window.astype(signal.real.dtype)
        return np.asarray(scipy.fft.fft(frames, axis=1)[:, self.layout.places].T)


def band_power(transforms: NDArray[Any], value: Float64) -> Float64:
    """Return each segment's power, bins weighted, of `(bins, segments)` transforms."""
    return np.asarray(value @ (transforms.real**2 + transforms.imag**2), dtype=np.float64)
