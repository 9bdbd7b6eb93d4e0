"""What comes in of the witnesses: judged sample by sample, and brought to the model rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Block, Float64, Gap, Samples, Series, WitnessFault
from deepclean.core.finite import finite
from deepclean.core.plan import EngineSettings
from deepclean.core.resample import Resampler
from deepclean.core.state import EngineState
from deepclean.core.time import NS, Span, index_at
from deepclean.core.track import Track
from deepclean.core.witness import Run, clipped, frozen

Miss = Callable[[str, int, int, str], None]
"""Is told of a witness that has no samples from one instant to another (GPS ns), and why."""


class Intake:
    """Takes in the witnesses of an engine.

    Args:
        settings: of the engine.
        witnesses: channel names.
    """

    def __init__(self, settings: EngineSettings, witnesses: Sequence[str]) -> None:
        self._settings = settings
        self._witnesses = witnesses
        self._resamplers: dict[int, Resampler] = {}

    def take(self, state: EngineState, block: Block, miss: Miss) -> tuple[WitnessFault, ...]:
        """Add the witnesses of a block to the input; return what is wrong with them there."""
        return tuple(f for name in self._witnesses for f in self._take(state, name, block, miss))

    def resample(self, state: EngineState, first: int, count: int) -> dict[str, Float64]:
        """Return `count` samples from `first` at the model rate of every witness."""
        total = dict.fromkeys(self._witnesses, np.zeros(count))
        by_rate: dict[int, list[str]] = {}
        for witness, rate in state.inputs:
            by_rate.setdefault(rate, []).append(witness)
        for rate, witnesses in by_rate.items():
            resampler = self._resampler(rate)
            low, high = resampler.needs(first, count)
            inputs = np.concatenate([state.inputs[w, rate].read(low, high) for w in witnesses])
            for witness, row in zip(witnesses, resampler.apply(inputs, first, count), strict=True):
                # Where a rate changed, each rate's track is zero in the other's time.
                total[witness] = total[witness] + row
        return total

    def forget(self, state: EngineState, first: int, count: int) -> None:
        """Drop what no sample from `first` on needs; `count` of them are asked for at a time."""
        for (witness, rate), track in list(state.inputs.items()):
            low, _ = self._resampler(rate).needs(first, count)
            track.drop_before(low)
            if len(track) == 0:
                del state.inputs[witness, rate]

    def _take(
        self, state: EngineState, witness: str, block: Block, miss: Miss
    ) -> list[WitnessFault]:
        span = block.span
        channel = block.witnesses.get(witness, Gap(span, reasons.MISSING))
        if isinstance(channel, Series) and channel.rate < self._settings.resample.slowest_rate:
            channel = Gap(span, reasons.BAD_RATE)
        if isinstance(channel, Gap):
            miss(witness, span.start, span.end, channel.reason)
            return [WitnessFault(witness, channel.reason, span)]
        rate = channel.rate
        if state.rates.setdefault(witness, rate) != rate:
            # The rate changed: no filter spans the seam, which has no length of its own.
            miss(witness, span.start, span.start, reasons.BAD_RATE)
            state.rates[witness] = rate
            state.held.pop(witness, None)
        first = index_at(span.start, rate)
        samples, bad = finite(channel.samples)
        unusable = {
            reasons.NONFINITE_WITNESS: [(first + low, first + high) for low, high in bad],
            reasons.FROZEN: self._frozen(state, witness, channel, first),
            reasons.CLIPPED: self._clipped(witness, samples, first),
        }
        faults = []
        for reason, runs in unusable.items():
            for low, high in runs:
                # A sample stands at an instant: from the first bad one to just after the last.
                start, end = low * NS // rate, (high - 1) * NS // rate + 1
                miss(witness, start, end, reason)
                faults.append(WitnessFault(witness, reason, Span(start, end)))
        if samples[0] == 0 and not faults and not samples.any():
            faults.append(WitnessFault(witness, reasons.ZERO, span))
        state.inputs.setdefault((witness, rate), Track(1)).append(first, samples[None])
        return faults

    def _frozen(self, state: EngineState, witness: str, channel: Series, first: int) -> list[Run]:
        duration = self._settings.witness.frozen
        if duration is None:
            return []
        runs, state.held[witness] = frozen(
            channel.samples, first, channel.rate, duration, state.held.get(witness)
        )
        return runs

    def _clipped(self, witness: str, samples: Samples, first: int) -> list[Run]:
        limit = self._settings.witness.limits.get(witness)
        return [] if limit is None else clipped(samples, first, limit)

    def _resampler(self, rate: int) -> Resampler:
        if rate not in self._resamplers:
            resample = self._settings.resample
            self._resamplers[rate] = Resampler(
                rate,
                self._settings.model_rate,
                zeros=resample.zeros,
                max_delay=resample.max_delay,
                attenuation=resample.attenuation,
            )
        return self._resamplers[rate]
