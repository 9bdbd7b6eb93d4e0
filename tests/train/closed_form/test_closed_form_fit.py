import numpy as np
import pytest
import torch

from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.models.closed_form import ClosedForm
from deepclean.train.closed_form.bank import Bank
from deepclean.train.closed_form.data import Arrays
from deepclean.train.closed_form.fit import FitSettings, fit_closed_form
from deepclean.train.closed_form.fitting import Fitter
from deepclean.train.closed_form.judge import asd_ratio, compare, hold_out
from deepclean.train.closed_form.layout import make_layout
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.closed_form.streams import make_streams
from tests.helpers.coupled_data import (
    BAND,
    RATE,
    TRANSITION,
    Coupled,
    coupled,
    in_band_ratio,
    passed,
)

CARRIER = ((0, "wide", 0),)
PRODUCTS = [((0, "wide", 0), (channel, "slow", 0)) for channel in (1, 2)]


def fitted(data: Coupled, settings: FitSettings | None = None, **changed: float) -> ClosedFormFit:
    strain = data.strain * changed.get("scale", 1.0)
    arrays = Arrays(RATE, data.witnesses, strain, start=1_400_000_000)
    return fit_closed_form(arrays, [BAND], TRANSITION, passed, settings)


def network_of(fit: ClosedFormFit, channels: int) -> ClosedForm:
    assert fit.architecture is not None
    options = {key: value for key, value in fit.architecture.items() if key != "name"}
    network = ClosedForm(channels, **options)
    network.load_state_dict({n: torch.from_numpy(v).float() for n, v in fit.tensors.items()})
    return network.eval()


def estimate(fit: ClosedFormFit, witnesses: np.ndarray) -> np.ndarray:
    standard = (witnesses - fit.scales.mean[:, None]) / fit.scales.std[:, None]
    with torch.inference_mode():
        output = network_of(fit, len(witnesses))(torch.from_numpy(standard).float()[None])
    return np.asarray(output[0].numpy() * fit.scales.strain, dtype=np.float64)


@pytest.fixture(scope="module")
def data() -> Coupled:
    return coupled(200, seed=1, idle=3)


@pytest.fixture(scope="module")
def fit(data: Coupled) -> ClosedFormFit:
    return fitted(data)


def test_the_coupling_is_found_and_nothing_else(fit: ClosedFormFit) -> None:
    assert {CARRIER, *PRODUCTS} <= set(fit.features)
    assert len(fit.features) <= 4


def test_the_network_cleans_other_data_to_the_floor(fit: ClosedFormFit) -> None:
    other = coupled(100, seed=2, idle=3)
    left = (other.strain - estimate(fit, other.witnesses))[RATE:-RATE]
    floor = (other.strain - other.noise)[RATE:-RATE]
    assert in_band_ratio(other.strain[RATE:-RATE], floor) > 1.5
    assert in_band_ratio(left, floor) < 1.02


def test_the_held_out_figures_say_what_other_data_shows(data: Coupled, fit: ClosedFormFit) -> None:
    figures, linear = fit.figures["closed_form"], fit.figures["linear"]
    floor = data.strain - data.noise
    assert figures.ratio == pytest.approx(in_band_ratio(floor, data.strain), abs=0.01)
    assert figures.ratio < linear.ratio < 1
    assert 0 < figures.ratio_error < 0.05
    assert figures.over_linear.significance > 3
    assert figures.gain.mean > linear.gain.mean > 0


def test_each_features_share_of_the_strain_is_known(fit: ClosedFormFit) -> None:
    shares = fit.contributions[:, fit.inside].sum(axis=1)
    order = sorted(fit.features, key=lambda f: -shares[fit.features.index(f)])
    assert order[:3] == [CARRIER, *PRODUCTS]
    explained = fit.strain[fit.inside].sum() - fit.residual[fit.inside].sum()
    assert shares.sum() == pytest.approx(explained, rel=0.1)


def test_nothing_depends_on_the_scale_of_strain(data: Coupled, fit: ClosedFormFit) -> None:
    small = fitted(data, scale=1e-21)
    assert small.architecture == fit.architecture
    assert small.scales.strain == pytest.approx(1e-21 * fit.scales.strain, rel=1e-9)
    assert small.tensors["weights"] == pytest.approx(fit.tensors["weights"], rel=1e-4, abs=1e-8)


