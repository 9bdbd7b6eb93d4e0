"""The numbers of the pictures: spectra before and after, coherence, ratios, gains.

Spectra are those of a validation (`validate.measure`): the median of Hann-windowed transforms of
2 s, one a second, over stretches of 8 s. A transform counts if the strain is finite in it, before
and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64, Samples
from deepclean.core.channels import STATE_RATE
from deepclean.core.filters.bandpass import Band
from deepclean.core.output.products import State
from deepclean.core.spectra import (
    FFT_SECONDS,
    SEGMENT,
    Bins,
    Complex,
    CrossSpectra,
    density,
    median_bias,
    transform,
)
from deepclean.errors import InputError
from deepclean.validate.json_numbers import listed, rounded
from deepclean.validate.spectra import RAW, WIDTH, WITNESSES, Cells, linear_limit

PERCENTILES = (5, 50, 95)

STRETCH = 8
"""Seconds of a stretch; shorter where there is less than a minute of data."""

WAVE = 32
"""Longest strain in seconds that is drawn as a wave."""

_HIGHEST = 0.45
"""Highest frequency of the spectra over the strain's rate."""


@dataclass(frozen=True, slots=True, eq=False)
class CleanedStrain:
    """Strain before and after cleaning, as arrays. Not-a-number marks what is missing.

    Args:
        start: GPS second of the first sample.
        rate: of the strain, samples per second.
        raw: the strain before, whole seconds of samples, shape `(n,)`.
        products: the strain after, by product, as `OUT_DQ` and `PRODUCTION`; each of shape `(n,)`.
        bands: of each coupling, `(low, high)` in Hz.
        witnesses: samples of the witnesses of each coupling, by channel, over the same time. The
            rate of a witness is a whole number of samples per second.
        gains: lowest gain of each coupling in each sixteenth of a second.
        state: the product's state vector (core.output.products), 16 values a second; None: not
            known.

    Raises:
        ValueError: the arrays do not cover the same whole seconds.
    """

    start: int
    rate: int
    raw: Float64
    products: Mapping[str, Float64]
    bands: Mapping[str, Sequence[Band]] = field(default_factory=dict)
    witnesses: Mapping[str, Mapping[str, Samples]] = field(default_factory=dict)
    gains: Mapping[str, Float64] = field(default_factory=dict)
    state: Samples | None = None

    def __post_init__(self) -> None:
        shapes = {len(self.raw), *(len(one) for one in self.products.values())}
        seconds, rest = divmod(len(self.raw), self.rate)
        held = (one for group in self.witnesses.values() for one in group.values())
        short = [one for one in held if len(one) % seconds] if seconds else []
        if len(shapes) > 1 or rest or short or not self.products:
            raise ValueError("strain, products and witnesses must cover the same whole seconds")

    @property
    def seconds(self) -> int:
        """Length in seconds."""
        return len(self.raw) // self.rate


