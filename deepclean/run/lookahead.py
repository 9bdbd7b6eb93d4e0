"""What waiting for the look-ahead buys: the same stretch cleaned with it and without, side by side.

Without it the last tenths of a second that a hop rests on are forecast (core.forecast). Lines and
slow motions can be, white noise cannot.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from deepclean.config import Config
from deepclean.config.settings import engine_settings
from deepclean.core.block import CleanedBlock, Float64
from deepclean.core.engine.engine import Engine
from deepclean.core.forecast import ForecastSettings
from deepclean.core.spectra import FFT_SECONDS, band_ratio, worst_outside
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import make_coupling
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.load import Model
from deepclean.run.cleaner import channels_of

_log = logging.getLogger(__name__)

STRETCH = 64 * NS
"""Of data on which `wait: auto` is decided."""

Pair = tuple[CleanedBlock, CleanedBlock]
"""The same block, cleaned with waiting and without."""

LIMIT = 1.01
"""What is left in the band without waiting over what is with it, up to which nobody waits."""


@dataclass(frozen=True, slots=True)
class LookaheadGain:
    """What waiting buys a coupling.

    Args:
        residual: ASD in the band cleaned without waiting over cleaned with it, mean over bins.
        outside: the same ratio outside all bands and their transitions, of the farthest bin from 1.
        seconds: of data that both were taken from.
    """

    residual: float
    outside: float
    seconds: int

    @property
    def worth(self) -> bool:
        """Whether `auto` waits for it."""
        return not self.residual <= LIMIT


def decided(
    config: Config, loaded: Mapping[str, Model], source: HistorySource, span: Span
) -> Config:
    """Return the configuration with every `wait: auto` decided on a stretch of data.

    Where some coupling waits the frame does, so all of them do. What cannot be measured waits.

    Args:
        config: as it was loaded.
        loaded: the models in force.
        source: has the data.
        span: no longer than `STRETCH` of it is used, from its start.
    """
    if config.wait != "auto":
        return config
    stretch = Span(span.start, min(span.end, span.start + STRETCH))
    try:
        found = lookahead_gain(config, loaded, source, stretch)
    except InputError as fault:
        _log.warning("wait: auto waits, for what that buys cannot be measured: %s", fault)
        return config.with_wait(1)
    chosen: Literal[0, 1] = 1 if any(each.worth for each in found.values()) else 0
    for name, each in found.items():
        said = "%s: what is left in the band without waiting, over what is left with it: %.4f, %d s"
        _log.info(said, name, each.residual, each.seconds)
    _log.info("wait: auto is %d", chosen)
    return config.with_wait(chosen)


def decided_live(config: Config, loaded: Mapping[str, Model]) -> Config:
    """Return what `decided` does on the newest data in the input's directories."""
    if config.wait != "auto":
        return config
    live, others = config.input.strain, config.input.witnesses
    try:
        strain = History([live.directory], description=live.description)
        witnesses = History([each.directory for each in others]) if others else strain
    except InputError as fault:
        _log.warning("wait: auto waits, for there is no data yet: %s", fault)
        return config.with_wait(1)
    end = strain.spans()[-1].end // NS * NS
    source = HistorySource(channels_of(config), strain, witnesses)
    return decided(config, loaded, source, Span(end - STRETCH, end))


def lookahead_gain(
    config: Config, loaded: Mapping[str, Model], source: HistorySource, span: Span
) -> dict[str, LookaheadGain]:
    """Return what waiting buys, by coupling, without gates.

    Args:
        config: with the couplings; whether they wait does not matter.
        loaded: their models.
        source: has the data.
        span: whole seconds.

    Raises:
        InputError: there are no `FFT_SECONDS` in one piece that both clean in full.
    """
    couplings = [make_coupling(config, name, loaded[name]) for name in config.enabled_couplings]
    waiting = replace(engine_settings(config), gate=None, forecast=None)
    hasty = replace(waiting, forecast=ForecastSettings())
    engines = Engine(waiting, couplings), Engine(hasty, couplings)
    needed = max((engine.needs(span) for engine in engines), key=lambda each: each.duration)
    runs: tuple[list[CleanedBlock], list[CleanedBlock]] = ([], [])
    for frame in source.frames(span, needed):
        for engine, run in zip(engines, runs, strict=True):
            run += [done for block in frame.blocks for done in engine.push(block)]
    pairs = _longest([pair for pair in zip(*runs, strict=False) if span.covers(pair[0].span)])
    seconds = sum(one.span.duration for one, _ in pairs) // NS
    if seconds < FFT_SECONDS:
        raise InputError(f"{span}: it is not cleaned in full for {FFT_SECONDS} s on end")
    before = np.concatenate([_samples(one) for one, _ in pairs])
    after = np.concatenate([_samples(one) for _, one in pairs])
    rate, bands = config.strain.rate, [band for each in couplings for band in each.bands]
    guard = max(coupling.bandpass.transition for coupling in config.enabled_couplings.values())
    outside = worst_outside(after, before, rate, bands, guard=guard)
    return {
        each.name: LookaheadGain(band_ratio(after, before, rate, each.bands), outside, seconds)
        for each in couplings
    }


def _longest(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the longest part without a gap in which all is cleaned in full, both ways."""
    best: list[Pair] = []
    part: list[Pair] = []
    for pair in pairs:
        whole = all(
            one.cleaned is not None and all((e.gain == 1).all() for e in one.estimates.values())
            for one in pair
        )
        part = [*part, pair] if whole else []
        best = max(best, part, key=len)
    return best


def _samples(block: CleanedBlock) -> Float64:
    assert block.cleaned is not None
    return block.cleaned
