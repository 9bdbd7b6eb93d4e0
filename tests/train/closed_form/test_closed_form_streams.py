import numpy as np
import pytest
from scipy import signal

from deepclean.core.time import NS, Span
from deepclean.train.closed_form.bank import Bank
from deepclean.train.closed_form.data import Arrays, portions, read_sample, sample, segments_in
from deepclean.train.closed_form.layout import make_layout
from deepclean.train.closed_form.streams import Base, hermite, lowered, make_streams, product
from tests.helpers.coupled_data import BAND, RATE, TRANSITION, coupled, passed

LAYOUT = make_layout(RATE, [BAND], TRANSITION, passed)
CARRIED = ((0, "wide", 0), (1, "slow", 0))


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("offset", [0, 3, -70])
def test_lowering_is_a_correlation_that_keeps_every_nth_sample(step: int, offset: int) -> None:
    rng = np.random.default_rng(0)
    rows, taps = rng.standard_normal((2, 400)), rng.standard_normal(31)
    made = lowered(rows, taps, step, offset)
    padded = np.pad(rows, ((0, 0), (200, 200)))
    whole = np.stack([np.correlate(row, taps, mode="same") for row in padded])
    expected = whole[:, 200 + offset :: step][:, : made.shape[1]]
    assert np.allclose(made, expected, rtol=0, atol=1e-12)


def test_what_folds_into_the_band_is_stopped() -> None:
    time = np.arange(8 * RATE) / RATE
    folding = LAYOUT.internal_rate - 30.0  # stands at 30 Hz once decimated
    tones = np.stack([np.cos(2 * np.pi * f * time) for f in (30.0, folding)])
    low = lowered(tones, LAYOUT.wide, LAYOUT.decimation)[:, 200:-200]
    assert low[0].std() == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert low[1].std() < 2e-3


@pytest.mark.parametrize(
    ("rate", "band"),
    [
        (4096, (55.0, 65.0)),
        (4096, (10.0, 13.0)),
        (4096, (59.5, 60.5)),
        (2000, (48.0, 52.0)),
        (2048, (900.0, 1010.0)),
        (512, (20.0, 40.0)),
        (16384, (500.0, 1000.0)),
    ],
)
def test_every_band_has_its_bins_and_short_filters(rate: int, band: tuple[float, float]) -> None:
    def response(frequencies: np.ndarray) -> np.ndarray:
        beside = np.maximum(band[0] - frequencies, frequencies - band[1])
        return np.clip(1 - beside / TRANSITION, 0, 1)

    layout = make_layout(rate, [band], TRANSITION, response)
    bins = layout.frequencies[layout.inside]
    assert bins == pytest.approx(np.arange(np.ceil(2 * band[0]), 2 * band[1] + 1) / 2)
    assert len(set(layout.places.tolist())) == len(layout.places)  # none folds onto another
    assert max(layout.halves.values()) <= 0.1 * rate
    assert layout.gain == pytest.approx(1.0, abs=3e-3)
    assert layout.value[layout.inside] == pytest.approx(1.0)
    # Taps a quarter period apart are far from parallel in the band.
    turned = 4 * np.pi * layout.quarter * np.mean(band) / layout.internal_rate
    assert 0.5 < turned < 2.6 or layout.quarter == 1


def test_a_feature_is_shifted_first_and_then_windowed() -> None:
    data = coupled(12, seed=1)
    streams = make_streams(data.witnesses.astype("f4"), data.strain, LAYOUT)
    bank = Bank(LAYOUT, [streams])
    lag = 5 * LAYOUT.analytic_step + 3
    columns = bank.columns(CARRIED, [lag, 0])
    moved = np.roll(product(streams, CARRIED), -lag)
    direct = make_streams(np.zeros((0, len(data.strain)), "f4"), data.strain, LAYOUT)
    filtered = lowered(
        moved[None].astype(np.float64), LAYOUT.analytic.conj(), LAYOUT.analytic_step
    )[0]
    length = 2 * LAYOUT.analytic_rate
    window = signal.get_window("hann", length)
    for number, start in enumerate(direct.starts):
        spectrum = np.fft.fft(filtered[start : start + length] * window)[LAYOUT.places]
        assert np.allclose(columns[:, 0, number], spectrum * LAYOUT.gain, rtol=0, atol=2e-4)


