"""White noise as a function of GPS second, seed and name, and finite filters over it.

Everything random in a simulated site starts here. One second of white noise comes from a
counter-based generator (Philox 4x64: Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"). Its key is a hash of seed and name, and its counter is the GPS second. Any second can
therefore be computed at any time, in any order and process, and is always the same. Every later
step is a function from a GPS second to the samples of that second. It uses a fixed number of
neighbouring seconds and arrays of fixed shape, so it keeps this property bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from deepclean.core.block import Float64, Samples

Stream: TypeAlias = Callable[[int], NDArray[Any]]
"""A signal: a function from a GPS second to its samples in that second, shape `(rate,)`."""


def generator(seed: int, name: str, second: int) -> np.random.Generator:
    """Return the random generator of one second of one named source."""
    digest = blake2b(f"{seed}\0{name}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, second, 0]))


def white(seed: int, name: str, rate: int, dtype: type[np.floating[Any]] = np.float64) -> Stream:
    """Return a stream of independent normal samples of unit variance."""

    def make(second: int) -> Samples:
        return generator(seed, name, second).standard_normal(rate, dtype=dtype)

    return make


def remembered(stream: Stream, keep: int) -> Stream:
    """Return `stream` with a cache of its last `keep` seconds, which are read-only."""

    @lru_cache(maxsize=keep)
    def recall(second: int) -> Samples:
        samples = stream(second)
        samples.flags.writeable = False
        return samples

    return recall


def around(stream: Stream, second: int, reach: int) -> Samples:
    """Return the samples of `second` and of `reach` seconds on each side of it."""
    return np.concatenate([stream(s) for s in range(second - reach, second + reach + 1)])


def filtered(source: Stream, kernel: Float64) -> Stream:
    """Return `source` convolved with a finite kernel of one second on each side.

    Args:
        source: seconds of shape `(rate,)`.
        kernel: shape `(2 * rate,)`, its time zero at index `rate`.

    The kernel reaches no further than the two neighbouring seconds, so the middle third of a
    circular convolution over three seconds is the exact linear convolution.
    """
    rate = kernel.size // 2
    response = scipy.fft.rfft(np.roll(np.append(kernel, np.zeros(rate)), -rate))

    def make(second: int) -> Float64:
        spectrum = scipy.fft.rfft(around(source, second, 1)) * response
        samples: Float64 = scipy.fft.irfft(spectrum, 3 * rate)
        return samples[rate : 2 * rate].copy()

    return make
