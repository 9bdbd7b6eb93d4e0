"""The parts of a run put together into figures: plain numbers and lists, as the JSON has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.models.load import Model
from deepclean.validate.cells import WIDTH
from deepclean.validate.csd import CLEANED as AFTER
from deepclean.validate.csd import RAW as BEFORE
from deepclean.validate.csd import SpectralMatrix
from deepclean.validate.json_numbers import listed, rounded, seconds
from deepclean.validate.measure import CLEANED, Bands
from deepclean.validate.seconds import PRODUCTS
from deepclean.validate.shard_result import Sampling, ShardResult, add_gap
from deepclean.validate.shards import OpenRun
from deepclean.validate.training_overlap import shared, trained_on

PERCENTILES = (5, 50, 95)

EDGES = np.linspace(-6.0, 6.0, 121)
"""Of the histogram, in standard deviations; what is beyond counts in the outermost cells."""


class Summary:
    """One run of a validation, part by part.

    Args:
        opened: the run.
        sampling: how much its parts keep.
        counting: the time that is asked for.
    """

    def __init__(self, opened: OpenRun, sampling: Sampling, counting: Sequence[Span]) -> None:
        self._opened, self._sampling, self._counting = opened, sampling, counting
        engine = opened.engine()
        self._bands = Bands(engine, opened.config.gate.guard)
        self._couplings = {c.name: c for c in engine.versions.production}
        self._left_out: Counter[str] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._clean = 0.0
        self._parts: list[ShardResult] = []
        self._cross: dict[str, SpectralMatrix] = {}

    def add(self, part: ShardResult) -> None:
        """Add the next shard's part, in order of time."""
        self._left_out += part.left_out
        self._faults += part.faults
        self._clean += part.clean
        for name, coupling in part.couplings.items():
            if name in self._cross:
                self._cross[name].merge(coupling.cross)
            else:
                self._cross[name] = coupling.cross
            # The sum is kept, not the parts' own.
            coupling.cross = SpectralMatrix.empty(0, 0)
        self._parts.append(part)

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it.

        Raises:
            InputError: nothing of it all could be judged.
        """
        counted = sum(float(part.counted.sum()) for part in self._parts)
        spectra = [spectrum for part in self._parts for spectrum in part.spectra]
        if not spectra:
            left = ", ".join(f"{why} {n} s" for why, n in sorted(self._left_out.items()))
            raise InputError(
                "no 8 s of the time that is asked for can be judged"
                f"{f': left out {left}' if left else ''}"
            )
        stacked = np.array(spectra)
        config = self._opened.config
        return {
            "name": self._opened.run.name,
            "configuration": config.hash,
            "resolved": config.model_dump(mode="json"),
            "models": {
                name: self._provenance(model) for name, model in self._opened.models.items()
            },
            "seconds": {
                "counted": counted,
                "left_out": dict(sorted(self._left_out.items())),
                "gaps": self._gaps(),
            },
            "unread": sorted(set().union(*(part.unread for part in self._parts))),
            "duty_cycle": rounded(self._clean / counted),
            "range": self._range(),
            "witness_faults": [
                {"witness": witness, "reason": reason, "seconds": seconds}
                for (witness, reason), seconds in sorted(self._faults.items())
            ],
            "spectra": self._spectra(stacked),
            "couplings": {name: self._coupling(name, stacked, counted) for name in self._couplings},
            "series": self._series(),
        }

    def spectrogram(self, coupling: str) -> Spectrogram:
        """Return the spectra in and beside a coupling's band against time."""
        near = self._bands.near[coupling]
        cells = self._bands.grid.cells(near)
        starts = [start for part in self._parts for start in part.starts]
        spectra = [spectrum[:2, cells] for part in self._parts for spectrum in part.spectra]
        return Spectrogram(np.array(starts), near * WIDTH, np.array(spectra))

    def _provenance(self, model: Model) -> dict[str, Any]:
        """Return what a model is, and whether it was trained on what it is judged by."""
        spans = trained_on(model)
        return {
            "version": model.version,
            "sha256": model.hash,
            "trained_on": None if spans is None else [seconds(span) for span in spans],
            "unseen": None if spans is None else rounded(1 - shared(self._counting, spans)),
        }

    def _gaps(self) -> list[list[int | str]]:
        gaps: list[tuple[int, int, str]] = []
        for part in self._parts:
            for start, end, reason in part.gaps:
                add_gap(gaps, start, end, reason)
        return [list(gap) for gap in gaps]

    def _range(self) -> dict[str, Any]:
        starts = [start for part in self._parts for start, _ in part.ranges]
        found = [each for part in self._parts for _, each in part.ranges]
        ranges = np.array(found, dtype=np.float64).reshape(-1, len(PRODUCTS))
        medians = {p: _median(ranges[:, row]) for row, p in enumerate(PRODUCTS)}
        gain = medians["OUT_DQ"] / medians["RAW"] if medians["RAW"] else np.nan
        return {
            "unit": "Mpc",
            "median": {product: rounded(value) for product, value in medians.items()},
            "gain": rounded(gain),
            "start": starts,
            **{product: listed(ranges[:, row]) for row, product in enumerate(PRODUCTS)},
        }

    def _spectra(self, stacked: NDArray[np.float32]) -> dict[str, Any]:
        levels = _percentiles(stacked)
        return {
            "unit": "1/sqrt(Hz)",
            "stretches": len(stacked),
            "frequency": listed(self._bands.grid.frequencies),
            **{
                product: {
                    f"p{level}": listed(levels[place, row])
                    for place, level in enumerate(PERCENTILES)
                }
                for row, product in enumerate(PRODUCTS)
            },
        }

    def _coupling(self, name: str, stacked: NDArray[np.float32], counted: float) -> dict[str, Any]:
        parts = [part.couplings[name] for part in self._parts]
        reasons: Counter[str] = sum((part.reasons for part in parts), Counter())
        config = self._opened.config.couplings[name]
        return {
            "bands": [list(band) for band in config.bands],
            "witnesses": list(self._couplings[name].witnesses),
            "versions": sorted({v for part in parts for v in part.versions}),
            "duty_cycle": rounded(sum(part.clean for part in parts) / counted),
            "reasons": dict(sorted(reasons.items())),
            "asd_ratio": {product: self._ratio(name, product, stacked) for product in CLEANED},
            "coherence": self._coherence(name),
            "residual": self._residual(name),
        }

    def _ratio(self, name: str, product: str, stacked: NDArray[np.float32]) -> dict[str, Any]:
        """Return the ratios over the whole span, and the worst of any 8 s."""
        bins = self._bands.bins[name]
        typical = np.median(stacked, axis=0).astype(np.float64)
        ratio = typical[PRODUCTS.index(product)] / typical[0]
        inside = ratio[self._bands.grid.cells(bins.inside)]
        guard = ratio[self._bands.grid.cells(bins.guard)]
        outside = self._row(name, f"{product}_outside")
        worst = self._row(name, f"{product}_in_band_highest")
        return {
            "in_band": rounded(inside.mean()),
            "worst_bin": rounded(inside.max()),
            "guard": rounded(guard.mean() if len(guard) else 1.0),
            "outside": rounded(_median(outside)),
            "worst_8s": rounded(np.nanmax(worst) if np.isfinite(worst).any() else np.nan),
        }

    def _coherence(self, name: str) -> dict[str, Any]:
        cross = self._cross[name]
        witnesses = self._couplings[name].witnesses
        before, after = cross.coherence(BEFORE), cross.coherence(AFTER)
        near, inside = self._bands.near[name], self._bands.bins[name].inside
        limit = cross.linear_limit(BEFORE)
        mean = _finite_mean(limit[np.isin(near, inside)])
        return {
            "transforms": cross.count,
            "frequency": listed(near * WIDTH),
            "witnesses": {
                witness: {"RAW": listed(before[row]), "PRODUCTION": listed(after[row])}
                for row, witness in enumerate(witnesses)
            },
            "linear_limit": listed(limit),
            "linear_limit_after": listed(cross.linear_limit(AFTER)),
            "linear_limit_in_band": rounded(mean),
        }

    def _residual(self, name: str) -> dict[str, Any]:
        """Return how Gaussian the band is: whitened bin by bin, real and imaginary parts."""
        kept = [each for part in self._parts for each in part.couplings[name].quadratures]
        if len(kept) < 4:
            return {"transforms": len(kept)}
        streams = np.array(kept).swapaxes(0, 1).astype(np.complex128)
        found: dict[str, Any] = {"transforms": len(kept), "edges": listed(EDGES)}
        for product, spectra in zip(("RAW", "PRODUCTION"), streams, strict=True):
            power = np.abs(spectra) ** 2
            usual = np.median(power, axis=0) / np.log(2)
            whitened = spectra * np.sqrt(2 / np.where(usual > 0, usual, 1.0))
            parts = np.concatenate([whitened.real.ravel(), whitened.imag.ravel()])
            counts, _ = np.histogram(np.clip(parts, EDGES[0], EDGES[-1]), EDGES)
            mean = power.mean(axis=0)
            rayleigh = np.divide(
                power.std(axis=0), mean, out=np.full(len(mean), np.nan), where=mean > 0
            )
            spread = float(np.mean(parts**2))
            found[product] = {
                "histogram": counts.tolist(),
                "excess_kurtosis": rounded(np.mean(parts**4) / spread**2 - 3 if spread else np.nan),
                "rayleigh": listed(rayleigh),
                "rayleigh_mean": rounded(_finite_mean(rayleigh)),
            }
        return found

    def _row(self, name: str, row: str) -> Float64:
        return np.concatenate([part.couplings[name].rows[row] for part in self._parts])

    def _series(self) -> dict[str, Any]:
        cadence = self._sampling.cadence
        starts = np.concatenate(
            [part.start + cadence * np.arange(len(part.counted)) for part in self._parts]
        )
        names = next(iter(self._parts[0].couplings.values())).rows
        return {
            "cadence": cadence,
            "start": starts.tolist(),
            "counted": listed(np.concatenate([part.counted for part in self._parts])),
            "couplings": {
                name: {row: listed(self._row(name, row)) for row in names}
                for name in self._couplings
            },
        }


class Spectrogram:
    """Spectra against time, to be drawn.

    Args:
        starts: GPS seconds.
        frequencies: Hz.
        asd: shape `(times, 2, frequencies)`: before and after.
    """

    def __init__(
        self, starts: NDArray[np.int64], frequencies: Float64, asd: NDArray[np.float32]
    ) -> None:
        self.starts, self.frequencies, self.asd = starts, frequencies, asd


def _median(values: Float64) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else float("nan")


def _finite_mean(values: Float64) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _percentiles(stacked: NDArray[np.float32]) -> Float64:
    return np.asarray(np.percentile(stacked, PERCENTILES, axis=0), dtype=np.float64)
