"""The witnesses beyond their last sample: when each is fitted, and from what it is forecast.

A prediction is fitted once in some seconds and used for every hop until the next fit, because the
fit costs ten times as much as the forecast. The instants of a witness's fits are fixed in GPS time,
and every witness has its own, so that hops cost about the same. So the forecast of a hop depends on
a bounded stretch of the witness's samples and on nothing else, however the stream was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from deepclean.core.block import Float64
from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.state import FittedPredictor, WitnessInputs
from deepclean.core.filters.forecast import ForecastSettings, fit, forecast


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

    def extended(
        self,
        inputs: WitnessInputs,
        buffer: StreamBuffer,
        rate: int,
        needed: tuple[int, int],
        since: Sequence[int],
        end: int,
        instant: int,
    ) -> Float64:
        """Return a range of samples, with forecasts where none have come yet.

        Args:
            inputs: the witnesses, with their predictors, which are fitted anew where it is time.
            buffer: their samples at the rate at which they are forecast, a row for each.
            rate: that rate, Hz.
            needed: the range, in indices at that rate.
            since: for each witness, index of the first sample that a forecast may rest on.
            end: index of the first sample that has not come yet.
            instant: the end of the hop, GPS nanoseconds.
        """
        low, high = needed
        if high <= end:
            return buffer.read(low, high)
        self._fit(inputs, buffer, rate, since, end, instant)
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

    def _fit(
        self,
        inputs: WitnessInputs,
        buffer: StreamBuffer,
        rate: int,
        since: Sequence[int],
        end: int,
        instant: int,
    ) -> None:
        """Fit the predictors for which it is time; the arguments are those of `extended`."""
        longest, order = self._settings.past(rate), self._settings.order(rate)
        for (witness, row), good in zip(inputs.rows.items(), since, strict=True):
            begin, last = min(max(good, end - longest), end), inputs.predictors.get(witness)
            # Soon after a gap a fit rests on little, so there are more: at the first hop, and
            # whenever twice as many samples are there as at the last fit.
            if (
                last is None
                or last.begin < good
                or end - begin >= 2 * (last.stop - last.begin)
                or self._is_time(witness, instant)
            ):
                past = buffer.read(begin, end, slice(row, row + 1))[0]
                inputs.predictors[witness] = FittedPredictor(fit(past, order), begin, end)

    def _is_time(self, witness: str, instant: int) -> bool:
        """Return whether a hop that ends at an instant is one at which a witness is always fitted.

        So the last fit is a function of the witness's samples of a bounded time.
        """
        # The remainder of a checksum spreads the fits of many witnesses evenly over the hops, and
        # is the same whichever other witnesses there are.
        if witness not in self._phases:
            self._phases[witness] = crc32(witness.encode()) % self._every
        return (instant // self._hop + self._phases[witness]) % self._every == 0
