"""The witnesses beyond their last sample: when each is fitted, and from what it is forecast.

A prediction is fitted once in some seconds and used for every hop until the next fit, because the
fit costs ten times as much as the forecast. The instants of a witness's fits are fixed in GPS time,
and every witness has its own, so that hops cost about the same. So the forecast of a hop depends on
a bounded stretch of the witness's samples and on nothing else, however the stream was cut. A fit
rests on the samples up to the end of a hop and serves from the next hop on: nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from deepclean.core.block import Float64
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.state import FittedPredictor, WitnessInputs
from deepclean.core.filters.forecast import ForecastSettings, fit, forecast


class Past(NamedTuple):
    """What some witnesses are forecast from.

    Args:
        buffer: their samples at the rate at which they are forecast, a row for each.
        rate: that rate, Hz.
        since: for each witness, index of the first sample that a forecast may rest on.
        end: index of the first sample that has not come yet.
    """

    buffer: StreamBuffer
    rate: int
    since: Sequence[int]
    end: int


class Extrapolation:
    """Forecasts witnesses at the end of a hop.

    Args:
        settings: from what a witness is forecast, and how often it is fitted.
        hop: nanoseconds of a hop.
    """

    def __init__(self, settings: ForecastSettings, hop: int) -> None:
        self._settings, self._hop = settings, hop
        self._every = settings.hops_per_fit(hop)
        self._phases: dict[str, int] = {}

    def extended(self, inputs: WitnessInputs, past: Past, needed: tuple[int, int]) -> Float64:
        """Return a range of samples, with forecasts where none have come yet.

        Args:
            inputs: the witnesses, with their predictors. Those that rest on little are fitted.
            past: their samples.
            needed: the range, in indices at the rate of these.
        """
        (low, high), (buffer, _, since, end) = needed, past
        if high <= end:
            return buffer.read(low, high)
        for witness, good in zip(inputs.rows, since, strict=True):
            last, begin = inputs.predictors.get(witness), self._begin(past, good)
            # Soon after a gap a fit rests on little, so there are more: at the first hop, and
            # whenever twice as many samples are there as at the last fit.
            if last is None or last.begin < good or end - begin >= 2 * (last.stop - last.begin):
                self._fit(inputs, past, witness, begin)
        by_order: dict[int, list[str]] = {}
        for witness in inputs.rows:
            order = len(inputs.predictors[witness].predictor.weights)
            by_order.setdefault(order, []).append(witness)
        start = min(low, end - max(by_order))
        window = buffer.read(start, high)
        for order, witnesses in by_order.items():
            rows = [inputs.rows[witness] for witness in witnesses]
            predictors = [inputs.predictors[witness].predictor for witness in witnesses]
            known = window[rows, end - order - start : end - start]
            window[rows, end - start :] = forecast(predictors, known, high - end)
        return window[:, low - start :]

    def refit(self, inputs: WitnessInputs, past: Past, instant: int) -> None:
        """Fit the predictors for which it is time at the end of a hop, for the hops after it.

        Args:
            inputs: the witnesses, with their predictors.
            past: their samples up to the hop's end.
            instant: the hop's end, GPS nanoseconds.
        """
        for witness, good in zip(inputs.rows, past.since, strict=True):
            last = inputs.predictors.get(witness)
            if last is not None and last.stop < past.end and self._is_time(witness, instant):
                self._fit(inputs, past, witness, self._begin(past, good))

    def _fit(self, inputs: WitnessInputs, past: Past, witness: str, begin: int) -> None:
        """Fit the predictor of a witness to its samples from index `begin` on."""
        row = inputs.rows[witness]
        samples = past.buffer.read(begin, past.end, slice(row, row + 1))[0]
        predictor = fit(samples, self._settings.order(past.rate))
        inputs.predictors[witness] = FittedPredictor(predictor, begin, past.end)

    def _begin(self, past: Past, good: int) -> int:
        """Return the first index of what a predictor is fitted to, of what is good from `good`."""
        return min(max(good, past.end - self._settings.past(past.rate)), past.end)

    def _is_time(self, witness: str, instant: int) -> bool:
        """Return whether a hop that ends at an instant is one after which a witness is fitted.

        So the last fit is a function of the witness's samples of a bounded time.
        """
        # The remainder of a checksum spreads the fits of many witnesses evenly over the hops, and
        # is the same whichever other witnesses there are.
        if witness not in self._phases:
            self._phases[witness] = crc32(witness.encode()) % self._every
        return (instant // self._hop + self._phases[witness]) % self._every == 0