@dataclass(frozen=True, slots=True, eq=False)
class SpanFigures:
    """The numbers of a span, from which it is drawn.

    Args:
        start: GPS second of the first stretch.
        step: seconds of a stretch.
        bands: of each coupling, `(low, high)` in Hz.
        products: names of the strain's products, the official one first.
        frequencies: of the spectra's cells, Hz.
        starts: GPS second of each stretch that has spectra.
        asd: shape `(stretches, 1 + products, cells)`, the raw strain first.
        rms: by coupling, rms of the strain in its bands in each stretch, shape
            `(stretches, 1 + products)`.
        gains: by coupling the lowest and the mean gain in each stretch of `times`.
        times: GPS second of every stretch.
        coherence: by coupling, cross spectra of the strain before and after and its witnesses.
        witnesses: channels of each coupling, in that order.
        near: by coupling, the bins of its cross spectra.
        cleaned: share of the time in which every coupling had gain 1; None where not known.
        rate: of the strain, samples per second.
        wave: the raw strain and the official product, shape `(2, n)`, if they are short enough to
            be drawn as waves.
    """

    start: int
    step: int
    bands: Mapping[str, Sequence[Band]]
    products: tuple[str, ...]
    frequencies: Float64
    starts: NDArray[np.int64]
    asd: NDArray[np.float32]
    rms: Mapping[str, Float64]
    gains: Mapping[str, Float64]
    times: NDArray[np.int64]
    coherence: Mapping[str, CrossSpectra]
    witnesses: Mapping[str, tuple[str, ...]]
    near: Mapping[str, NDArray[np.intp]]
    cleaned: float | None
    rate: int
    wave: Float64 | None

    def spectra(self) -> dict[str, Any]:
        """Return the percentiles of the spectra, as a validation report has them."""
        levels = np.percentile(self.asd, PERCENTILES, axis=0).astype(np.float64)
        return {
            "frequency": listed(self.frequencies),
            **{
                product: {
                    f"p{level}": listed(levels[place, row])
                    for place, level in enumerate(PERCENTILES)
                }
                for row, product in enumerate(("RAW", *self.products))
            },
        }

    def ratio(self, product: str | None = None) -> Float64:
        """Return the median spectrum of a product over that of the raw strain, for each cell."""
        row = 1 + self.products.index(product or self.products[0])
        typical = np.median(self.asd, axis=0).astype(np.float64)
        ratio = np.full(len(self.frequencies), np.nan)
        np.divide(typical[row], typical[0], out=ratio, where=typical[0] > 0)
        return ratio

    def in_band(self, coupling: str, product: str | None = None) -> float | None:
        """Return the mean ratio over the bands of a coupling."""
        inside = np.zeros(len(self.frequencies), dtype=bool)
        for low, high in self.bands[coupling]:
            inside |= (self.frequencies >= low) & (self.frequencies <= high)
        return rounded(float(np.mean(self.ratio(product)[inside]))) if inside.any() else None

    def coherences(self, coupling: str) -> dict[str, Any]:
        """Return the coherence of a coupling's witnesses, as a validation report has it."""
        spectra, names = self.coherence[coupling], self.witnesses[coupling]
        before, after = spectra.coherence(0), spectra.coherence(1)
        return {
            "frequency": listed(self.near[coupling] * WIDTH),
            "witnesses": {
                name: {"RAW": listed(before[row]), self.products[-1]: listed(after[row])}
                for row, name in enumerate(names, start=WITNESSES)
            },
            "linear_limit": listed(linear_limit(spectra, RAW)),
        }


