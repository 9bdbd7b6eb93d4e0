"""The intake of the witnesses: they are checked sample by sample and brought to the model rate.

The witnesses of one rate lie beside one another in one buffer, so that they are checked, kept, read
and resampled together. Where a witness has no samples its row is zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np

from deepclean.core import reasons
from deepclean.core.block import Block, Float64, Series, WitnessFault
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.extrapolation import Extrapolation, Past
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.engine.state import StreamState, WitnessInputs
from deepclean.core.filters.resample import Resampler
from deepclean.core.nonfinite import all_finite, finite
from deepclean.core.time import NS, Span, index_at, index_from
from deepclean.core.witness_checks import ConstantRun, Run, clipped, frozen, resting

Miss = Callable[[str, int, int, str], None]
"""A function that is told of a witness without samples from one instant to another (GPS ns), with
the reason."""


class Resampled(NamedTuple):
    """Samples of witnesses at the model rate, in the witnesses' units.

    Args:
        samples: shape `(rows, n)`.
        rows: the row of each witness; one of zeros for all without input.
    """

    samples: Float64
    rows: Mapping[str, int]


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
        self._close: dict[int, int] = {}
        forecast = settings.forecast
        self._extrapolation = Extrapolation(forecast, settings.hop) if forecast else None

    def push(self, state: StreamState, block: Block, miss: Miss) -> tuple[WitnessFault, ...]:
        """Add the witnesses of a block to the input and return their faults in it.

        Args:
            state: the state with the input.
            block: the next block.
            miss: is told of every stretch without usable samples.
        """
        span, slowest = block.span, self._settings.resample.slowest_rate
        faults: dict[str, list[WitnessFault]] = {}
        by_rate: defaultdict[int, dict[str, Series]] = defaultdict(dict)
        for witness in self._witnesses:
            channel = block.witnesses.get(witness)
            if isinstance(channel, Series):
                if channel.rate >= slowest:
                    by_rate[channel.rate][witness] = channel
                    continue
                reason = reasons.BAD_RATE
            else:
                reason = reasons.MISSING if channel is None else channel.reason
            miss(witness, span.start, span.end, reason)
            state.good_since[witness] = span.end
            faults[witness] = [WitnessFault(witness, reason, span)]
        for rate, group in by_rate.items():
            faults |= self._add(state, rate, group, miss)
        if not faults:
            return ()
        return tuple(fault for name in self._witnesses for fault in faults.get(name, ()))

    def resample(self, state: StreamState, first: int, count: int) -> Resampled:
        """Return samples of every witness at the model rate.

        Args:
            state: the state with the input.
            first: index of the first sample at the model rate.
            count: the number of samples.
        """
        made = []
        for rate, inputs in state.inputs.items():
            resampler = self._resampler(rate)
            window = inputs.samples.view(*resampler.needs(first, count))
            made.append((inputs, resampler.apply(window, first, count)))
        return self._joined(made, count)

    def extrapolate(self, state: StreamState, first: int, count: int, instant: int) -> Resampled:
        """Return samples of every witness at the model rate, with forecasts after an instant.

        A witness is forecast at its own rate or, where that is faster, at the model rate.

        Args:
            state: the state with the input.
            first: index of the first sample at the model rate.
            count: the number of samples.
            instant: GPS nanoseconds up to which the witnesses are used.
        """
        assert self._extrapolation is not None
        joined = []
        for rate, inputs in state.inputs.items():
            resampler, fast = self._resampler(rate), self._is_fast(rate)
            if fast:
                self._slow(inputs, rate, instant)
            needed = (first, first + count) if fast else resampler.needs(first, count)
            past = self._past(state, rate, inputs, instant)
            made = self._extrapolation.extended(inputs, past, needed)
            joined.append((inputs, made if fast else resampler.apply(made, first, count)))
        return self._joined(joined, count)

    def refit(self, state: StreamState, instant: int) -> None:
        """Fit the forecasts for which it is time at the end of a hop (GPS nanoseconds)."""
        assert self._extrapolation is not None
        for rate, inputs in state.inputs.items():
            past = self._past(state, rate, inputs, instant)
            self._extrapolation.refit(inputs, past, instant)

    def _past(self, state: StreamState, rate: int, inputs: WitnessInputs, instant: int) -> Past:
        """Return what the witnesses of a rate are forecast from at an instant."""
        # Nothing of a former rate is good.
        good = [state.good_since[w] if state.rates[w] == rate else instant for w in inputs.rows]
        if not self._is_fast(rate):
            since = [index_from(one, rate) for one in good]
            return Past(inputs.samples, rate, since, index_at(instant, rate))
        # A sample at the model rate rests on the filter's half-length either side. So samples are
        # known to a half-length before the instant (`end`), and are good from a half-length after
        # the input is.
        model_rate, end = self._settings.model_rate, self._slow_end(rate, instant)
        late = index_at(instant, model_rate) - end
        since = [index_from(one, model_rate) + late for one in good]
        return Past(inputs.slow, model_rate, since, end)

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
            instant: end of the last hop, GPS nanoseconds, to which forecasts may yet be fitted.
        """
        settings, model_rate = self._settings.forecast, self._settings.model_rate
        for rate, inputs in list(state.inputs.items()):
            low, _ = self._resampler(rate).needs(first, count)
            if settings and self._is_fast(rate):
                past = self._slow_end(rate, instant) - settings.past(model_rate)
                inputs.slow.drop_before(min(first, past))
            elif settings:
                low = min(low, index_at(instant, rate) - settings.past(rate))
            inputs.samples.drop_before(low)
            if not inputs.samples and not inputs.slow:
                del state.inputs[rate]

    def skip(self, state: StreamState, instant: int) -> None:
        """Note that the input was interrupted up to an instant (GPS nanoseconds)."""
        state.good_since = dict.fromkeys(self._witnesses, instant)

    def _joined(self, made: Sequence[tuple[WitnessInputs, Float64]], count: int) -> Resampled:
        """Return `count` samples of every witness, from those of the inputs of each rate."""
        samples = np.concatenate([*(rows for _, rows in made), np.zeros((1, count))])
        zeros = len(samples) - 1
        rows = dict.fromkeys(self._witnesses, zeros)
        for row, witness in enumerate(name for inputs, _ in made for name in inputs.rows):
            if rows[witness] == zeros:
                rows[witness] = row
            else:
                # After a change of rate a witness has two inputs, each zero in the other's time.
                samples[rows[witness]] += samples[row]
        return Resampled(samples, rows)

    def _is_fast(self, rate: int) -> bool:
        """Return whether inputs of a rate are forecast at the model rate, which is below it."""
        return rate > self._settings.model_rate

    def _slow(self, inputs: WitnessInputs, rate: int, instant: int) -> None:
        """Bring one more hop of fast witnesses, up to an instant, to the model rate."""
        # Their past at the model rate is kept, so that it is resampled only once.
        hop, end = self._settings.hop_model, self._slow_end(rate, instant)
        resampler = self._resampler(rate)
        window = inputs.samples.view(*resampler.needs(end - hop, hop))
        inputs.slow.append(end - hop, resampler.apply(window, end - hop, hop))

    def _slow_end(self, rate: int, instant: int) -> int:
        """Return the index at the model rate up to which a fast witness is known at an instant."""
        half = ceil(self._resampler(rate).half_length * self._settings.model_rate)
        return index_at(instant, self._settings.model_rate) - half

    def _add(
        self, state: StreamState, rate: int, group: Mapping[str, Series], miss: Miss
    ) -> dict[str, list[WitnessFault]]:
        """Add the witnesses of one rate to the input and return their faults, by witness.

        Args:
            state: the state with the input.
            rate: samples per second.
            group: the witnesses, all over one span.
            miss: is told of every stretch without usable samples.
        """
        span = next(iter(group.values())).span
        inputs = state.inputs[rate] = _with_rows(state.inputs.get(rate), group)
        first, stop = span.indices(rate)
        pieces = [series.samples for series in group.values()]
        samples = np.concatenate(pieces, dtype=np.float64).reshape(len(pieces), stop - first)
        if list(group) != list(inputs.rows):
            rows = [inputs.rows[witness] for witness in group]
            given, samples = samples, np.zeros((len(inputs.rows), stop - first))
            samples[rows] = given
        for witness in [one for one in group if state.rates.setdefault(one, rate) != rate]:
            # No filter spans a change of rate, so an empty gap stands there: the filters' reach
            # makes it as wide as they are.
            miss(witness, span.start, span.start, reasons.BAD_RATE)
            state.good_since[witness] = span.start
            state.rates[witness] = rate
            state.constant.pop(witness, None)
        faults: dict[str, list[WitnessFault]] = {}
        for witness, reason, (low, high) in self._unusable(state, inputs, group, samples, first):
            # A bad sample is missing at its instant, not until the next one: the gap is from the
            # first bad sample to a nanosecond after the last.
            start, end = low * NS // rate, (high - 1) * NS // rate + 1
            miss(witness, start, end, reason)
            state.good_since[witness] = max(state.good_since[witness], end)
            faults.setdefault(witness, []).append(WitnessFault(witness, reason, Span(start, end)))
        if np.count_nonzero(samples[:, 0]) < len(samples):
            silent = {name for name, row in inputs.rows.items() if not samples[row].any()}
            for witness in silent & group.keys() - faults.keys():
                faults[witness] = [WitnessFault(witness, reasons.ZERO, span)]
        inputs.samples.append(first, samples)
        inputs.last, inputs.stop = samples[:, -1].copy(), stop
        return faults

    def _unusable(
        self,
        state: StreamState,
        inputs: WitnessInputs,
        group: Mapping[str, Series],
        samples: Float64,
        first: int,
    ) -> Iterator[tuple[str, str, Run]]:
        """Yield the runs of samples that cannot be used, with the witness and the reason.

        Args:
            state: the state, which keeps the run with which a witness that stands still ends.
            inputs: the inputs, which say the row of each witness and keep its last sample.
            group: the witnesses.
            samples: shape `(rows, n)`; zeros are put where they are not finite.
            first: index of the first sample.
        """
        rate = next(iter(group.values())).rate
        limits, close = self._settings.witness.limits, self._close_at(rate)
        duration = self._settings.witness.frozen
        if duration is None or samples.shape[1] > duration * rate // NS:
            still = np.full(len(samples), duration is not None)
        else:
            still = resting(samples, inputs.last if inputs.stop == first else None)
        whole = all_finite(samples)
        if whole and not limits and not np.count_nonzero(still):
            return  # the usual case
        for witness, series in group.items():
            row = inputs.rows[witness]
            if not whole:
                samples[row], bad = finite(samples[row], close)
                yield from (
                    (witness, reasons.NONFINITE_WITNESS, (first + low, first + high))
                    for low, high in bad
                )
            if still[row] and duration is not None:
                held = state.constant.get(witness)
                if inputs.stop == first and (held is None or held.end != first):
                    held = ConstantRun(float(inputs.last[row]), first - 1, first)
                runs, state.constant[witness] = frozen(series.samples, first, rate, duration, held)
                for run in runs:
                    yield witness, reasons.FROZEN, run
            if (limit := limits.get(witness)) is not None:
                for run in clipped(samples[row], first, limit, close):
                    yield witness, reasons.CLIPPED, run

    def _close_at(self, rate: int) -> int:
        """Return how many samples may lie between two gaps of a witness that count as one."""
        # A gap spoils the estimate for `lookahead` either side at least. So what lies between two
        # gaps that are no farther apart is spoilt too: they are one gap. A noisy witness that clips
        # at every other sample would have thousands a second.
        if rate not in self._close:
            self._close[rate] = int(self._settings.resample.lookahead * rate)
        return self._close[rate]

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


def _with_rows(inputs: WitnessInputs | None, witnesses: Iterable[str]) -> WitnessInputs:
    """Return the inputs of a rate with a row for each of some witnesses."""
    if inputs is None:
        inputs = WitnessInputs({}, StreamBuffer(0), StreamBuffer(0))
    more = [witness for witness in witnesses if witness not in inputs.rows]
    if not more:
        return inputs
    rows = {witness: row for row, witness in enumerate([*inputs.rows, *more])}
    return WitnessInputs(
        rows,
        inputs.samples.widened(len(rows)),
        inputs.slow.widened(len(rows)),
        inputs.predictors,
        np.append(inputs.last, np.zeros(len(more))),
        inputs.stop,
    )
