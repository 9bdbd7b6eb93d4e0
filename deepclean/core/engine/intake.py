"""What comes in of the witnesses: judged sample by sample, and brought to the model rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Block, Float64, Gap, Samples, Series, WitnessFault
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.engine.state import StreamState
from deepclean.core.forecast import forecast
from deepclean.core.nonfinite import finite
from deepclean.core.resample import Resampler
from deepclean.core.time import NS, Span, index_at, index_from
from deepclean.core.witness_checks import Run, clipped, frozen

Key = tuple[str, int]
"""A witness and the rate of its samples, Hz."""

Range = tuple[int, int]
"""Sample indices, half-open."""

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

    def push(self, state: StreamState, block: Block, miss: Miss) -> tuple[WitnessFault, ...]:
        """Add the witnesses of a block to the input; return what is wrong with them there."""
        return tuple(f for name in self._witnesses for f in self._take(state, name, block, miss))

    def resample(self, state: StreamState, first: int, count: int) -> dict[str, Float64]:
        """Return `count` samples from `first` at the model rate of every witness."""
        return self._together(
            state.inputs, first, count, lambda key, needed: state.inputs[key].read(*needed)[0]
        )

    def extrapolate(
        self, state: StreamState, first: int, count: int, instant: int
    ) -> dict[str, Float64]:
        """Return `count` samples from `first` at the model rate, as far as known at an instant.

        What depends on samples after that is forecast, at the witness's rate or, where that is
        faster, at the model rate.

        Args:
            state: with the input.
            first: index.
            count: of samples.
            instant: GPS nanoseconds, up to which the witnesses are used.
        """

        def foreseen(key: Key, needed: Range) -> Float64:
            since, end = index_from(sound(key), key[1]), index_at(instant, key[1])
            return self._extended(state.inputs[key], key[1], needed, since, end)

        def sound(key: Key) -> int:
            return state.good_since[key[0]] if state.rates[key[0]] == key[1] else instant

        rate, fast = self._settings.model_rate, [k for k in state.inputs if self._is_fast(k)]
        slow = [key for key in state.inputs if key not in fast]
        total = self._together(slow, first, count, foreseen)
        for key in fast:
            slowed, end = self._slow(state, key, instant)
            since = index_from(sound(key), rate) + index_at(instant, rate) - end
            row = self._extended(slowed, rate, (first, first + count), since, end)
            total[key[0]] = total[key[0]] + row
        return total

    def uncertain(self, state: StreamState, instant: int) -> list[str]:
        """Return the witnesses that are there, but not for long enough to be forecast."""
        assert self._settings.forecast is not None
        least = self._settings.forecast.least
        return [w for w in self._witnesses if 0 < instant - state.good_since[w] < least]

    def trim(self, state: StreamState, first: int, count: int, instant: int) -> None:
        """Drop what no later hop needs.

        Args:
            state: with the input.
            first: index at the model rate of the next sample that is asked for.
            count: how many of them, at a time.
            instant: up to which they may be forecast then, GPS nanoseconds.
        """
        settings, model_rate = self._settings.forecast, self._settings.model_rate
        for (witness, rate), track in list(state.inputs.items()):
            low, _ = self._resampler(rate).needs(first, count)
            if settings and not self._is_fast((witness, rate)):
                low = min(low, index_at(instant, rate) - settings.past(rate))
            track.drop_before(low)
            if len(track) == 0:
                del state.inputs[witness, rate]
        for key, track in list(state.decimated.items()):
            assert settings is not None
            past = self._slow_end(key[1], instant) - settings.past(model_rate)
            track.drop_before(min(first, past))
            if len(track) == 0:
                del state.decimated[key]

    def skip(self, state: StreamState, instant: int) -> None:
        """Note that there was no input up to an instant (GPS nanoseconds)."""
        state.good_since = dict.fromkeys(self._witnesses, instant)

    def _together(
        self, keys: Iterable[Key], first: int, count: int, read: Callable[[Key, Range], Float64]
    ) -> dict[str, Float64]:
        """Resample inputs, those of one rate in one call; zeros for a witness without one.

        Args:
            keys: of the inputs.
            first: index at the model rate.
            count: of samples.
            read: gives a range of an input.
        """
        total = dict.fromkeys(self._witnesses, np.zeros(count))
        by_rate: dict[int, list[str]] = {}
        for witness, rate in keys:
            by_rate.setdefault(rate, []).append(witness)
        for rate, witnesses in by_rate.items():
            resampler = self._resampler(rate)
            needed = resampler.needs(first, count)
            inputs = np.stack([read((witness, rate), needed) for witness in witnesses])
            for witness, row in zip(witnesses, resampler.apply(inputs, first, count), strict=True):
                # Where a rate changed, each rate's track is zero in the other's time.
                total[witness] = total[witness] + row
        return total

    def _extended(
        self, track: StreamBuffer, rate: int, needed: Range, since: int, end: int
    ) -> Float64:
        """Return a range of a stream, forecast where it is not there yet.

        Args:
            track: the stream.
            rate: Hz.
            needed: the range.
            since: index of the first sample that a forecast may rest on.
            end: index of the first sample that is not there.
        """
        assert self._settings.forecast is not None
        low, high = needed
        known = track.read(low, min(high, end))[0]
        since = max(since, end - self._settings.forecast.past(rate))
        past = track.read(min(since, end), end)[0]
        order = self._settings.forecast.order(rate)
        return np.concatenate([known, forecast(past, max(high - end, 0), order)])

    def _is_fast(self, key: Key) -> bool:
        """Return whether an input is forecast at the model rate, which is below its own."""
        return key[1] > self._settings.model_rate

    def _slow(self, state: StreamState, key: Key, instant: int) -> tuple[StreamBuffer, int]:
        """Bring one more hop of a fast witness to the model rate; return all, and its end."""
        hop, end = self._settings.hop_model, self._slow_end(key[1], instant)
        track = state.decimated.setdefault(key, StreamBuffer(1))
        resampler = self._resampler(key[1])
        window = state.inputs[key].read(*resampler.needs(end - hop, hop))
        track.append(end - hop, resampler.apply(window, end - hop, hop))
        return track, end

    def _slow_end(self, rate: int, instant: int) -> int:
        """Return the index at the model rate up to which a fast witness is known."""
        half = ceil(self._resampler(rate).half_length * self._settings.model_rate)
        return index_at(instant, self._settings.model_rate) - half

    def _take(
        self, state: StreamState, witness: str, block: Block, miss: Miss
    ) -> list[WitnessFault]:
        span = block.span
        channel = block.witnesses.get(witness, Gap(span, reasons.MISSING))
        if isinstance(channel, Series) and channel.rate < self._settings.resample.slowest_rate:
            channel = Gap(span, reasons.BAD_RATE)
        if isinstance(channel, Gap):
            miss(witness, span.start, span.end, channel.reason)
            state.good_since[witness] = span.end
            return [WitnessFault(witness, channel.reason, span)]
        rate = channel.rate
        if state.rates.setdefault(witness, rate) != rate:
            # The rate changed: no filter spans the seam, which has no length of its own.
            miss(witness, span.start, span.start, reasons.BAD_RATE)
            state.good_since[witness] = span.start
            state.rates[witness] = rate
            state.constant.pop(witness, None)
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
                state.good_since[witness] = max(state.good_since[witness], end)
                faults.append(WitnessFault(witness, reason, Span(start, end)))
        if samples[0] == 0 and not faults and not samples.any():
            faults.append(WitnessFault(witness, reasons.ZERO, span))
        state.inputs.setdefault((witness, rate), StreamBuffer(1)).append(first, samples[None])
        return faults

    def _frozen(self, state: StreamState, witness: str, channel: Series, first: int) -> list[Run]:
        duration = self._settings.witness.frozen
        if duration is None:
            return []
        runs, state.constant[witness] = frozen(
            channel.samples, first, channel.rate, duration, state.constant.get(witness)
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