def test_without_a_witness_the_best_filter_is_one_solve_away(
    data: Coupled, fit: ClosedFormFit
) -> None:
    weights, useful = fit.equations.solve()
    assert useful
    assert weights == pytest.approx(fit.tensors["weights"], rel=1e-6, abs=1e-9)
    weights, useful = fit.equations.solve([1])
    assert useful
    network = network_of(fit, len(data.witnesses))
    network.load_state_dict({**network.state_dict(), "weights": torch.from_numpy(weights).float()})
    other = coupled(100, seed=3, idle=3)
    standard = (other.witnesses - fit.scales.mean[:, None]) / fit.scales.std[:, None]

    def cleaned(witnesses: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output = network(torch.from_numpy(witnesses).float()[None])[0].numpy()
        return np.asarray(other.strain - output * fit.scales.strain)[RATE:-RATE]

    # What the dead witness says has no part in it.
    dead = standard.copy()
    dead[1] = np.random.default_rng(0).standard_normal(dead.shape[1])
    assert np.array_equal(cleaned(standard), cleaned(dead))
    alone = fitted(Coupled(np.delete(data.witnesses, 1, axis=0), data.strain, data.noise))
    best = other.strain - estimate(alone, np.delete(other.witnesses, 1, axis=0))
    floor = (other.strain - other.noise)[RATE:-RATE]
    expected = in_band_ratio(best[RATE:-RATE], floor)
    assert in_band_ratio(cleaned(standard), floor) == pytest.approx(expected, rel=0.02)


def test_nothing_is_found_in_noise() -> None:
    rng = np.random.default_rng(4)
    nothing = Coupled(
        rng.standard_normal((4, 100 * RATE)), rng.standard_normal(100 * RATE), np.zeros(1)
    )
    fit = fitted(nothing)
    assert fit.architecture is None
    assert fit.features == ()
    assert fit.figures["closed_form"].ratio == pytest.approx(1.0)


def test_a_long_training_streams_and_is_the_fit_of_the_whole() -> None:
    data = coupled(400, seed=5)
    whole = fitted(data)
    streamed = fitted(data, FitSettings(sample=128))
    assert streamed.segments == whole.segments == 400 - 5
    assert {CARRIER, *PRODUCTS} <= set(streamed.features)
    other = coupled(100, seed=6)
    floor = (other.strain - other.noise)[RATE:-RATE]
    for fit in (whole, streamed):
        left = (other.strain - estimate(fit, other.witnesses))[RATE:-RATE]
        assert in_band_ratio(left, floor) < 1.012
    # Judged on what the sample's fit has not seen.
    assert streamed.figures["closed_form"].ratio == pytest.approx(
        whole.figures["closed_form"].ratio, abs=0.01
    )


def test_too_little_data_is_refused() -> None:
    data = coupled(30, seed=7)
    with pytest.raises(InputError, match=r"25 s of data that filters.* at least 37 s"):
        fitted(data)


def test_gaps_cost_only_themselves(data: Coupled) -> None:
    spans = [Span(0, 90 * NS), Span(95 * NS, 98 * NS), Span(110 * NS, 200 * NS)]
    arrays = Arrays(RATE, data.witnesses, data.strain, usable=spans)
    fit = fit_closed_form(arrays, [BAND], TRANSITION, passed)
    assert fit.segments == 85 + 85
    assert {CARRIER, *PRODUCTS} <= set(fit.features)


def test_a_block_left_out_is_a_fit_to_the_others(data: Coupled) -> None:
    layout = make_layout(RATE, [BAND], TRANSITION, passed)
    witnesses = data.witnesses.astype(np.float32)
    fitter = Fitter(Bank(layout, [make_streams(witnesses, data.strain, layout)]))
    nothing = fitter.nothing()
    line = fitter.fit([(CARRIER, 0)], nothing)
    more = fitter.fit([(CARRIER, 0), *((product, 0) for product in PRODUCTS)], line)
    held = {
        name: hold_out(fitter, fit, weights=more.weights)
        for name, fit in (("nothing", nothing), ("line", line), ("more", more))
    }
    assert compare(held["line"], held["nothing"]).significance > 3
    assert compare(held["more"], held["line"]).significance > 3
    ratio, error = asd_ratio(held["more"], held["nothing"], layout.inside)
    inner = np.mean(np.abs(more.left[layout.inside]) ** 2, axis=1)
    outer = np.mean(np.abs(fitter.strain[layout.inside]) ** 2, axis=1)
    # Held out it is a little worse than on its own data.
    assert ratio > np.mean(np.sqrt(inner / outer))
    assert ratio == pytest.approx(np.mean(np.sqrt(inner / outer)), abs=0.02)
    assert error < 0.05


def test_a_saturating_estimate_needs_its_own_powers() -> None:
    rng = np.random.default_rng(8)
    count = 300 * RATE

    def made(seed: int) -> Coupled:
        shaking = np.random.default_rng(seed).standard_normal(count)
        taps = np.sinc(10 / RATE * np.arange(-RATE, RATE + 1)) * np.hanning(2 * RATE + 1)
        taps *= np.cos(2 * np.pi * 30 / RATE * np.arange(-RATE, RATE + 1))
        witness = np.convolve(shaking, taps, mode="same")
        witness /= witness.std()
        noise = 30 * np.tanh(1.2 * np.roll(witness, 2))
        floor = np.sqrt(RATE / 2) * np.random.default_rng(seed + 100).standard_normal(count)
        return Coupled(witness[None], floor + noise, noise)

    del rng
    fit, other = fitted(made(1)), made(2)
    assert fit.architecture is not None
    assert fit.architecture["bases"]
    assert any(trial.name == "powers" and trial.kept for trial in fit.trials)
    floor = (other.strain - other.noise)[RATE:-RATE]
    left = (other.strain - estimate(fit, other.witnesses))[RATE:-RATE]
    assert in_band_ratio(left, floor) < 1.03
    assert fit.figures["linear"].ratio > 1.05 * fit.figures["closed_form"].ratio
