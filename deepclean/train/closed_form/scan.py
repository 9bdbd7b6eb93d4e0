"""What a feature could still explain: correlation with the residual, judged by its scatter.

The correlation of a feature with the fit's gradient (bank.Bank.gradient) is taken in blocks of
time. Where the feature belongs, the blocks agree in phase; where it does not, their sum is a random
walk. The statistic

    x = |sum c_b|^2 (n - 1) / (n sum |c_b - mean|^2)

exceeds t by chance with probability (1 + t/(n-1))^-(n-1): an F distribution with 2 and 2 (n-1)
degrees of freedom. Nothing about the residual's spectrum is assumed. A line of another grid at
nearly our frequency agrees from second to second but not from block to block, and a glitch is one
block; neither is taken for a coupling.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.train.closed_form.bank import Bank, band_power
from deepclean.train.closed_form.layout import BandLayout
from deepclean.train.closed_form.robust import LEVERAGE, robust_weights
from deepclean.train.closed_form.streams import Complex, Feature, Float32

_LONGEST_BLOCK, _SHORTEST_BLOCK = 16, 2
"""Seconds of a block."""

_BLOCKS = 64
"""As many are aimed at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How a feature correlates with the residual.

    Args:
        feature: which.
        statistic: `x` above, at the best lag.
        lag: the best lag, internal samples.
        chance: probability of such a statistic at the best of as many lags, if there is nothing.
    """

    feature: Feature
    statistic: float
    lag: int
    chance: float


def scan(
    bank: Bank,
    features: Sequence[Feature],
    weighted: Complex,
    reach: tuple[int, int],
    known: Mapping[Feature, tuple[int, int]] | None = None,
) -> list[Finding]:
    """Return what each feature could explain at its best lag.

    Args:
        bank: of the features.
        features: the candidates.
        weighted: `V R` of the fit with the segments' weights in it, `(bins, segments)`.
        reach: lags searched, internal samples, `(before, after)`.
        known: for some features, lags between which is not searched.
    """
    layout = bank.layout
    step = layout.analytic_step
    lags = np.arange(-(reach[0] // step), reach[1] // step + 1)
    near = np.abs(lags * step) <= layout.spacing
    transforms = [_transform(sequence) for sequence in bank.gradient(weighted)]
    findings = []
    for feature in features:
        total = sum(
            _correlation(signal, transform, lags)
            for signal, transform in zip(bank.signals(feature), transforms, strict=True)
        )
        size = np.abs(total)
        if known is not None and feature in known:
            low, high = known[feature]
            size[(lags * step >= low) & (lags * step <= high)] = 0.0
        best = Finding(feature, 0.0, 0, 1.0)
        # Most couplings are nearly without delay: the lags near 0 are a guess of their own.
        for tried in (near, ~near):
            if not size[tried].any():
                continue
            lag = int(lags[tried][np.argmax(size[tried])]) * step
            parts = _in_blocks(bank, feature, lag, weighted)
            trials = 2 * _independent(layout, int(tried.sum()) * step)
            statistic, chance = _judge(parts[:, None], trials)
            if chance[0] <= best.chance:
                best = Finding(feature, float(statistic[0]), lag, float(chance[0]))
        findings.append(best)
    return findings


def scan_products(
    bank: Bank,
    left: Sequence[Float32],
    right: Sequence[Float32],
    gradient: Sequence[Complex],
    lags: Sequence[int],
    carrier: Sequence[Float32] | None = None,
) -> tuple[Float64, Float64]:
    """Return statistics of all products of two sets of streams: matrix products over blocks.

    The blocks' ends are tapered, the tapers of neighbours adding up to 1: cut off abruptly, a
    strong line times the floor beside it would not average away.

    Args:
        bank: for its stretches and layout.
        left: rows of one side in each stretch, `(rows, n)`, internal rate.
        right: of the other.
        gradient: `raised_gradient` for each stretch.
        lags: internal samples.
        carrier: a further factor for each stretch.

    Returns:
        Statistic at the best lag and its probability by chance, each `(left rows, right rows)`.
    """
    layout = bank.layout
    blocks = [_tapers(bank, rows.shape[1]) for rows in left]
    counted = _leverage(left, blocks)[:, :, None] * _leverage(right, blocks)[:, None, :]
    best = np.zeros((len(left[0]), len(right[0])))
    least = np.ones(best.shape)
    trials = _independent(layout, max(lags) - min(lags))
    for lag in lags:
        parts = []
        for number, (a, b, whole) in enumerate(zip(left, right, gradient, strict=True)):
            late = np.roll(whole, lag).astype(np.complex64)
            if carrier is not None:
                late = late * carrier[number]
            for cut, taper in blocks[number]:
                part = late[cut] * taper
                rows = np.stack([part.real, part.imag])[:, None] * a[:, cut]
                real, imaginary = rows @ b[:, cut].T
                parts.append(real + 1j * imaginary)
        every = np.asarray(np.stack(parts) * counted, dtype=np.complex128)
        statistic, chance = _judge(every.reshape(len(parts), -1), trials)
        statistic, chance = statistic.reshape(best.shape), chance.reshape(best.shape)
        better = statistic > best
        best[better], least[better] = statistic[better], chance[better]
    return best, least


def raised_gradient(bank: Bank, weighted: Complex) -> list[Complex]:
    """Return the gradient at the internal rate: what a real signal there is correlated with.

    Args:
        bank: of the data.
        weighted: `V R` of the fit with the segments' weights in it, `(bins, segments)`.
    """
    layout = bank.layout
    half = len(layout.analytic) // 2
    raised = []
    for sequence, stretch in zip(bank.gradient(weighted), bank.stretches, strict=True):
        length = stretch.wide.shape[1]
        long = scipy.signal.upfirdn(layout.analytic, sequence, up=layout.analytic_step)
        part = long[half : half + length]
        raised.append(np.pad(part, (0, length - len(part))))
    return raised


def _in_blocks(bank: Bank, feature: Feature, lag: int, weighted: Complex) -> Complex:
    """Return the correlation at a lag by block; a segment with a glitch in the feature counts less.

    It is taken by segment and bin: in time, a strong line times the floor beside it would not
    average away within a block.
    """
    columns = bank.columns(feature, [lag])[:, 0]
    parts = np.sum(columns.conj() * weighted, axis=0)
    parts = parts * robust_weights(band_power(columns, bank.layout.value), LEVERAGE)
    edges = range(0, max(len(parts) - _block(bank) // 2, 1), _block(bank))
    return np.asarray(np.add.reduceat(parts, edges), dtype=np.complex128)


def _block(bank: Bank) -> int:
    """Return the length of a block in seconds, which is as many segments."""
    return min(max(bank.segments // _BLOCKS, _SHORTEST_BLOCK), _LONGEST_BLOCK)


def _tapers(bank: Bank, length: int) -> list[tuple[slice, Float32]]:
    """Return the blocks of a stretch at the internal rate, and their tapers, which add up to 1."""
    rate = bank.layout.internal_rate
    half, block = rate // 2, _block(bank) * rate
    rise = np.sin(np.pi / 2 * (np.arange(2 * half) + 0.5) / (2 * half)) ** 2
    edges = [*range(0, max(length - block // 2, 1), block), length]
    made = []
    for begin, end in itertools.pairwise(edges):
        first, stop = max(begin - half, 0), min(end + half, length)
        taper = np.ones(stop - first, dtype=np.float32)
        if begin > 0:
            taper[: 2 * half] *= rise
        if end < length:
            taper[-2 * half :] *= rise[::-1]
        made.append((slice(first, stop), taper))
    return made


def _leverage(
    rows: Sequence[Float32], blocks: Sequence[Sequence[tuple[slice, Float32]]]
) -> Float64:
    """Return the weight of each row in each block, `(blocks, rows)`: less where it has a glitch."""
    powers = [
        np.einsum("rn,rn->r", part[:, cut], part[:, cut])
        for part, cuts in zip(rows, blocks, strict=True)
        for cut, _ in cuts
    ]
    return np.stack([robust_weights(row, LEVERAGE) for row in np.array(powers).T], axis=1)


def _judge(parts: Complex, trials: float) -> tuple[Float64, Float64]:
    """Return statistic and probability of the columns of `(blocks, columns)`."""
    count = len(parts)
    total = parts.sum(axis=0, dtype=np.complex128)
    scatter = np.sum(np.abs(parts - total / count) ** 2, axis=0)
    power = np.abs(total) ** 2 * (count - 1) / count
    statistic = np.divide(power, scatter, out=np.zeros_like(power), where=scatter > 0)
    single = np.exp(-(count - 1) * np.log1p(statistic / (count - 1)))
    chance = -np.expm1(trials * np.log1p(-np.minimum(single, 1 - 1e-9)))
    return statistic, chance


def _independent(layout: BandLayout, lags: int) -> float:
    """Return how many independent correlations lie in a range of lags, in internal samples.

    A band of width B holds B T of them, and the highest of a smooth curve is about twice as often
    above a high level as that of as many samples. Each bin of a segment is half a hertz.
    """
    return max(1.0, lags / layout.internal_rate * float(layout.value.sum()))


def _transform(sequence: Complex) -> tuple[Complex, int]:
    size = scipy.fft.next_fast_len(2 * len(sequence))
    return scipy.fft.fft(sequence.astype(np.complex64), size), size


def _correlation(
    signal: NDArray[np.complex64], transform: tuple[Complex, int], lags: NDArray[np.int64]
) -> Complex:
    """Return `sum_t conj(z(t + l)) g(t)` at the lags, analytic samples."""
    spectrum, size = transform
    both = scipy.fft.ifft(spectrum * scipy.fft.fft(signal, size).conj())
    return np.asarray(both[(-lags) % size])
