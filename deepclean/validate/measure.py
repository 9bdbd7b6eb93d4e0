"""Measurement of a stretch that the engine has cleaned, second by second.

Spectra are those of the online quality (`core.gate.quality`): Hann-windowed transforms of 2 s, one
per second. A second counts if it is requested, its strain exists and is finite, and the source says
that it is ready for analysis. A transform counts if both of its seconds count.

Ratios are measured of OUT_DQ and PRODUCTION. Coherence and distribution are measured of PRODUCTION
where its gain is 1 throughout: they describe what the model leaves, whatever its gate did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from deepclean.core.block import CleanedBlock, Float64
from deepclean.core.engine.engine import Engine
from deepclean.core.gate.quality import RunningSpectra, measure
from deepclean.core.spectra import (
    SEGMENT,
    Bins,
    Complex,
    CrossSpectra,
    density,
    median_bias,
    transform,
)
from deepclean.core.time import NS, Span
from deepclean.validate.criteria import MINUTE
from deepclean.validate.seconds import PRODUCTS, Second, WitnessSpectra, unfit
from deepclean.validate.shard_result import (
    NOT_ASKED_FOR,
    STRETCH,
    CouplingResult,
    Sampling,
    ShardResult,
    add_gap,
)
from deepclean.validate.spectra import WITNESSES, Cells

CLEANED = PRODUCTS[1:]

LEAD = STRETCH * NS
"""Nanoseconds before a shard that fill the running windows."""

RATIOS = ("in_band", "worst", "guard", "outside")

_WHOLE = STRETCH - 1
"""Number of transforms in a stretch."""


class CouplingBins:
    """The bins of an engine's couplings. They are the same in every shard.

    Args:
        engine: the engine.
        guard: width beside a band in Hz.
    """

    def __init__(self, engine: Engine, guard: float) -> None:
        rates = engine.settings
        self.rate = rates.strain_rate
        self.stop = 0.45 * rates.strain_rate
        # The gate's own limit: the estimate holds nothing above it.
        self.judged = 0.45 * min(rates.strain_rate, rates.model_rate)
        self.bins = {
            c.name: Bins(c.bands, guard, self.judged, SEGMENT) for c in engine.versions.production
        }
        self.near = {
            name: np.sort(np.concatenate([bins.inside, bins.guard]))
            for name, bins in self.bins.items()
        }
        self.cells = Cells(self.stop, {int(b) for near in self.near.values() for b in near})


RangeOf = Callable[[Float64], float]
"""A function from a power spectral density at the slow transform's bins to a range in Mpc."""


