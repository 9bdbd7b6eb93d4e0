"""Measurement of what a model does to held-out strain, second by second, as the engine gives it.

Spectra are those of the gate: Hann-windowed transforms of 2 s, one per second, whose powers are
averaged by the median. Only seconds in which the estimate is valid throughout count. What the model
leaves is measured of PRODUCTION, whatever its gate did; what the site would get, of OUT_DQ.

Two products are compared by the differences of the logarithms of a segment's powers: a pair of one
segment shares its noise, so the difference tells of a small gain what the ratio of two averages,
with its error of a percent, cannot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite

import numpy as np
from scipy import stats

from deepclean.core import reasons
from deepclean.core.block import CleanedBlock, Estimate, Float64, Series
from deepclean.core.filters.bandpass import Band
from deepclean.core.gate.cadence import SLOT
from deepclean.core.gate.measures import Quality
from deepclean.core.spectra import SEGMENT, Bins, density, median_bias, transform
from deepclean.core.time import NS, Span

_CHUNK = 64
"""Seconds whose full spectra are held: a median of each such stretch is kept."""

_LEAST = 3
"""Transforms that make a measurement: 4 s."""

_DECIDED = 1e6
"""Standard errors beyond which more say nothing; a manifest holds numbers."""

_RAW, _PRODUCTION, _OUT_DQ = range(3)

MEASURES = tuple(each.name for each in fields(Quality))
"""What a gate looks at (`core.block.Quality`)."""


@dataclass(frozen=True, slots=True)
class GateFigures:
    """What the site's gate did with a model.

    Args:
        seconds: over which it is judged: those with a valid estimate, from when on it may be open.
        open: share of them for which it was.
        closed: seconds for which it was not, by reason (core.reasons).
        quality: median of what it saw while it was closed; None where it never was.
    """

    seconds: int
    open: float
    closed: Mapping[str, float] = field(default_factory=dict)
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class ValidationFigures:
    """The figures of cleaned held-out data.

    Args:
        asd_ratio: mean over in-band bins of cleaned over raw ASD, without the gate; infinite if the
            network's output was not finite.
        worst_outside: the ratio that is farthest from 1, outside the bands and their transitions.
        seconds: duration of the cleaned data.
        gain_sigma: standard errors by which the cleaned strain is quieter than the raw one in the
            bands, paired segment by segment; negative if it is louder.
        asd_ratio_error: standard error of `asd_ratio`.
        out_dq_ratio: as `asd_ratio`, with the gate.
        gate: what the gate did; None where there is none.
        gains: `log(P_raw / P_cleaned)`, the mean over the bands, of each segment of 2 s.
        loudest: root mean square of the loudest sixteenth of a second of the estimate, strain,
            in the seconds that cleaning made better. A gate knows then how loud it may be.
    """

    asd_ratio: float
    worst_outside: float
    seconds: int
    gain_sigma: float = 0.0
    asd_ratio_error: float = 0.0
    out_dq_ratio: float = 1.0
    gate: GateFigures | None = None
    gains: tuple[float, ...] = ()
    loudest: float = 0.0

    def numbers(self) -> dict[str, float]:
        """Return the figures by name, as a manifest holds them: those that are finite."""
        found = {
            "asd_ratio": self.asd_ratio,
            "asd_ratio_error": self.asd_ratio_error,
            "worst_outside": self.worst_outside,
            "seconds": float(self.seconds),
            "gain_sigma": self.gain_sigma,
            "loudest": self.loudest,
        }
        if self.gate is not None:
            found["out_dq_ratio"] = self.out_dq_ratio
            found["gate_seconds"] = float(self.gate.seconds)
            found["gate_open"] = self.gate.open
            found |= {f"closed_{reason}": held for reason, held in self.gate.closed.items()}
            if self.gate.quality is not None:
                found |= {f"closed_{name}": getattr(self.gate.quality, name) for name in MEASURES}
        return {name: value for name, value in found.items() if isfinite(value)}


class HeldOutMeter:
    """Measures one model.

    Args:
        coupling: name of its coupling, the only one of its engine.
        bands: `(low, high)` in Hz.
        guard: width in Hz beside each band that counts neither as inside nor as outside.
        rate: of the strain, Hz.
    """

    def __init__(self, coupling: str, bands: Sequence[Band], guard: float, rate: int) -> None:
        self._coupling, self._rate = coupling, rate
        stop = 0.5 * rate - 0.5 * NS / SEGMENT
        self._bins = Bins(bands, guard, stop, SEGMENT)
        self._near = np.sort(self._bins.near)
        self._inside = np.flatnonzero(np.isin(self._near, self._bins.inside))
        self._stop = stop
        self._starts: list[int] = []
        self._powers: list[Float64] = []
        self._levels: list[float] = []
        self._chunk: list[Float64] = []
        self._medians = np.zeros((2, len(self._bins.outside)))
        self._seconds, self._broken = 0, False
        self._gated, self._judged, self._open = False, 0, 0.0
        self._closed: defaultdict[str, float] = defaultdict(float)
        self._seen: list[Quality] = []
        self._before: Float64 | None = None
        self._counted, self._settled = Span(0, 1), 0

    def begin(self, counted: Span, settled: int) -> None:
        """Begin a stretch.

        Args:
            counted: the span that counts.
            settled: GPS nanoseconds from which on the gate is judged.
        """
        self._counted, self._settled, self._before = counted, settled, None

    def push(self, blocks: Iterable[CleanedBlock]) -> None:
        """Measure cleaned blocks of one second each, in order."""
        for block in blocks:
            self._push(block)

    def figures(self) -> ValidationFigures | None:
        """Return the figures; None where there is too little data for any."""
        if self._broken:
            return ValidationFigures(float("inf"), float("inf"), 0)
        if len(self._starts) < _LEAST:
            return None
        powers = np.array(self._powers)
        ratios, official = (self._ratios(powers, product) for product in (_PRODUCTION, _OUT_DQ))
        gains = self._gains(powers[:, _RAW], powers[:, _PRODUCTION])
        # The mean of r_f has the error of the mean over f of r_f times that of log r_f.
        weighted = np.mean(ratios * gains / 2, axis=1)
        return ValidationFigures(
            asd_ratio=float(ratios.mean()),
            worst_outside=self._worst_outside(),
            seconds=self._seconds,
            gain_sigma=significance(gains.mean(axis=1)),
            asd_ratio_error=float(np.std(weighted, ddof=1) / np.sqrt(len(weighted)))
            if len(weighted) > 1
            else float("inf"),
            out_dq_ratio=float(official.mean()),
            gate=self._gate(),
            gains=tuple(gains.mean(axis=1).tolist()),
            loudest=self._loudest(powers),
        )

    def significance_over(self, other: HeldOutMeter) -> float:
        """Return by how many standard errors this model's OUT_DQ is quieter than another's.

        Segments in which either has no valid estimate do not count.
        """
        ours, theirs = (
            {s: p[_OUT_DQ] for s, p in zip(one._starts, one._powers, strict=True)}
            for one in (self, other)
        )
        common = [start for start in ours if start in theirs and start % 2 == 0]
        if not common:
            return 0.0
        quiet, loud = (np.array([held[s][self._inside] for s in common]) for held in (ours, theirs))
        return significance(np.mean(np.log(loud / quiet), axis=1))

    def spectra(self) -> tuple[Float64, Float64, Float64]:
        """Return frequencies in and beside the bands, and the ASD there, raw and PRODUCTION."""
        middle = np.median(np.array(self._powers), axis=0) / median_bias(len(self._powers))
        amplitude = np.sqrt(density(np.sqrt(middle), SEGMENT))
        return self._near * self._bins.width, amplitude[_RAW], amplitude[_PRODUCTION]

    def _push(self, block: CleanedBlock) -> None:
        strain = block.source.strain
        estimate = block.estimates.get(self._coupling)
        if not self._counted.covers(block.span) or estimate is None or block.products is None:
            self._before = None
            return
        assert isinstance(strain, Series)
        if {reasons.NONFINITE, reasons.MODEL_ERROR} & set(estimate.reasons):
            self._broken = True
        if not (estimate.ungated().gain == 1).all():
            self._before = None
            return
        if estimate.gate is not None:
            self._gated = True
            if block.span.start >= self._settled:
                self._judge_gate(estimate, estimate.gate)
        products = block.products
        now = np.array(
            [np.asarray(strain.samples, dtype=np.float64), products.production, products.out_dq]
        )
        self._seconds += 1
        if self._before is not None:
            slots = np.array_split(estimate.noise, NS // SLOT)
            self._levels.append(max(float(np.sqrt(np.mean(one**2))) for one in slots))
            self._measure(block.span.start // NS - 1, np.concatenate([self._before, now], axis=1))
        self._before = now

    def _judge_gate(self, estimate: Estimate, gate: Float64) -> None:
        """Note what the gate does in a second."""
        self._judged += 1
        opened = float(np.mean(gate == 1))
        self._open += opened
        if opened < 1:
            self._closed[_cause(estimate)] += 1 - opened
            if estimate.quality is not None and estimate.quality.finite:
                self._seen.append(estimate.quality)

    def _measure(self, start: int, products: Float64) -> None:
        """Add the transforms of two seconds, `(products, n)`, that begin at a GPS second."""
        powers = np.array([np.abs(transform(one, self._rate, self._stop)) ** 2 for one in products])
        self._starts.append(start)
        self._powers.append(powers[:, self._near])
        self._chunk.append(powers[: _PRODUCTION + 1, self._bins.outside])
        if len(self._chunk) == _CHUNK:
            self._medians += _CHUNK * np.median(self._chunk, axis=0)
            self._chunk.clear()

    def _ratios(self, powers: Float64, product: int) -> Float64:
        """Return a product's ASD ratio in each bin of the bands."""
        middle = np.median(powers[:, :, self._inside], axis=0)
        return np.asarray(np.sqrt(middle[product] / middle[_RAW]))

    def _gains(self, loud: Float64, quiet: Float64) -> Float64:
        """Return `log(P_loud / P_quiet)` in the bands, of segments that do not overlap."""
        apart = np.array(self._starts) % 2 == 0
        cut = np.ix_(apart, self._inside)
        return np.asarray(np.log(loud[cut] / quiet[cut]))

    def _loudest(self, powers: Float64) -> float:
        """Return the highest level of the estimate in a second that ends a better segment."""
        raw, cleaned = (powers[:, product][:, self._inside] for product in (_RAW, _PRODUCTION))
        better = np.mean(np.log(cleaned / raw), axis=1) < 0
        return float(np.max(np.array(self._levels)[better], initial=0.0))

    def _worst_outside(self) -> float:
        """Return the ASD ratio outside the bands that is farthest from 1."""
        raw, cleaned = self._medians + len(self._chunk) * (
            np.median(self._chunk, axis=0) if self._chunk else 0
        )
        ratio = np.sqrt(cleaned / raw)
        return float(ratio[np.argmax(np.abs(ratio - 1))])

    def _gate(self) -> GateFigures | None:
        if not self._gated:
            return None
        seen = np.array([[getattr(q, name) for name in MEASURES] for q in self._seen])
        quality = Quality(*map(float, np.median(seen, axis=0))) if len(seen) else None
        share = self._open / max(self._judged, 1)
        return GateFigures(self._judged, share, dict(self._closed), quality)


def _cause(estimate: Estimate) -> str:
    """Return why a gate is closed, in one word."""
    shut = [reason for reason in estimate.reasons if reason in reasons.OF_GATES]
    return shut[0] if shut else reasons.UNSETTLED


def significance(gains: Float64) -> float:
    """Return the mean of some gains in standard errors, as a Gaussian has them.

    Few gains say little of their own scatter, so their mean over its standard error has Student's
    distribution. What is returned has the same probability under a Gaussian. It is 0 where all
    gains are 0.

    >>> round(significance(np.array([1.0, 2.0, 3.0, 2.0])), 3), significance(np.zeros(4))
    (2.328, 0.0)
    """
    if len(gains) < 2 or not gains.any():
        return 0.0
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    mean = float(np.mean(gains))
    if not error > 0:
        return float(np.sign(mean)) * _DECIDED
    tail = stats.t.sf(abs(mean) / error, len(gains) - 1)
    return float(np.sign(mean)) * min(float(stats.norm.isf(tail)), _DECIDED)