class SpanMeter:
    """Measures stretches of strain, one after another.

    Args:
        rate: of the strain, samples per second.
        products: names of its products, the official one first.
        bands: of each coupling, in Hz.
        witnesses: channels of each coupling.
        guard: Hz beside a band in which the coherence is measured too.
    """

    def __init__(
        self,
        rate: int,
        products: Sequence[str],
        bands: Mapping[str, Sequence[Band]],
        witnesses: Mapping[str, Sequence[str]],
        guard: float = 5.0,
    ) -> None:
        self._rate, self._products, self._bands = rate, tuple(products), bands
        self._stop = _HIGHEST * rate
        self._bins = {name: Bins(each, guard, self._stop, SEGMENT) for name, each in bands.items()}
        self._near = {name: np.sort(bins.near) for name, bins in self._bins.items()}
        self._cells = Cells(self._stop, {int(b) for near in self._near.values() for b in near})
        self._witnesses = {n: tuple(held) for n, held in witnesses.items() if held and n in bands}
        self._coherence = {
            name: CrossSpectra.empty(WITNESSES + len(held), len(self._near[name]))
            for name, held in self._witnesses.items()
        }
        self._starts: list[int] = []
        self._times: list[int] = []
        self._asd: list[NDArray[np.float32]] = []
        self._rms: dict[str, list[Float64]] = {name: [] for name in bands}
        self._gains: dict[str, list[tuple[float, float]]] = {}
        self._bits, self._clean = 0, 0
        self._wave: list[Float64] | None = []

    def push(self, stretch: CleanedStrain) -> None:
        """Measure the next stretch, of 2 s and more."""
        self._times.append(stretch.start)
        if self._wave is not None:
            self._wave.append(np.stack([stretch.raw, stretch.products[self._products[0]]]))
            if sum(each.shape[1] for each in self._wave) > WAVE * self._rate:
                self._wave = None
        for name, gain in stretch.gains.items():
            there = gain[np.isfinite(gain)]
            both = (float(there.min()), float(there.mean())) if len(there) else (np.nan, np.nan)
            self._gains.setdefault(name, []).append(both)
        if stretch.state is not None:
            known = np.isfinite(stretch.state)
            bits = np.where(known, stretch.state, 0).astype(np.int64)
            self._bits += int(known.sum())
            self._clean += int(((bits & State.CLEANED) != 0).sum())
        streams = [stretch.raw, *(stretch.products[name] for name in self._products)]
        densities = []
        for second in range(stretch.seconds - 1):
            cut = slice(second * self._rate, (second + FFT_SECONDS) * self._rate)
            parts = [stream[cut] for stream in streams]
            if all(np.isfinite(part).all() for part in parts):
                spectra = [transform(part, self._rate, self._stop) for part in parts]
                densities.append([density(spectrum, SEGMENT) for spectrum in spectra])
                self._correlate(stretch, second, spectra)
        if 2 * len(densities) < stretch.seconds - 1:
            return
        powers = np.median(densities, axis=0) / median_bias(len(densities))
        self._starts.append(stretch.start)
        self._asd.append(np.array([self._cells.asd(power) for power in powers]))
        for name, bins in self._bins.items():
            self._rms[name].append(np.sqrt(powers[:, bins.inside].sum(axis=1) * WIDTH))

    def _correlate(self, stretch: CleanedStrain, second: int, spectra: Sequence[Complex]) -> None:
        """Add the transforms of the strain and the witnesses to their cross spectra."""
        for name, channels in self._witnesses.items():
            near = self._near[name]
            streams = [spectra[0][near], spectra[-1][near]]
            for channel in channels:
                samples = np.asarray(stretch.witnesses[name][channel], dtype=np.float64)
                rate = len(samples) // stretch.seconds
                part = samples[second * rate : (second + FFT_SECONDS) * rate]
                if not len(part) or not np.isfinite(part).all():
                    break
                found = transform(part - part.mean(), rate, min(self._stop, _HIGHEST * rate))
                there = near < len(found)
                stream = np.zeros(len(near), dtype=np.complex128)
                stream[there] = found[near[there]]
                streams.append(stream)
            else:
                self._coherence[name].add(np.stack(streams, axis=-1)[None])

    def finish(self, step: int) -> SpanFigures:
        """Return the numbers of all stretches.

        Args:
            step: seconds of a stretch.

        Raises:
            InputError: no stretch has finite strain before and after for most of its time.
        """
        if not self._asd:
            raise InputError("no two seconds have finite strain before and after: nothing to draw")
        wave = None if self._wave is None else np.concatenate(self._wave, axis=1)
        return SpanFigures(
            self._times[0],
            step,
            self._bands,
            self._products,
            self._cells.frequencies,
            np.array(self._starts),
            np.array(self._asd),
            {name: np.array(rows) for name, rows in self._rms.items()},
            {name: np.array(rows) for name, rows in self._gains.items()},
            np.array(self._times),
            {name: each for name, each in self._coherence.items() if each.count},
            self._witnesses,
            self._near,
            self._clean / self._bits if self._bits else None,
            self._rate,
            wave if wave is not None and np.isfinite(wave).all() else None,
        )


def step_of(seconds: int) -> int:
    """Return the length of a stretch for so many seconds of data."""
    return STRETCH if seconds >= 8 * STRETCH else max(seconds // 8, FFT_SECONDS)


def measured(strain: CleanedStrain) -> SpanFigures:
    """Return the numbers of strain that is in memory.

    Raises:
        InputError: there are no two seconds of finite strain, before and after.
    """
    meter = SpanMeter(
        strain.rate,
        tuple(strain.products),
        strain.bands,
        {name: tuple(held) for name, held in strain.witnesses.items()},
    )
    step = step_of(strain.seconds)
    for part in stretches(strain, step):
        meter.push(part)
    return meter.finish(step)


def stretches(strain: CleanedStrain, step: int) -> Iterable[CleanedStrain]:
    """Yield the stretches of some strain; a rest that is shorter is left out."""

    def part(samples: Samples, second: int) -> Samples:
        rate = len(samples) // strain.seconds
        return samples[second * rate : (second + step) * rate]

    for second in range(0, strain.seconds - step + 1, step):
        yield CleanedStrain(
            strain.start + second,
            strain.rate,
            part(strain.raw, second),
            {name: part(one, second) for name, one in strain.products.items()},
            strain.bands,
            {
                name: {channel: part(one, second) for channel, one in held.items()}
                for name, held in strain.witnesses.items()
            },
            {
                name: gain[second * STATE_RATE : (second + step) * STATE_RATE]
                for name, gain in strain.gains.items()
            },
            None if strain.state is None else part(strain.state, second),
        )
