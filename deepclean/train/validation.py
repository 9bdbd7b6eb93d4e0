"""Validation of a network on held-out data, which the engine cleans as it would at the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepclean.core.block import Block, CleanedBlock, Float64, Series
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.spectra import FFT_SECONDS, band_ratio, worst_outside
from deepclean.core.time import Span
from deepclean.errors import InputError
from deepclean.train.data import SiteData, pieces

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
    """

    asd_ratio: float
    worst_outside: float
    seconds: int


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
    weights, inside, outside = [], [], []
    broken = False
    for blocks in held_out.stretches():
        raw, cleaned, whole = _clean(Engine(settings, [coupling]), blocks, coupling.name)
        broken = broken or not whole
        if len(raw) >= _LEAST * rate:
            weights.append(len(raw))
            inside.append(band_ratio(cleaned, raw, rate, bands))
            outside.append(worst_outside(cleaned, raw, rate, bands, guard=guard))
    if broken:
        return ValidationFigures(float("inf"), float("inf"), 0)
    if not weights:
        raise InputError(
            f"no held-out stretch leaves {_LEAST} s after the engine's history and look-ahead: "
            "give more data or a larger training.validation_fraction"
        )
    worst = max(outside, key=lambda ratio: abs(ratio - 1))
    return ValidationFigures(
        float(np.average(inside, weights=weights)), worst, sum(weights) // rate
    )


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
