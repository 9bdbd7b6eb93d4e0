"""What a report needs of a stretch that the engine has cleaned, in memory that does not grow.

Spectra are those of the online quality (core.quality): Hann-windowed transforms of 2 s, one a
second. A second counts where it is asked for, the strain is there and finite, and the source says
that it is ready for analysis; a transform counts where both of its seconds do.

Ratios are of both products. Coherence and distribution are of PRODUCTION, where its gain is 1
throughout: they say what the model leaves, whatever its gate did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Quality, Series
from deepclean.core.engine import Engine
from deepclean.core.quality import (
    SEGMENT,
    Bins,
    Complex,
    Window,
    density,
    median_bias,
    transform,
)
from deepclean.core.ready import not_ready
from deepclean.core.subtract import subtract
from deepclean.core.time import NS, Span
from deepclean.validate.cross import Cross
from deepclean.validate.grid import Grid

PRODUCTS = ("RAW", "OUT_DQ", "PRODUCTION")
CLEANED = PRODUCTS[1:]

STRETCH = 8
"""Seconds of a stretch, counted from GPS 0: spectra are medians over one."""

MINUTE = 64
"""Seconds over which a range is taken, counted from GPS 0."""

LEAD = STRETCH * NS
"""Nanoseconds before a shard that fill the running windows."""

RATIOS = ("in_band", "worst", "guard", "outside")

_WHOLE = STRETCH - 1
"""Transforms of a stretch."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much is kept; a function of the span alone.

    Args:
        cadence: seconds of a row of the time series, a power of two up to 512.
        stretches: of so many stretches one spectrum is kept.
        transforms: of so many transforms that do not overlap one is kept for its distribution.
    """

    cadence: int = 1
    stretches: int = 1
    transforms: int = 1

    @classmethod
    def of(cls, span: Span) -> Sampling:
        """Return the sampling that bounds the memory: all of what is up to two hours long."""
        seconds = span.duration // NS
        cadence = 1
        while cadence < 512 and seconds / cadence > 8192:
            cadence *= 2
        most = 4096
        return cls(cadence, -(-seconds // (STRETCH * most)), -(-seconds // (2 * most)))


@dataclass(slots=True)
class CouplingPart:
    """One coupling over a stretch.

    Args:
        rows: time series by name, one value a row, NaN where there is none.
        cross: spectral matrix in and beside the band.
        quadratures: transforms in the band that do not overlap, raw and PRODUCTION.
        reasons: seconds by reason why it is not fully cleaned.
        clean: seconds at gain 1, of those that count.
        versions: of models.
    """

    rows: dict[str, Float64]
    cross: Cross
    quadratures: list[NDArray[np.complex64]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    clean: float = 0.0
    versions: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Part:
    """What a shard was measured to be.

    Args:
        start: GPS seconds of the first row.
        counted: seconds that count, per row.
        left_out: seconds that do not, by reason.
        faults: seconds by witness and what is wrong with it.
        clean: seconds with every coupling at gain 1, of those that count.
        couplings: by name.
        starts: GPS seconds of the stretches whose spectra are kept.
        spectra: their ASDs, one of shape `(3, cells)` each.
        ranges: GPS seconds and the range in Mpc of each product, every `MINUTE`.
        unread: what of the input could not be read, by whoever measured it, so far.
    """

    start: int
    counted: Float64
    left_out: Counter[str]
    faults: Counter[tuple[str, str]]
    clean: float
    couplings: dict[str, CouplingPart]
    starts: list[int] = field(default_factory=list)
    spectra: list[NDArray[np.float32]] = field(default_factory=list)
    ranges: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


class Bands:
    """Where the bins of an engine's couplings are; the same in every shard.

    Args:
        engine: whose couplings.
        guard: Hz beside a band.
    """

    def __init__(self, engine: Engine, guard: float) -> None:
        rates = engine.settings
        self.rate = rates.strain_rate
        self.stop = 0.45 * rates.strain_rate
        # The gate's own: nothing of the estimate is above it.
        self.judged = 0.45 * min(rates.strain_rate, rates.model_rate)
        self.bins = {c.name: Bins(c.bands, guard, self.judged, SEGMENT) for c in engine.couplings}
        self.near = {
            name: np.sort(np.concatenate([bins.inside, bins.guard]))
            for name, bins in self.bins.items()
        }
        self.grid = Grid(self.stop, {int(b) for near in self.near.values() for b in near})


RangeOf = Callable[[Float64], float]
"""From a power spectral density at the slow transform's bins to Mpc."""