class Meter:
    """Measures the consecutive seconds of one shard.

    Args:
        span: of the shard, whole seconds.
        bands: of the engine's couplings.
        witnesses: full names of the witnesses, by coupling.
        sampling: how much is kept.
        range_of: gives the range.
    """

    def __init__(
        self,
        span: Span,
        bands: CouplingBins,
        witnesses: Mapping[str, tuple[str, ...]],
        sampling: Sampling,
        range_of: RangeOf,
    ) -> None:
        self._span, self._bands, self._witnesses = span, bands, witnesses
        self._sampling, self._range_of = sampling, range_of
        first, last = span.start // NS, span.end // NS
        cadence = sampling.cadence
        start = first // cadence * cadence
        rows = -(-last // cadence) * cadence - start
        self._windows = {
            (name, product): RunningSpectra(bins, LEAD)
            for name, bins in bands.bins.items()
            for product in CLEANED
        }
        self._before: Second | None = None
        self._densities: list[list[Float64]] = []
        self._minute: list[Float64] = []
        names = [f"{p}_{r}" for p in CLEANED for r in RATIOS] + ["gain", "lowest", "gate"]
        names += ["amplitude", "phase"]
        couplings = {
            name: CouplingResult(
                {row: np.full(rows, np.nan) for row in names},
                CrossSpectra.empty(WITNESSES + len(witnesses[name]), len(near)),
            )
            for name, near in bands.near.items()
        }
        self._result = ShardResult(start, np.zeros(rows), couplings)

    def push(self, block: CleanedBlock, wanted: bool) -> None:
        """Measure the next second.

        Args:
            block: of one GPS second.
            wanted: whether the second is requested.
        """
        own = self._span.covers(block.span)
        why = unfit(block.source) if wanted else NOT_ASKED_FOR
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

    def finish(self) -> ShardResult:
        """Return the result, with the time series averaged over their rows."""
        last = self._span.end // NS
        self._finish_stretch(last // STRETCH * STRETCH)
        self._finish_minute(last // MINUTE * MINUTE)
        cadence = self._sampling.cadence
        for coupling in self._result.couplings.values():
            for name, row in list(coupling.rows.items()):
                if name.endswith("in_band"):
                    coupling.rows[f"{name}_highest"] = _by_row(np.fmax.reduce, row, cadence)
                reduce = np.fmin.reduce if name == "lowest" else _mean
                coupling.rows[name] = _by_row(reduce, row, cadence)
        self._result.counted = self._result.counted.reshape(-1, cadence).sum(axis=1)
        return self._result

    def _account(self, block: CleanedBlock, why: str | None) -> None:
        result, second = self._result, block.span.start // NS
        row = second - result.start
        for fault in {(f.witness, f.reason) for f in block.faults}:
            result.faults[fault] += 1
        gains = {}
        for name, estimate in block.estimates.items():
            rows = result.couplings[name].rows
            rows["gain"][row] = estimate.gain.mean()
            rows["lowest"][row] = estimate.gain.min()
            if estimate.gate is not None:
                rows["gate"][row] = np.mean(estimate.gate == 1)
            if estimate.knots:
                whole = estimate.knots[-1].whole
                rows["amplitude"][row], rows["phase"][row] = abs(whole), np.angle(whole)
            gains[name] = estimate.gain == 1
        if why is not None:
            result.left_out[why] += 1
            if why != NOT_ASKED_FOR:
                add_gap(result.gaps, second, second + 1, why)
            return
        result.counted[row] = 1.0
        for name, full in gains.items():
            coupling, estimate = result.couplings[name], block.estimates[name]
            coupling.clean += float(full.mean())
            coupling.reasons.update(estimate.reasons)
            coupling.versions.add(estimate.version)
        result.clean += float(np.all(list(gains.values()), axis=0).mean())

    def _spectra(self, block: CleanedBlock, own: bool) -> None:
        """Transform the last two seconds and add the transforms to all measurements."""
        now, before = Second.of(block), self._before
        self._before = now
        if before is None:
            return
        end = block.span.end
        spectra = {}
        for product in PRODUCTS:
            both = np.concatenate([before.products[product], now.products[product]])
            spectra[product] = transform(both, self._bands.rate, self._bands.stop)
        self._ratios(spectra, end, own)
        if not own:
            return
        if (end - SEGMENT) // NS // STRETCH == (end - 1) // NS // STRETCH:
            self._densities.append([density(spectra[product], SEGMENT) for product in PRODUCTS])
        witnesses = WitnessSpectra(before.witnesses, now.witnesses, self._bands.judged)
        for name in before.whole & now.whole:
            self._coherence(name, spectra, witnesses)
            if end // NS % 2 == 0 and end // SEGMENT % self._sampling.transforms == 0:
                inside = self._bands.bins[name].inside
                kept = [spectra["RAW"][inside], spectra["PRODUCTION"][inside]]
                quadratures = self._result.couplings[name].quadratures
                quadratures.append(np.array(kept, dtype=np.complex64))

    def _ratios(self, spectra: Mapping[str, Complex], end: int, own: bool) -> None:
        row = (end - NS) // NS - self._result.start
        count = int(self._bands.judged * SEGMENT / NS) + 1
        raw = spectra["RAW"][:count]
        before = density(raw, SEGMENT)
        for (_, product), window in self._windows.items():
            window.drop_before(end)
            window.add(end - SEGMENT, raw, before, raw - spectra[product][:count])
        full = {key: one for key, one in self._windows.items() if own and one.full}
        measured = measure(list(full.values()))
        for (name, product), (quality, _) in zip(full, measured, strict=True):
            rows = self._result.couplings[name].rows
            for ratio in RATIOS:
                rows[f"{product}_{ratio}"][row] = getattr(quality, ratio)

    def _coherence(
        self, name: str, spectra: Mapping[str, Complex], witnesses: WitnessSpectra
    ) -> None:
        near = self._bands.near[name]
        streams = [spectra["RAW"][near], spectra["PRODUCTION"][near]]
        for witness in self._witnesses[name]:
            spectrum = witnesses.spectrum(witness)
            if spectrum is None:
                return
            there = near < len(spectrum)
            stream = np.zeros(len(near), dtype=np.complex128)
            stream[there] = spectrum[near[there]]
            streams.append(stream)
        self._result.couplings[name].cross_spectra.add(np.stack(streams, axis=-1)[None])

    def _finish_stretch(self, start: int) -> None:
        densities, self._densities = self._densities, []
        if 2 * len(densities) <= _WHOLE:
            return
        powers = np.median(densities, axis=0) / median_bias(len(densities))
        self._minute.append(powers)
        if start // STRETCH % self._sampling.stretches == 0:
            self._result.starts.append(start)
            cells = self._bands.cells
            self._result.spectra.append(np.array([cells.asd(power) for power in powers]))

    def _finish_minute(self, start: int) -> None:
        """Compute the range from the mean of several stretches.

        A single stretch has few averages. Its noise would raise the range.
        """
        minute, self._minute = self._minute, []
        if 2 * STRETCH * len(minute) >= MINUTE:
            ranges = tuple(self._range_of(power) for power in np.mean(minute, axis=0))
            self._result.ranges.append((start, ranges))


def _mean(values: Float64, axis: int) -> Float64:
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    mean: Float64 = np.full(len(total), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _by_row(reduce: Callable[..., Float64], values: Float64, cadence: int) -> Float64:
    return np.asarray(reduce(values.reshape(-1, cadence), axis=1))
