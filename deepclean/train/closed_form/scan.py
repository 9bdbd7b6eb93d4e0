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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.train.closed_form.bank import Bank
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
    gradient: Sequence[Complex],
    reach: tuple[int, int],
    known: Mapping[Feature, tuple[int, int]] | None = None,
) -> list[Finding]:
    """Return what each feature could explain at its best lag.

    Args:
        bank: of the features.
        features: the candidates.
        gradient: of the fit, for each stretch.
        reach: lags searched, internal samples, `(before, after)`.
        known: for some features, lags between which is not searched.
    """
    layout = bank.layout
    step = layout.analytic_step
    lags = np.arange(-(reach[0] // step), reach[1] // step + 1)
    near = np.abs(lags * step) <= layout.spacing
    transforms = [_transform(sequence) for sequence in gradient]
    blocks = [_blocks(layout, len(sequence), bank.segments) for sequence in gradient]
    findings = []
    for feature in features:
        signals = bank.signals(feature)
        total = sum(
            _correlation(signal, transform, lags)
            for signal, transform in zip(signals, transforms, strict=True)
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
            lag = int(lags[tried][np.argmax(size[tried])])
            parts = _in_blocks(signals, gradient, blocks, lag)
            trials = 2 * _independent(layout, int(tried.sum()) * step)
            statistic, chance = _judge(parts[:, None], trials)
            if chance[0] <= best.chance:
                best = Finding(feature, float(statistic[0]), lag * step, float(chance[0]))
        findings.append(best)
    return findings


def scan_products(
    bank: Bank,
    left: Sequence[Float32],
    right: Sequence[Float32],
    weight: Sequence[Complex],
    lags: Sequence[int],
    carrier: Sequence[Float32] | None = None,
) -> tuple[Float64, Float64]:
    """Return statistics of all products of two sets of streams: matrix products over blocks.

    Args:
        bank: for its stretches and layout.
        left: rows of one side in each stretch, `(rows, n)`, internal rate.
        right: of the other.
        weight: `raised_gradient` for each stretch.
        lags: internal samples.
        carrier: a further factor for each stretch.

    Returns:
        Statistic at the best lag and its probability by chance, each `(left rows, right rows)`.
    """
    layout = bank.layout
    best = np.zeros((len(left[0]), len(right[0])))
    least = np.ones(best.shape)
    trials = _independent(layout, max(lags) - min(lags))
    for lag in lags:
        parts = []
        for number, (a, b, w) in enumerate(zip(left, right, weight, strict=True)):
            late = np.roll(w, lag).astype(np.complex64)
            if carrier is not None:
                late = late * carrier[number]
            edges = _blocks(layout, a.shape[1], bank.segments, analytic=False)
            for begin, end in zip(edges, [*edges[1:], a.shape[1]], strict=True):
                part = late[begin:end]
                weighted = np.stack([part.real, part.imag])[:, None] * a[:, begin:end]
                real, imaginary = weighted @ b[:, begin:end].T
                parts.append(real + 1j * imaginary)
        statistic, chance = _judge(np.stack(parts).reshape(len(parts), -1), trials)
        statistic, chance = statistic.reshape(best.shape), chance.reshape(best.shape)
        better = statistic > best
        best[better], least[better] = statistic[better], chance[better]
    return best, least


def raised_gradient(
    layout: BandLayout, gradient: Sequence[Complex], lengths: Sequence[int]
) -> list[Complex]:
    """Return the gradient at the internal rate: what a real signal there is correlated with.

    Args:
        layout: of the model.
        gradient: for each stretch, analytic rate.
        lengths: internal samples of each stretch.
    """
    half = len(layout.analytic) // 2
    raised = []
    for sequence, length in zip(gradient, lengths, strict=True):
        long = scipy.signal.upfirdn(layout.analytic, sequence, up=layout.analytic_step)
        part = long[half : half + length]
        raised.append(np.pad(part, (0, length - len(part))))
    return raised


def _in_blocks(
    signals: Sequence[NDArray[np.complex64]],
    gradient: Sequence[Complex],
    blocks: Sequence[Sequence[int]],
    lag: int,
) -> Complex:
    """Return the correlation at a lag by block; one with a glitch in the feature counts less."""
    parts, powers = [], []
    for signal, sequence, edges in zip(signals, gradient, blocks, strict=True):
        late = _later(signal, lag)
        parts.append(np.add.reduceat(late.conj() * sequence, edges))
        powers.append(np.add.reduceat(late.real**2 + late.imag**2, edges))
    weights = robust_weights(np.concatenate(powers), LEVERAGE)
    return np.asarray(np.concatenate(parts) * weights, dtype=np.complex128)


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


def _blocks(layout: BandLayout, length: int, segments: int, *, analytic: bool = True) -> list[int]:
    """Return where the blocks of a stretch begin."""
    rate = layout.analytic_rate if analytic else layout.internal_rate
    seconds = min(max(segments // _BLOCKS, _SHORTEST_BLOCK), _LONGEST_BLOCK)
    return list(range(0, max(length - seconds * rate // 2, 1), seconds * rate))


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


def _later(signal: NDArray[np.complex64], lag: int) -> NDArray[np.complex64]:
    """Return `z(t + lag)`; zeros come in."""
    moved = np.zeros_like(signal)
    if lag >= 0:
        moved[: len(signal) - lag] = signal[lag:]
    else:
        moved[-lag:] = signal[:lag]
    return moved