class Meter:
    """Measures the consecutive seconds of one shard.

    Args:
        span: of the shard, whole seconds.
        bands: of the engine's couplings.
        witnesses: of each coupling, full names.
        sampling: how much is kept.
        range_of: gives the range.
    """

    def __init__(
        self,
        span: Span,
        bands: Bands,
        witnesses: Mapping[str, tuple[str, ...]],
        sampling: Sampling,
        range_of: RangeOf,
    ) -> None:
        self._span, self._bands, self._witnesses = span, bands, witnesses
        self._sampling, self._range_of = sampling, range_of
        first, last = span.start // NS, span.end // NS
        cadence = sampling.cadence
        start = first // cadence * cadence
        self._seconds = -(-last // cadence) * cadence - start
        self._windows = {
            (name, product): Window(bins, LEAD)
            for name, bins in bands.bins.items()
            for product in CLEANED
        }
        self._before: _Second | None = None
        self._densities: list[list[Float64]] = []
        self._minute: list[Float64] = []
        names = [f"{p}_{r}" for p in CLEANED for r in RATIOS] + ["gain", "lowest", "gate"]
        self.part = Part(
            start,
            np.zeros(self._seconds),
            *(Counter(), Counter(), 0.0),
            {
                name: CouplingPart(
                    {row: np.full(self._seconds, np.nan) for row in names},
                    Cross.empty(len(witnesses[name]), len(near)),
                )
                for name, near in bands.near.items()
            },
        )

    def take(self, block: CleanedBlock, wanted: bool) -> None:
        """Measure the next second.

        Args:
            block: of one GPS second.
            wanted: whether it is asked for.
        """
        own = self._span.covers(block.span)
        why = unfit(block.source) if wanted else "not_asked_for"
        if own:
            self._account(block, why)
        if why is None:
            self._spectra(block, own)
        else:
            self._before = None
            for window in self._windows.values():
                window.clear()
        if block.span.end // NS % STRETCH == 0:
            self._finish_stretch(block.span.end // NS - STRETCH)
        if block.span.end // NS % MINUTE == 0:
            self._finish_minute(block.span.end // NS - MINUTE)

    def finish(self) -> Part:
        """Return what was measured."""
        last = self._span.end // NS
        self._finish_stretch(last // STRETCH * STRETCH)
        self._finish_minute(last // MINUTE * MINUTE)
        cadence = self._sampling.cadence
        for coupling in self.part.couplings.values():
            for name, row in list(coupling.rows.items()):
                if name.endswith("in_band"):
                    coupling.rows[f"{name}_highest"] = _by_row(np.fmax.reduce, row, cadence)
                reduce = np.fmin.reduce if name == "lowest" else _mean
                coupling.rows[name] = _by_row(reduce, row, cadence)
        self.part.counted = self.part.counted.reshape(-1, cadence).sum(axis=1)
        return self.part

    def _account(self, block: CleanedBlock, why: str | None) -> None:
        row = block.span.start // NS - self.part.start
        for fault in {(f.witness, f.reason) for f in block.faults}:
            self.part.faults[fault] += 1
        gains = {}
        for name, estimate in block.estimates.items():
            rows = self.part.couplings[name].rows
            rows["gain"][row] = estimate.gain.mean()
            rows["lowest"][row] = estimate.gain.min()
            if estimate.gate is not None:
                rows["gate"][row] = np.mean(estimate.gate == 1)
            gains[name] = estimate.gain == 1
        if why is not None:
            self.part.left_out[why] += 1
            return
        self.part.counted[row] = 1.0
        for name, full in gains.items():
            coupling, estimate = self.part.couplings[name], block.estimates[name]
            coupling.clean += float(full.mean())
            coupling.reasons.update(estimate.reasons)
            coupling.versions.add(estimate.version)
        self.part.clean += float(np.all(list(gains.values()), axis=0).mean())

    def _spectra(self, block: CleanedBlock, own: bool) -> None:
        """Transform the last two seconds, and give the transforms to whom they concern."""
        now, before = _Second.of(block), self._before
        self._before = now
        if before is None:
            return
        rate, end = self._bands.rate, block.span.end
        spectra = {}
        for product in PRODUCTS:
            both = np.concatenate([before.products[product], now.products[product]])
            spectra[product] = transform(both, rate, self._bands.stop)
        self._ratios(spectra, end, own)
        if not own:
            return
        if (end - SEGMENT) // NS // STRETCH == (end - 1) // NS // STRETCH:
            self._densities.append([density(spectra[product], SEGMENT) for product in PRODUCTS])
        heard = _Heard(before.witnesses, now.witnesses, self._bands.judged)
        for name in before.whole & now.whole:
            part = self.part.couplings[name]
            self._coherence(name, part.cross, spectra, heard)
            if end // NS % 2 == 0 and end // SEGMENT % self._sampling.transforms == 0:
                inside = self._bands.bins[name].inside
                kept = [spectra["RAW"][inside], spectra["PRODUCTION"][inside]]
                part.quadratures.append(np.array(kept, dtype=np.complex64))

    def _ratios(self, spectra: Mapping[str, Complex], end: int, own: bool) -> None:
        row = (end - NS) // NS - self.part.start
        for (name, product), window in self._windows.items():
            count = int(self._bands.judged * SEGMENT / NS) + 1
            raw, cleaned = spectra["RAW"][:count], spectra[product][:count]
            window.forget(end)
            window.add(end - SEGMENT, raw, raw - cleaned)
            if own and window.full:
                quality: Quality = window.measure()[0]
                for ratio in RATIOS:
                    rows = self.part.couplings[name].rows
                    rows[f"{product}_{ratio}"][row] = getattr(quality, ratio)

    def _coherence(
        self, name: str, cross: Cross, spectra: Mapping[str, Complex], heard: _Heard
    ) -> None:
        near = self._bands.near[name]
        witnesses = [heard.spectrum(witness) for witness in self._witnesses[name]]
        together = np.zeros((2 + len(witnesses), len(near)), dtype=np.complex128)
        together[0], together[1] = spectra["RAW"][near], spectra["PRODUCTION"][near]
        for row, spectrum in enumerate(witnesses, start=2):
            if spectrum is None:
                return
            there = near < len(spectrum)
            together[row, there] = spectrum[near[there]]
        cross.add(together)

    def _finish_stretch(self, start: int) -> None:
        densities, self._densities = self._densities, []
        if 2 * len(densities) <= _WHOLE:
            return
        powers = np.median(densities, axis=0) / median_bias(len(densities))
        self._minute.append(powers)
        if start // STRETCH % self._sampling.stretches == 0:
            self.part.starts.append(start)
            self.part.spectra.append(np.array([self._bands.grid.asd(power) for power in powers]))

    def _finish_minute(self, start: int) -> None:
        """Take the range from the mean of some stretches: the few averages of one feign more."""
        minute, self._minute = self._minute, []
        if 2 * STRETCH * len(minute) >= MINUTE:
            ranges = tuple(self._range_of(power) for power in np.mean(minute, axis=0))
            self.part.ranges.append((start, ranges))


@dataclass(frozen=True, slots=True)
class _Second:
    """A second that counts.

    Args:
        products: the strain before and after.
        witnesses: as they came.
        whole: couplings whose estimate is valid throughout.
    """

    products: Mapping[str, Float64]
    witnesses: Mapping[str, Series | Gap]
    whole: frozenset[str]

    @classmethod
    def of(cls, block: CleanedBlock) -> _Second:
        strain = block.source.strain
        assert isinstance(strain, Series)
        assert block.cleaned is not None
        raw = np.asarray(strain.samples, dtype=np.float64)
        ungated = {name: estimate.ungated() for name, estimate in block.estimates.items()}
        production = subtract(raw, ungated.values())
        return cls(
            {"RAW": raw, "OUT_DQ": block.cleaned, "PRODUCTION": production},
            block.source.witnesses,
            frozenset(name for name, estimate in ungated.items() if (estimate.gain == 1).all()),
        )


class _Heard:
    """Transforms of the witnesses over two seconds, each made once.

    Args:
        before: the first second's.
        now: the second's.
        stop: Hz of the highest bin.
    """

    def __init__(
        self, before: Mapping[str, Series | Gap], now: Mapping[str, Series | Gap], stop: float
    ) -> None:
        self._before, self._now, self._stop = before, now, stop
        self._made: dict[str, Complex | None] = {}

    def spectrum(self, witness: str) -> Complex | None:
        """Return it up to just below half the witness's rate; None where samples are missing."""
        if witness not in self._made:
            self._made[witness] = self._make(self._before.get(witness), self._now.get(witness))
        return self._made[witness]

    def _make(self, first: Series | Gap | None, second: Series | Gap | None) -> Complex | None:
        if not (isinstance(first, Series) and isinstance(second, Series)):
            return None
        samples = np.concatenate([first.samples, second.samples]).astype(np.float64)
        if first.rate != second.rate or not np.isfinite(samples).all():
            return None
        # A witness's offset is large; the window alone leaves some of it in the lowest bins.
        return transform(samples - samples.mean(), first.rate, min(self._stop, 0.45 * first.rate))


def unfit(block: Block) -> str | None:
    """Return why a second does not count, or None where it does."""
    if isinstance(block.strain, Gap):
        return f"strain_{block.strain.reason}"
    if not np.isfinite(block.strain.samples).all():
        return "strain_nonfinite"
    return "not_ready" if not_ready(block) else None


def _mean(values: Float64, axis: int) -> Float64:
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    mean: Float64 = np.full(len(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _by_row(reduce: Callable[..., Float64], values: Float64, cadence: int) -> Float64:
    return np.asarray(reduce(values.reshape(-1, cadence), axis=1))
