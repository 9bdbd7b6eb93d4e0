"""The effect of waiting for the look-ahead: one stretch cleaned with and without waiting.

Without waiting, the last tenths of a second that a hop depends on are forecast
(`core.filters.forecast`). Lines and slow motions can be forecast, white noise cannot.
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
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.spectra import FFT_SECONDS, band_ratio, worst_outside
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.factory import make_coupling
from deepclean.io.catalogue import Directory
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.models.model import Model

_log = logging.getLogger(__name__)

STRETCH = 64 * NS
"""Nanoseconds of data on which `wait: auto` is decided."""

Pair = tuple[CleanedBlock, CleanedBlock]
"""The same block, cleaned with waiting and without."""

LIMIT = 1.01
"""Largest ratio of the residuals in the band, without over with waiting, without a wait."""


@dataclass(frozen=True, slots=True)
class LookaheadGain:
    """The effect of waiting on one coupling.

    Args:
        residual: ratio of the ASDs in the band, cleaned without over with waiting, mean over bins.
        outside: the same ratio at the bin farthest from 1 outside all bands and transitions.
        seconds: duration of the data.
    """

    residual: float
    outside: float
    seconds: int

    @property
    def worth(self) -> bool:
        """Whether `auto` waits for this coupling."""
        return not self.residual <= LIMIT


def decided(
    config: Config, loaded: Mapping[str, Model], source: HistorySource, span: Span
) -> Config:
    """Return the configuration with every `wait: auto` decided on a stretch of data.

    A frame waits if one coupling waits, so all couplings then wait. If the effect cannot be
    measured, the frame waits.

    Args:
        config: the loaded configuration.
        loaded: the models in force.
        source: the data.
        span: at most `STRETCH` of it is used, from its start.
    """
    if config.wait != "auto":
        return config
    stretch = Span(span.start, min(span.end, span.start + STRETCH))
    try:
        found = lookahead_gain(config, loaded, source, stretch)
    except InputError as fault:
        _log.warning("wait: auto waits, because its effect cannot be measured: %s", fault)
        return config.with_wait(1)
    chosen: Literal[0, 1] = 1 if any(each.worth for each in found.values()) else 0
    for name, each in found.items():
        said = "%s: residual in the band, without over with waiting: %.4f, over %d s"
        _log.info(said, name, each.residual, each.seconds)
    _log.info("wait: auto is %d", chosen)
    return config.with_wait(chosen)


def decided_live(config: Config, loaded: Mapping[str, Model]) -> Config:
    """Return the configuration as `decided` on the newest data in the input's directories."""
    if config.wait != "auto":
        return config
    if config.input.strain.directory is None:
        _log.warning("wait: auto waits, for no files say what it costs (input.strain.directory)")
        return config.with_wait(1)
    live, others = config.input.strain_frames, config.input.witnesses
    try:
        strain = History([live.directory], description=live.description)
        places = [Directory(each.directory, each.description) for each in others]
        witnesses = History(places) if places else strain
    except InputError as fault:
        _log.warning("wait: auto waits, because there are no data yet: %s", fault)
        return config.with_wait(1)
    end = strain.spans()[-1].end // NS * NS
    source = HistorySource(channels_of(config), strain, witnesses)
    return decided(config, loaded, source, Span(end - STRETCH, end))


def lookahead_gain(
    config: Config, loaded: Mapping[str, Model], source: HistorySource, span: Span
) -> dict[str, LookaheadGain]:
    """Return the effect of waiting by coupling, without gates.

    Args:
        config: the configuration of the couplings; its `wait` is ignored.
        loaded: their models.
        source: the data.
        span: whole seconds.

    Raises:
        InputError: no piece of `FFT_SECONDS` is cleaned in full both ways.
    """
    couplings = [make_coupling(config, name, loaded[name]) for name in config.enabled_couplings]
    waiting = replace(engine_settings(config), gate=None, forecast=None)
    forecasting = replace(waiting, forecast=ForecastSettings())
    engines = Engine(waiting, couplings), Engine(forecasting, couplings)
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
    """Return the longest part without a gap that is cleaned in full both ways."""
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
