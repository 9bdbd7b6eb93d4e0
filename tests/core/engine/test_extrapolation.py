"""Witnesses beyond their last sample: when they are fitted, and on what a forecast depends."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deepclean.core.buffer import StreamBuffer
from deepclean.core.engine.extrapolation import Extrapolation, Past
from deepclean.core.engine.state import WitnessInputs
from deepclean.core.filters.forecast import ForecastSettings, fit, forecast
from deepclean.core.time import NS

RATE = 64

SETTINGS = ForecastSettings(memory=8 * NS)

LONGEST = 8 * RATE

HOPS = 40

Forecasts = dict[int, NDArray[np.float64]]


def samples(names: Sequence[str], seconds: int = HOPS) -> NDArray[np.float64]:
    """Return a stream of each name: a line and noise."""
    time = np.arange(seconds * RATE) / RATE
    rows = []
    for name in names:
        rng = np.random.default_rng(len(name))
        rows.append(np.sin(2 * np.pi * len(name) * time) + 0.3 * rng.standard_normal(len(time)))
    return np.array(rows)


def run(
    names: Sequence[str], begin: int = 0, good: int = 0, hop: int = NS, back: int = HOPS + 1
) -> tuple[Forecasts, dict[int, list[str]]]:
    """Forecast the first name's next 20 samples at the end of every hop.

    Args:
        names: the witnesses.
        begin: the second at which the stream begins.
        good: the second from which on the first witness is good.
        hop: nanoseconds of a hop.
        back: the second from which on the first witness is good after a gap of a second.

    Returns:
        By the index after the hop: the forecasts, and which witnesses were fitted.
    """
    inputs = WitnessInputs(dict(zip(names, range(len(names)), strict=True)), *_buffers(len(names)))
    extrapolation, data, count = Extrapolation(SETTINGS, hop), samples(names), hop * RATE // NS
    ahead: Forecasts = {}
    fitted: dict[int, list[str]] = {}
    for end in range(begin * RATE + count, HOPS * RATE + 1, count):
        inputs.samples.append(end - count, data[:, end - count : end])
        first = max(begin, good) * RATE
        if end > (back - 1) * RATE:
            first = min(back * RATE, end)
        since = [first, *[begin * RATE] * (len(names) - 1)]
        before = dict(inputs.predictors)
        past = Past(inputs.samples, RATE, since, end)
        window = extrapolation.extended(inputs, past, (end - 4, end + 20))
        extrapolation.refit(inputs, past, end * NS // RATE)
        assert (window[:, :4] == data[:, end - 4 : end]).all()
        ahead[end] = window[0, 4:]
        fitted[end] = [w for w in names if inputs.predictors[w] is not before.get(w)]
    return ahead, fitted


def _buffers(rows: int) -> tuple[StreamBuffer, StreamBuffer]:
    return StreamBuffer(rows), StreamBuffer(rows)


@pytest.mark.parametrize("hop", [NS, NS // 16])
def test_a_forecast_depends_on_the_witness_and_a_bounded_past_alone(hop: int) -> None:
    whole, _ = run(["MAINS"], hop=hop)
    # The memory, and the hops for which a fit is used.
    reach = LONGEST + SETTINGS.hops_per_fit(hop) * hop * RATE // NS
    for other in (
        run(["MAINS", "B", "SEISMIC"], hop=hop),
        run(["MAINS"], begin=9, hop=hop),
        run(["MAINS", "B"], good=13, hop=hop),
    ):
        later = [end for end in other[0] if end >= 13 * RATE + reach]
        assert len(later) > 10
        for end in later:
            assert other[0][end].tobytes() == whole[end].tobytes()


@pytest.mark.parametrize("hop", [NS, NS // 16])
def test_each_witness_is_fitted_at_its_own_hops(hop: int) -> None:
    names = ["A" * n for n in range(1, 30)]
    _, fitted = run(names, hop=hop)
    every = SETTINGS.hops_per_fit(hop)
    assert every == 4 * NS // hop
    count = hop * RATE // NS
    usual = [fitted[end] for end in range(20 * RATE, HOPS * RATE, count)]
    for period in range(len(usual) // every):
        inside = usual[period * every : (period + 1) * every]
        assert sorted(name for some in inside for name in some) == names
    assert max(len(some) for some in usual) < len(names) / 2


def test_after_a_gap_a_fit_follows_whenever_twice_as_much_is_there() -> None:
    _, fitted = run(["MAINS"], back=20)
    after = [end // RATE - 20 for end in fitted if fitted[end] and end > 20 * RATE]
    fixed = [second for second in after if (second - after[-1]) % 4 == 0]
    assert set(after) >= {1, 2}
    assert set(after) - {1, 2, 4, 8} <= set(fixed)
    # Nothing from before the gap is used.
    ahead, _ = run(["MAINS"], back=20)
    data = samples(["MAINS"])[0]
    past = data[20 * RATE : 21 * RATE]
    predictor = fit(past, SETTINGS.order(RATE))
    order = len(predictor.weights)
    assert (ahead[21 * RATE] == forecast([predictor], past[None, -order:], 20)[0]).all()


def test_a_witness_without_samples_is_zero() -> None:
    ahead, _ = run(["MAINS"], good=30)
    assert (ahead[29 * RATE] == 0).all()