def test_the_gradient_is_the_derivative_of_the_whitened_square() -> None:
    data = coupled(16, seed=2)
    bank = Bank(LAYOUT, [make_streams(data.witnesses.astype("f4"), data.strain, LAYOUT)])
    left, lag = bank.strain(), -7
    gradient = bank.gradient(LAYOUT.value[:, None] * left)[0]
    columns = bank.columns(CARRIED, [lag * LAYOUT.analytic_step])[:, 0]
    expected = np.sum(LAYOUT.value[:, None] * columns.conj() * left)
    late = np.roll(bank.signals(CARRIED)[0], -lag)
    assert np.vdot(late, gradient) == pytest.approx(expected, rel=1e-5)


def test_portions_together_are_the_whole() -> None:
    data = coupled(150, seed=3)
    arrays = Arrays(RATE, data.witnesses, data.strain, start=100)
    whole = make_streams(data.witnesses.astype("f4"), data.strain, LAYOUT)
    streams, scales = read_sample(arrays, portions(arrays.spans), LAYOUT)
    assert len(streams) == 2
    parts, one = Bank(LAYOUT, streams), Bank(LAYOUT, [whole])
    assert parts.segments == one.segments == sum(map(segments_in, portions(arrays.spans)))
    strain = parts.strain() * scales.strain
    assert np.allclose(strain, one.strain(), rtol=0, atol=1e-6 * np.abs(strain).max())
    feature, lags = ((1, "slow", 0), (0, "wide", 0)), [-90, 4]
    made = parts.columns(((0, "wide", 0),), lags) * scales.std[0]
    expected = one.columns(((0, "wide", 0),), lags)
    assert np.allclose(made, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert parts.columns(feature, lags).shape == one.columns(feature, lags).shape


def test_scales_are_those_of_all_portions() -> None:
    rng = np.random.default_rng(4)
    witnesses = np.stack([1e6 + rng.standard_normal(150 * RATE), np.full(150 * RATE, 7.0)])
    arrays = Arrays(RATE, witnesses, rng.standard_normal(150 * RATE))
    _, scales = read_sample(arrays, portions(arrays.spans), LAYOUT)
    assert scales.mean == pytest.approx([1e6, 7.0], rel=1e-8)
    assert scales.std[0] == pytest.approx(1.0, rel=1e-2)
    assert scales.std[1] == 1.0  # a channel that stands still


def test_a_sample_is_spread_over_all_portions() -> None:
    parts = portions([Span(0, 4000 * NS)])
    chosen = sample(parts, 1024)
    assert len(chosen) == 8
    assert chosen[0] == parts[0]
    assert chosen[-1].start > 3000 * NS
    assert sample(parts, 10_000) == parts


def test_hermite_polynomials_are_orthogonal_for_a_gaussian() -> None:
    values = np.random.default_rng(5).standard_normal(400_000).astype(np.float32)
    made = np.stack([hermite(values, degree) for degree in (1, 2, 3, 4)])
    assert np.allclose(made[1], values**2 - 1, atol=1e-4)
    scale = np.sqrt([1, 2, 6, 24])[:, None]
    products = (made / scale) @ (made / scale).T / values.size
    assert np.allclose(products, np.eye(4), atol=0.05)


def test_a_base_is_a_sum_of_features_at_lags_in_units_of_its_scale() -> None:
    data = coupled(8, seed=6)
    streams = make_streams(data.witnesses.astype("f4"), data.strain, LAYOUT)
    bank = Bank(LAYOUT, [streams])
    bank.set_base(0, Base(((((1, "slow", 0),), 4), (((2, "slow", 0),), 0)), np.array([2.0, 1]), 2))
    expected = np.roll(streams.slow[1], -4) + streams.slow[2] / 2
    middle = slice(RATE, -RATE)
    made = product(streams, ((0, "power", 1),))
    assert np.allclose(made[middle], np.clip(expected, -3, 3)[middle], atol=1e-5)
