"""Forecasts of a witness: the Yule-Walker prediction, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz

from deepclean.core.filters.forecast import (
    ForecastSettings,
    LinearPredictor,
    _recursion,
    _transforms,
    fit,
)
from deepclean.core.filters.forecast import forecast as forecast_all
from deepclean.core.time import NS

RIDGE = 1e-5


def forecast(past: NDArray[np.float64], count: int, order: int) -> NDArray[np.float64]:
    """Return the samples that are expected after one witness's past."""
    predictor = fit(past, order)
    known = past[len(past) - len(predictor.weights) :]
    return np.asarray(forecast_all([predictor], known[None], count)[0])


def by_hand(past: NDArray[np.float64], count: int, order: int) -> NDArray[np.float64]:
    """Solve the whole equations, then predict one sample after the other."""
    centred = past - past.mean()
    lags = [np.dot(centred[: len(centred) - lag], centred[lag:]) for lag in range(order + 1)]
    matrix = np.array([[lags[abs(i - j)] for j in range(order)] for i in range(order)])
    matrix += RIDGE * lags[0] * np.eye(order)
    weights = np.linalg.solve(matrix, lags[1:])
    known = list(centred)
    for _ in range(count):
        known.append(float(np.dot(weights, known[: -order - 1 : -1])))
    return np.asarray(np.array(known[len(past) :]) + past.mean())


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    length=st.integers(40, 400),
    count=st.integers(1, 120),
    order=st.integers(1, 60),
    offset=st.sampled_from([0.0, 3.0, -1e4]),
)
def test_forecast_is_linear(seed: int, length: int, count: int, order: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    past = offset + np.sin(0.7 * np.arange(length)) + rng.standard_normal(length)
    expected = by_hand(past, count, min(order, length // 4))
    assert np.abs(forecast(past, count, order) - expected).max() < 1e-8


def test_line_goes_on() -> None:
    time = np.arange(16 * 512 + 256) / 512
    line = 2.0 + np.sin(2 * np.pi * 60.3 * time)
    ahead = forecast(line[: 16 * 512], 256, 128)
    assert np.abs(ahead - line[16 * 512 :])[:128].max() < 0.02
    assert np.abs(ahead - line[16 * 512 :]).max() < 0.05


def test_slow_motion_goes_on_for_a_quarter_of_a_second() -> None:
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.standard_normal(16 * 300))
    frequencies = np.fft.rfftfreq(16 * 300, 1 / 16)
    motion = np.fft.irfft(spectrum * np.exp(-((frequencies / 0.5) ** 2)))
    errors = [
        forecast(motion[: 16 * end], 4, 16) - motion[16 * end : 16 * end + 4]
        for end in range(20, 280)
    ]
    assert np.std(errors) < 0.1 * motion.std()


def test_what_cannot_be_known_is_the_mean() -> None:
    past = 5.0 + np.random.default_rng(0).standard_normal(8192)
    ahead = forecast(past, 400, 128)
    assert np.abs(ahead - 5.0).max() < 0.5
    assert np.abs(ahead[-50:] - past.mean()).max() < 0.02


@pytest.mark.parametrize("value", [0.0, 7.5])
@pytest.mark.parametrize("length", [1, 3, 100])
def test_constant_stays(value: float, length: int) -> None:
    assert (forecast(np.full(length, value), 5, 16) == value).all()


def test_nothing_known_is_zero() -> None:
    assert (forecast(np.zeros(0), 3, 16) == 0).all()
    assert forecast(np.ones(10), 0, 2).shape == (0,)


def test_longer_forecast_begins_with_the_shorter() -> None:
    past = np.random.default_rng(2).standard_normal(500)
    assert (forecast(past, 90, 50)[:40] == forecast(past, 40, 50)).all()


@pytest.mark.parametrize(("order", "count"), [(1, 1), (16, 10), (50, 90), (128, 700), (512, 1450)])
def test_the_recursion_is_that_of_its_definition(order: int, count: int) -> None:
    rng = np.random.default_rng(order)
    past = 5 * np.sin(np.arange(4 * order + 8)) + rng.standard_normal(4 * order + 8)
    correlation = np.correlate(past, past, "full")[len(past) - 1 :]
    weights = solve_toeplitz(correlation[:order], correlation[1 : order + 1])
    known = list(past[-order:])
    for _ in range(count):
        known.append(float(weights @ known[: -order - 1 : -1]))
    found = _recursion(_transforms(weights)[None], past[None, -order:], count)[0]
    assert np.abs(found - known[order:]).max() <= 1e-9 * np.abs(past).max()


def test_bounds_in_samples() -> None:
    default = ForecastSettings()
    assert [default.order(rate) for rate in (16, 256, 512, 2048, 4096)] == [16, 64, 128, 512, 512]
    assert [default.past(rate) for rate in (16, 512, 4096)] == [256, 8192, 32768]
    assert ForecastSettings(memory=NS // 2, terms=NS).past(512) == 256


@pytest.mark.parametrize("scale", [1e-300, 1e-162, 1e-21, 1e21, 1e162, 1e300])
def test_no_amplitude_is_too_small_or_too_great(scale: float) -> None:
    past = np.sin(2 * np.pi * 60 * np.arange(4096) / 512)
    expected = forecast(past, 64, 128)
    assert np.allclose(forecast(scale * past, 64, 128) / scale, expected, rtol=0, atol=1e-6)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(2, 40),
    order=st.integers(1, 80),
    count=st.integers(1, 200),
)
def test_the_bits_do_not_depend_on_which_others_are_beside(
    seed: int, rows: int, order: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    past = rng.lognormal(0, 8, (rows, 1)) * (rng.standard_normal((rows, 4 * order)) + 3)
    predictors = [fit(row, order) for row in past]
    known = past[:, 3 * order :]
    together = forecast_all(predictors, known, count)
    chosen = np.flatnonzero(rng.random(rows) < 0.5).tolist() or [0]
    for some in ([0], [rows - 1], chosen, chosen[::-1]):
        found = forecast_all([predictors[row] for row in some], known[some], count)
        assert found.tobytes() == together[some].tobytes()


def test_a_predictor_goes_on_from_any_samples() -> None:
    """One of a line's phase and amplitude serves for every other."""
    time = np.arange(16 * 512) / 512
    predictor = fit(np.sin(2 * np.pi * 60.3 * time), 128)
    later = (np.arange(128 + 64) + 4321) / 512
    line = 5 * np.cos(2 * np.pi * 60.3 * later)
    ahead = forecast_all([predictor], line[None, :128], 64)[0]
    assert np.abs(ahead - line[128:]).max() < 5 * 0.02


def test_an_exact_recursion_is_followed() -> None:
    """x[t] = x[t - 1] - x[t - 2] has the period 6, about any mean."""
    predictor = LinearPredictor(10.0, np.array([1.0, -1.0]))
    ahead = forecast_all([predictor], np.array([[12.0, 13.0]]), 12)[0]
    # It does not decay, so each of the calls into the transforms wraps 1e-9 of it.
    assert np.abs(ahead - np.tile([11.0, 8.0, 7.0, 9.0, 12.0, 13.0], 2)).max() < 2e-8
