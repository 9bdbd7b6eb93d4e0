"""From witnesses and strain to streams and features.

A stretch is reduced once: the witnesses to their two streams at the internal rate, the strain to
its analytic signal in the bands. Features are products of streams, made when they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.models.closed_form import CLIP
from deepclean.train.closed_form.layout import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    SEGMENT_SECONDS,
    BandLayout,
)

Float32 = NDArray[np.float32]
Complex = NDArray[np.complex128]

Factor = tuple[int, str, int]
"""A channel's number, the stream (`wide` or `slow`), and internal samples by which it is later; or
the number of a base, `power`, and the degree of its Hermite polynomial."""

Feature = tuple[Factor, ...]
"""A product of streams and polynomials of bases."""

_OUTPUTS = 64
"""Samples that one matrix product makes."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A weighted sum of features at lags, whose polynomials are features again.

    Args:
        members: features and their lags in internal samples.
        weights: one a member.
        scale: standard deviation of the sum.
    """

    members: tuple[tuple[Feature, int], ...]
    weights: Float64
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """A gap-free stretch at the internal and the analytic rate.

    Args:
        wide: standardised witnesses behind the wide low-pass, `(channels, n)`, internal rate.
        slow: the same behind the slow low-pass.
        strain: analytic signal of the strain in the bands, analytic rate.
        starts: analytic samples at which its segments begin: one a second, where all lags have
            data that no end of the stretch has spoilt.
        bases: values of the bases by number, in units of their scales, clipped.
    """

    wide: Float32
    slow: Float32
    strain: Complex
    starts: NDArray[np.int64]
    bases: dict[int, Float32] = field(default_factory=dict)


def make_streams(witnesses: Float32, strain: Float64, layout: BandLayout) -> Streams:
    """Return the streams of a stretch.

    Args:
        witnesses: standardised, `(channels, n)`, at the model rate.
        strain: `(n,)`, divided by its scale; `n` is whole seconds.
        layout: of the model.
    """
    step = layout.decimation
    seconds = len(strain) // layout.rate
    signal = analytic(lowered(strain[None], layout.strain, step), layout, 0)[0]
    first, stop = BEFORE_SECONDS, seconds - AFTER_SECONDS - SEGMENT_SECONDS
    return Streams(
        wide=lowered(witnesses, layout.wide, step),
        slow=lowered(witnesses, layout.slow, step),
        strain=signal,
        starts=np.arange(first, max(stop, first - 1) + 1) * layout.analytic_rate,
    )


def product(streams: Streams, feature: Feature) -> Float32:
    """Return a feature at the internal rate, `(n,)`."""
    result: Float32 | None = None
    for number, name, parameter in feature:
        if name == "power":
            row = hermite(streams.bases[number], parameter)
        else:
            row = (streams.wide if name == "wide" else streams.slow)[number]
            row = np.roll(row, parameter) if parameter else row
        result = row if result is None else result * row
    assert result is not None
    return result


def base_values(streams: Streams, base: Base, clip: float | None = CLIP) -> Float32:
    """Return a base in units of its scale, clipped, `(n,)`."""
    total = np.zeros(streams.wide.shape[1])
    made: dict[Feature, Float32] = {}
    for (feature, lag), weight in zip(base.members, base.weights, strict=True):
        if feature not in made:
            made[feature] = product(streams, feature)
        # Only the ends differ from a shift, and no segment reaches there.
        total += weight * np.roll(made[feature], -lag)
    values = total / base.scale
    return (values if clip is None else np.clip(values, -clip, clip)).astype(np.float32)


def hermite(values: Float32, degree: int) -> Float32:
    """Return the Hermite polynomial of a degree: `H_2 = x^2 - 1`, `H_3 = x^3 - 3 x`, and so on.

    They are orthogonal for a Gaussian argument of unit variance, so each degree's share can be
    judged by itself: `H_(k+1) = x H_k - k H_(k-1)`.
    """
    before, now = np.ones_like(values), values
    for order in range(1, degree):
        before, now = now, values * now - order * before
    return now


def lowered(rows: NDArray[Any], taps: NDArray[Any], step: int, offset: int = 0) -> NDArray[Any]:
    """Return every `step`-th sample of the rows behind symmetric taps, from `offset` on.

    Zeros stand beyond the ends. The precision is that of the rows.
    """
    half, count = len(taps) // 2, rows.shape[-1] // step
    blocks = -(-count // _OUTPUTS)
    length = (_OUTPUTS - 1) * step + len(taps)
    places = np.arange(length)[:, None] - step * np.arange(_OUTPUTS)
    inside = (places >= 0) & (places < len(taps))
    matrix = np.where(inside, taps[np.clip(places, 0, len(taps) - 1)], 0)
    parts = [matrix.real, matrix.imag] if np.iscomplexobj(matrix) else [matrix]
    stacked = np.concatenate(parts, axis=1).astype(rows.dtype)
    result = np.empty((len(rows), blocks, stacked.shape[1]), dtype=rows.dtype)
    padded = np.zeros((blocks - 1) * _OUTPUTS * step + length, dtype=rows.dtype)
    low = half - offset
    for row, made in zip(rows, result, strict=True):
        taken = row[max(0, -low) :][: len(padded) - max(low, 0)]
        padded[:] = 0
        padded[max(low, 0) : max(low, 0) + len(taken)] = taken
        frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: _OUTPUTS * step]
        np.matmul(np.ascontiguousarray(frames), stacked, out=made)
    if np.iscomplexobj(matrix):
        result = result[..., :_OUTPUTS] + 1j * result[..., _OUTPUTS:]
    return result.reshape(len(rows), blocks * _OUTPUTS)[:, :count]


def analytic(rows: NDArray[Any], layout: BandLayout, offset: int) -> NDArray[Any]:
    """Return the analytic signals in the bands of rows at the internal rate.

    Args:
        rows: `(rows, n)`.
        layout: of the model.
        offset: internal samples by which the rows are taken ahead.
    """
    # Correlating with the conjugate is convolving: the taps are conjugate-symmetric.
    return lowered(rows, layout.analytic.conj(), layout.analytic_step, offset)
