"""The shards of a run combined into the numbers of its report, as the JSON has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepclean.core.block import Float64
from deepclean.core.output.segments import intersection
from deepclean.core.spectra import CrossSpectra
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.models.manifest import MANIFEST, Manifest
from deepclean.models.model import Model
from deepclean.validate import spectra as rows_of
from deepclean.validate.json_numbers import listed, rounded, seconds
from deepclean.validate.measure import CLEANED, CouplingBins
from deepclean.validate.seconds import PRODUCTS
from deepclean.validate.shard_result import Sampling, ShardResult, add_gap
from deepclean.validate.shards import OpenRun
from deepclean.validate.spectra import WIDTH, WITNESSES, Spectrogram, linear_limit

PERCENTILES = (5, 50, 95)

EDGES = np.linspace(-6.0, 6.0, 121)
"""Edges of the histogram in standard deviations. Values beyond count in the outermost cells."""


class Summary:
    """Combines the shards of one run of a validation.

    Args:
        opened: the run.
        sampling: how much is kept of each shard.
        counting: the requested time.
    """

    def __init__(self, opened: OpenRun, sampling: Sampling, counting: Sequence[Span]) -> None:
        self._opened, self._sampling, self._counting = opened, sampling, counting
        engine = opened.engine()
        self._bands = CouplingBins(engine, opened.config.gate.guard)
        self._couplings = {c.name: c for c in engine.versions.production}
        self._left_out: Counter[str] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._clean = 0.0
        self._shards: list[ShardResult] = []
        self._cross_spectra: dict[str, CrossSpectra] = {}

    def add(self, shard: ShardResult) -> None:
        """Add the result of the next shard, in order of time."""
        self._left_out += shard.left_out
        self._faults += shard.faults
        self._clean += shard.clean
        for name, coupling in shard.couplings.items():
            if name in self._cross_spectra:
                self._cross_spectra[name].merge(coupling.cross_spectra)
            else:
                self._cross_spectra[name] = coupling.cross_spectra
            # Only the sum is kept, to bound the memory.
            coupling.cross_spectra = CrossSpectra.empty(0, 0)
        self._shards.append(shard)

    def figures(self) -> dict[str, Any]:
        """Return the numbers of the run, as the JSON has them.

        Raises:
            InputError: no stretch of 8 s counts.
        """
        counted = sum(float(shard.counted.sum()) for shard in self._shards)
        spectra = [spectrum for shard in self._shards for spectrum in shard.spectra]
        if not spectra:
            left = ", ".join(f"{why} {n} s" for why, n in sorted(self._left_out.items()))
            raise InputError(
                f"no 8 s of the requested time can be judged{f': left out {left}' if left else ''}"
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
            "unread": sorted(set().union(*(shard.unread for shard in self._shards))),
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
        cells = self._bands.cells.index(near)
        starts = [start for shard in self._shards for start in shard.starts]
        spectra = [spectrum[:2, cells] for shard in self._shards for spectrum in shard.spectra]
        return Spectrogram(np.array(starts), near * WIDTH, np.array(spectra))

    def _provenance(self, model: Model) -> dict[str, Any]:
        """Return a model's version, hash and training data, and how much of the time is new to it.

        Training data of the versions that it was fine-tuned from does not count.
        """
        path = model.path / MANIFEST
        training: tuple[tuple[int, int], ...] = ()
        if path.is_file():  # a training directory of deepcleanv2 has no manifest
            training = Manifest.parse(path.read_bytes(), path).training
        found = {"version": model.version, "sha256": model.hash}
        if not training:
            return {**found, "trained_on": None, "unseen": None}
        spans = [Span(start, end) for start, end in training]
        seen = sum(span.duration for span in intersection(self._counting, spans))
        share = seen / sum(span.duration for span in self._counting)
        return {
            **found,
            "trained_on": [seconds(span) for span in spans],
            "unseen": rounded(1 - share),
        }

    def _gaps(self) -> list[list[int | str]]:
        gaps: list[tuple[int, int, str]] = []
        for shard in self._shards:
            for start, end, reason in shard.gaps:
                add_gap(gaps, start, end, reason)
        return [list(gap) for gap in gaps]

    def _range(self) -> dict[str, Any]:
        starts = [start for shard in self._shards for start, _ in shard.ranges]
        found = [each for shard in self._shards for _, each in shard.ranges]
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
        levels = np.asarray(np.percentile(stacked, PERCENTILES, axis=0), dtype=np.float64)
        return {
            "unit": "1/sqrt(Hz)",
            "stretches": len(stacked),
            "frequency": listed(self._bands.cells.frequencies),
            **{
                product: {
                    f"p{level}": listed(levels[place, row])
                    for place, level in enumerate(PERCENTILES)
                }
                for row, product in enumerate(PRODUCTS)
            },
        }

    def _coupling(self, name: str, stacked: NDArray[np.float32], counted: float) -> dict[str, Any]:
        shards = [shard.couplings[name] for shard in self._shards]
        reasons: Counter[str] = sum((shard.reasons for shard in shards), Counter())
        config = self._opened.config.couplings[name]
        return {
            "bands": [list(band) for band in config.bands],
            "witnesses": list(self._couplings[name].witnesses),
            "versions": sorted({v for shard in shards for v in shard.versions}),
            "duty_cycle": rounded(sum(shard.clean for shard in shards) / counted),
            "reasons": dict(sorted(reasons.items())),
            "asd_ratio": {product: self._ratio(name, product, stacked) for product in CLEANED},
            "coherence": self._coherence(name),
            "residual": self._residual(name),
        }

    def _ratio(self, name: str, product: str, stacked: NDArray[np.float32]) -> dict[str, Any]:
        """Return the ratios over the whole span, and the highest ratio of any 8 s."""
        bins, cells = self._bands.bins[name], self._bands.cells
        typical = np.median(stacked, axis=0).astype(np.float64)
        ratio = typical[PRODUCTS.index(product)] / typical[0]
        inside = ratio[cells.index(bins.inside)]
        guard = ratio[cells.index(bins.guard)]
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
        spectra = self._cross_spectra[name]
        witnesses = self._couplings[name].witnesses
        before, after = spectra.coherence(rows_of.RAW), spectra.coherence(rows_of.CLEANED)
        near, inside = self._bands.near[name], self._bands.bins[name].inside
        limit = linear_limit(spectra, rows_of.RAW)
        mean = _finite_mean(limit[np.isin(near, inside)])
        return {
            "transforms": spectra.count,
            "frequency": listed(near * WIDTH),
            "witnesses": {
                witness: {"RAW": listed(before[row]), "PRODUCTION": listed(after[row])}
                for row, witness in enumerate(witnesses, start=WITNESSES)
            },
            "linear_limit": listed(limit),
            "linear_limit_after": listed(linear_limit(spectra, rows_of.CLEANED)),
            "linear_limit_in_band": rounded(mean),
        }

    def _residual(self, name: str) -> dict[str, Any]:
        """Return the distribution of the band's transforms, compared with a Gaussian.

        Real and imaginary parts are whitened bin by bin.
        """
        kept = [each for shard in self._shards for each in shard.couplings[name].quadratures]
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
        return np.concatenate([shard.couplings[name].rows[row] for shard in self._shards])

    def _series(self) -> dict[str, Any]:
        cadence = self._sampling.cadence
        starts = np.concatenate(
            [shard.start + cadence * np.arange(len(shard.counted)) for shard in self._shards]
        )
        names = next(iter(self._shards[0].couplings.values())).rows
        return {
            "cadence": cadence,
            "start": starts.tolist(),
            "counted": listed(np.concatenate([shard.counted for shard in self._shards])),
            "couplings": {
                name: {row: listed(self._row(name, row)) for row in names}
                for name in self._couplings
            },
        }


def _median(values: Float64) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else float("nan")


def _finite_mean(values: Float64) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")
