"""Validation of a network on held-out data, which the engine cleans as it would at the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepclean.core.block import Block, CleanedBlock, Float64, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.spectra import (
    FFT_SECONDS,
    band_ratio,
    in_bands,
    transform,
    worst_outside,
)
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.train.data import SiteData, pieces

BEYOND_CHANCE = 3.0
"""Standard errors by which a model must beat no cleaning: one in 700 passes by chance."""

_LEAST = 2 * FFT_SECONDS
"""Shortest cleaned stretch in seconds; a shorter one has a single transform."""


@dataclass(frozen=True, slots=True)
class ValidationFigures:
    """The figures of cleaned held-out data.

    Args:
        asd_ratio: mean over in-band bins of cleaned over raw ASD; infinite if the network's output
            was not finite.
        worst_outside: the ratio that is farthest from 1, outside the bands and their transitions.
        seconds: duration of the cleaned data.
        gain_sigma: standard errors by which the cleaned strain is quieter than the raw one in the
            bands, paired segment by segment; negative if it is louder.
        gains: of each segment of 2 s, how much quieter it is (see `segment_gains`).
    """

    asd_ratio: float
    worst_outside: float
    seconds: int
    gain_sigma: float = 0.0
    gains: tuple[float, ...] = ()


def objection(figures: Mapping[str, float]) -> str:
    """Return why a model must not be put in force; empty if it may be.

    Args:
        figures: what its manifest says of its validation.
    """
    ratio, sigma = figures.get("asd_ratio"), figures.get("gain_sigma", 0.0)
    if ratio is None:
        return "its output is not finite"
    if sigma < BEYOND_CHANCE:
        return (
            f"it does not beat no cleaning beyond chance: ASD ratio {ratio:.4f} over "
            f"{figures.get('seconds', 0.0):.0f} s, {sigma:.1f} standard errors where "
            f"{BEYOND_CHANCE:.0f} are needed"
        )
    return ""


class HeldOut:
    """Data that the network is not trained on, as blocks for the engine.

    Args:
        site: the data.
        spans: fit data, whole GPS seconds.
        keep: whether to hold the blocks in memory, for repeated use.
    """

    def __init__(self, site: SiteData, spans: Sequence[Span], *, keep: bool) -> None:
        self._site, self._spans = site, tuple(spans)
        self._kept = [list(self._read(span)) for span in spans] if keep else None

    def stretches(self) -> Iterator[Iterable[Block]]:
        """Yield each stretch as consecutive blocks."""
        if self._kept is not None:
            yield from self._kept
        else:
            for span in self._spans:
                yield self._read(span)

    def _read(self, span: Span) -> Iterator[Block]:
        for part in pieces(span):
            block = self._site.read(part)
            if block is None:
                raise InputError(f"the data over {part} changed while it was read")
            yield block


def longest_parts(spans: Sequence[Span], limit: int) -> list[Span]:
    """Return `limit` nanoseconds of some spans, the longest spans first."""
    taken: list[Span] = []
    for span in sorted(spans, key=lambda span: -span.duration):
        if limit <= 0:
            break
        taken.append(Span(span.start, min(span.end, span.start + limit)))
        limit -= span.duration
    return taken


def engine_validation(
    settings: EngineSettings,
    coupling: Coupling,
    bands: Sequence[tuple[float, float]],
    guard: float,
    held_out: HeldOut,
) -> ValidationFigures:
    """Clean held-out data with the engine and compare it with the raw strain.

    Only data that the engine cleans at full gain count. The ends of a stretch, where history or
    look-ahead is missing, do not.

    Args:
        settings: settings of the site's engine.
        coupling: the coupling with the network to be judged.
        bands: `(low, high)` in Hz.
        guard: width in Hz beside each band that counts neither as inside nor as outside.
        held_out: the data.

    Raises:
        InputError: no stretch is long enough.
    """
    # The network is judged alone: a gate would hide its errors, and a forecast would add its own.
    settings = replace(settings, gate=None, forecast=None)
    rate = settings.strain_rate
    weights, inside, outside, gains = [], [], [], []
    broken = False
    for blocks in held_out.stretches():
        raw, cleaned, whole = _clean(Engine(settings, [coupling]), blocks, coupling.name)
        broken = broken or not whole
        if len(raw) >= _LEAST * rate:
            weights.append(len(raw))
            inside.append(band_ratio(cleaned, raw, rate, bands))
            outside.append(worst_outside(cleaned, raw, rate, bands, guard=guard))
            gains.append(segment_gains(raw, cleaned, rate, bands))
    if broken:
        return ValidationFigures(float("inf"), float("inf"), 0)
    if not weights:
        raise InputError(
            f"no held-out stretch leaves {_LEAST} s after the engine's history and look-ahead: "
            "give more data or a larger training.validation_fraction"
        )
    worst = max(outside, key=lambda ratio: abs(ratio - 1))
    every = np.concatenate(gains)
    return ValidationFigures(
        float(np.average(inside, weights=weights)),
        worst,
        sum(weights) // rate,
        significance(every),
        tuple(map(float, every)),
    )


def segment_gains(
    raw: Float64, cleaned: Float64, rate: int, bands: Sequence[tuple[float, float]]
) -> Float64:
    """Return how much quieter each segment of the cleaned strain is in the bands.

    A pair of one segment shares its noise, so the difference of the two logarithms tells of a
    small gain what the ratio of two averages, with its error of a percent, cannot.

    Args:
        raw: shape `(n,)`.
        cleaned: shape `(n,)`.
        rate: samples per second.
        bands: `(low, high)` in Hz.

    Returns:
        Mean over the bands' bins of `log(P_raw / P_cleaned)` of each whole segment of 2 s.
    """
    count = FFT_SECONDS * rate
    stop = max(high for _, high in bands) + 1 / FFT_SECONDS
    inside = None
    gains = []
    for start in range(0, len(raw) - count + 1, count):
        part = slice(start, start + count)
        before, after = (np.abs(transform(one[part], rate, stop)) for one in (raw, cleaned))
        if inside is None:
            frequencies = np.arange(len(before)) / FFT_SECONDS
            inside = in_bands(frequencies, bands, 1 / FFT_SECONDS, 0.0)
        gains.append(2 * np.mean(np.log(before[inside] / after[inside])))
    return np.array(gains)


def significance(gains: Float64) -> float:
    """Return the mean of some gains in units of its standard error; 0 where all are 0.

    >>> significance(np.array([1.0, 2.0, 3.0, 2.0])), significance(np.zeros(4))
    (4.898979485566356, 0.0)
    """
    if len(gains) < 2 or not gains.any():
        return 0.0
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    return float(np.mean(gains) / error) if error > 0 else float(np.sign(gains[0]) * np.inf)


def _clean(engine: Engine, blocks: Iterable[Block], coupling: str) -> tuple[Float64, Float64, bool]:
    """Return raw and cleaned strain where the gain is 1, and whether that is one piece."""
    cleaned: list[CleanedBlock] = []
    for block in blocks:
        cleaned += engine.push(block)
    cleaned += engine.release()
    gain = np.concatenate([block.estimates[coupling].gain for block in cleaned])
    raw = np.concatenate([_strain(block) for block in cleaned])
    clean = np.concatenate([c.cleaned for c in cleaned if c.cleaned is not None])
    full = np.flatnonzero(gain == 1)
    if len(full) == 0:
        return raw[:0], clean[:0], True
    cut = slice(full[0], full[-1] + 1)
    return raw[cut], clean[cut], len(full) == full[-1] + 1 - full[0]


def _strain(block: CleanedBlock) -> Float64:
    strain = block.source.strain
    assert isinstance(strain, Series)
    return np.asarray(strain.samples, dtype=np.float64)
