"""The intake of the witnesses: they are checked sample by sample and brought to the model rate."""

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
"""A witness and the rate of its samples in Hz."""

Range = tuple[int, int]
"""A half-open range of sample indices."""

Miss = Callable[[str, int, int, str], None]
"""A function that is told of a witness without samples from one instant to another (GPS ns), with
the reason."""


class Intake:
    """Takes in the witnesses of an engine.

    Args:
        settings: the engine's settings.
        witnesses: the channel names.
    """

    def __init__(self, settings: EngineSettings, witnesses: Sequence[str]) -> None:
        self._settings = settings
        self._witnesses = witnesses
        self._resamplers: dict[int, Resampler] = {}
        self._spoilt: dict[int, int] = {}

    def push(self, state: StreamState, block: Block, miss: Miss) -> tuple[WitnessFault, ...]:
        """Add the witnesses of a block to the input and return their faults in it.

        Args:
            state: the state with the input.
            block: the next block.
            miss: is told of every stretch without usable samples.
        """
        return tuple(f for name in self._witnesses for f in self._add(state, name, block, miss))

    def resample(self, state: StreamState, first: int, count: int) -> dict[str, Float64]:
        """Return samples of every witness at the model rate.

        Args:
            state: the state with the input.
            first: index of the first sample at the model rate.
            count: the number of samples.

        Returns:
            The samples by witness, each of shape `(count,)`, in the witness's unit.
        """
        return self._resample_each(
            state.inputs, first, count, lambda key, needed: state.inputs[key].read(*needed)[0]
        )

    def extrapolate(
        self, state: StreamState, first: int, count: int, instant: int
    ) -> dict[str, Float64]:
        """Return samples of every witness at the model rate, with forecasts after an instant.

        A witness is forecast at its own rate or, where that is faster, at the model rate.

        Args:
            state: the state with the input.
            first: index of the first sample at the model rate.
            count: the number of samples.
            instant: GPS nanoseconds up to which the witnesses are used.

        Returns:
            The samples by witness, each of shape `(count,)`, in the witness's unit.
        """

        def extended(key: Key, needed: Range) -> Float64:
            since, end = index_from(sound(key), key[1]), index_at(instant, key[1])
            return self._extended(state.inputs[key], key[1], needed, since, end)

        def sound(key: Key) -> int:
            """Return the instant from which on an input is good; nothing of a former rate is."""
            return state.good_since[key[0]] if state.rates[key[0]] == key[1] else instant

        rate, fast = self._settings.model_rate, [k for k in state.inputs if self._is_fast(k)]
        slow = [key for key in state.inputs if key not in fast]
        total = self._resample_each(slow, first, count, extended)
        for key in fast:
            # A sample at the model rate rests on the filter's half-length either side. So samples
            # are known to a half-length before the instant (`end`), and are good from a half-length
            # after the input is.
            slowed, end = self._slow(state, key, instant)
            since = index_from(sound(key), rate) + index_at(instant, rate) - end
            row = self._extended(slowed, rate, (first, first + count), since, end)
            total[key[0]] = total[key[0]] + row
        return total

    def uncertain(self, state: StreamState, instant: int) -> list[str]:
        """Return the witnesses that have samples, but not for long enough to be forecast."""
        assert self._settings.forecast is not None
        least = self._settings.forecast.least
        return [w for w in self._witnesses if 0 < instant - state.good_since[w] < least]

    def trim(self, state: StreamState, first: int, count: int, instant: int) -> None:
        """Drop the input that no later hop needs.

        Args:
            state: the state with the input.
            first: index at the model rate of the first sample of the next hop's witnesses.
            count: the number of samples that a hop needs.
            instant: GPS nanoseconds from which on the next hop's witnesses are forecast.
        """
        settings, model_rate = self._settings.forecast, self._settings.model_rate
        lowest = {rate: self._resampler(rate).needs(first, count)[0] for _, rate in state.inputs}
        for (witness, rate), buffer in list(state.inputs.items()):
            low = lowest[rate]
            if settings and not self._is_fast((witness, rate)):
                low = min(low, index_at(instant, rate) - settings.past(rate))
            buffer.drop_before(low)
            if len(buffer) == 0:
                del state.inputs[witness, rate]
        for key, buffer in list(state.decimated.items()):
            assert settings is not None
            past = self._slow_end(key[1], instant) - settings.past(model_rate)
            buffer.drop_before(min(first, past))
            if len(buffer) == 0:
                del state.decimated[key]

    def skip(self, state: StreamState, instant: int) -> None:
        """Note that the input was interrupted up to an instant (GPS nanoseconds)."""
        state.good_since = dict.fromkeys(self._witnesses, instant)

    def _resample_each(
        self, keys: Iterable[Key], first: int, count: int, read: Callable[[Key, Range], Float64]
    ) -> dict[str, Float64]:
        """Return every witness at the model rate, with zeros for a witness without input.

        Args:
            keys: the inputs to resample; those of one rate are resampled in one call.
            first: index of the first sample at the model rate.
            count: the number of samples.
            read: returns a range of an input.
        """
        total: dict[str, Float64] = {}
        by_rate: dict[int, list[str]] = {}
        for witness, rate in keys:
            by_rate.setdefault(rate, []).append(witness)
        for rate, witnesses in by_rate.items():
            resampler = self._resampler(rate)
            needed = resampler.needs(first, count)
            inputs = np.stack([read((witness, rate), needed) for witness in witnesses])
            for witness, row in zip(witnesses, resampler.apply(inputs, first, count), strict=True):
                # After a change of rate a witness has two inputs, each zero in the other's time.
                total[witness] = total[witness] + row if witness in total else row
        for witness in self._witnesses:
            if witness not in total:
                total[witness] = np.zeros(count)
        return total

    def _extended(
        self, buffer: StreamBuffer, rate: int, needed: Range, since: int, end: int
    ) -> Float64:
        """Return a range of a stream, with forecasts where it has no samples yet.

        Args:
            buffer: the stream.
            rate: samples per second.
            needed: the range.
            since: index of the first sample that a forecast may rest on.
            end: index of the first sample that has not come yet.
        """
        assert self._settings.forecast is not None
        low, high = needed
        known = buffer.read(low, min(high, end))[0]
        since = max(since, end - self._settings.forecast.past(rate))
        past = buffer.read(min(since, end), end)[0]
        order = self._settings.forecast.order(rate)
        return np.concatenate([known, forecast(past, max(high - end, 0), order)])

    def _is_fast(self, key: Key) -> bool:
        """Return whether an input is forecast at the model rate, which is below its own."""
        return key[1] > self._settings.model_rate

    def _slow(self, state: StreamState, key: Key, instant: int) -> tuple[StreamBuffer, int]:
        """Bring one more hop of a fast witness to the model rate; return the stream and its end."""
        # Its past at the model rate is kept, so that it is resampled only once.
        hop, end = self._settings.hop_model, self._slow_end(key[1], instant)
        buffer = state.decimated.setdefault(key, StreamBuffer(1))
        resampler = self._resampler(key[1])
        window = state.inputs[key].read(*resampler.needs(end - hop, hop))
        buffer.append(end - hop, resampler.apply(window, end - hop, hop))
        return buffer, end

    def _slow_end(self, rate: int, instant: int) -> int:
        """Return the index at the model rate up to which a fast witness is known at an instant."""
        half = ceil(self._resampler(rate).half_length * self._settings.model_rate)
        return index_at(instant, self._settings.model_rate) - half

    def _add(
        self, state: StreamState, witness: str, block: Block, miss: Miss
    ) -> list[WitnessFault]:
        """Add one witness of a block to the input and return its faults in it."""
        span = block.span
        channel = block.witnesses.get(witness) or Gap(span, reasons.MISSING)
        if isinstance(channel, Series) and channel.rate < self._settings.resample.slowest_rate:
            channel = Gap(span, reasons.BAD_RATE)
        if isinstance(channel, Gap):
            miss(witness, span.start, span.end, channel.reason)
            state.good_since[witness] = span.end
            return [WitnessFault(witness, channel.reason, span)]
        rate = channel.rate
        if state.rates.setdefault(witness, rate) != rate:
            # No filter spans a change of rate, so an empty gap stands there: the filters' reach
            # makes it as wide as they are.
            miss(witness, span.start, span.start, reasons.BAD_RATE)
            state.good_since[witness] = span.start
            state.rates[witness] = rate
            state.constant.pop(witness, None)
        first = index_at(span.start, rate)
        close = self._close(rate)
        samples, bad = finite(channel.samples, close)
        unusable = {
            reasons.NONFINITE_WITNESS: [(first + low, first + high) for low, high in bad],
            reasons.FROZEN: self._frozen(state, witness, channel, first),
            reasons.CLIPPED: self._clipped(witness, samples, first, close),
        }
        faults = []
        for reason, runs in unusable.items():
            for low, high in runs:
                # A bad sample is missing at its instant, not until the next one: the gap is from
                # the first bad sample to a nanosecond after the last.
                start, end = low * NS // rate, (high - 1) * NS // rate + 1
                miss(witness, start, end, reason)
                state.good_since[witness] = max(state.good_since[witness], end)
                faults.append(WitnessFault(witness, reason, Span(start, end)))
        if samples[0] == 0 and not faults and not samples.any():
            faults.append(WitnessFault(witness, reasons.ZERO, span))
        state.inputs.setdefault((witness, rate), StreamBuffer(1)).append(first, samples[None])
        return faults

    def _close(self, rate: int) -> int:
        """Return how many samples may lie between two gaps of a witness that count as one."""
        # A gap spoils the estimate for `lookahead` either side at least. So what lies between two
        # gaps that are no farther apart is spoilt too: they are one gap. A noisy witness that clips
        # at every other sample would have thousands a second.
        if rate not in self._spoilt:
            self._spoilt[rate] = int(self._settings.resample.lookahead * rate)
        return self._spoilt[rate]

    def _frozen(self, state: StreamState, witness: str, channel: Series, first: int) -> list[Run]:
        """Return the runs of frozen samples, and keep the run with which the channel ends."""
        duration = self._settings.witness.frozen
        if duration is None:
            return []
        runs, state.constant[witness] = frozen(
            channel.samples, first, channel.rate, duration, state.constant.get(witness)
        )
        return runs

    def _clipped(self, witness: str, samples: Samples, first: int, close: int) -> list[Run]:
        """Return the runs of clipped samples; there are none without a limit."""
        limit = self._settings.witness.limits.get(witness)
        return [] if limit is None else clipped(samples, first, limit, close)

    def _resampler(self, rate: int) -> Resampler:
        """Return the filter from `rate` (Hz) to the model rate, which is made once."""
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
