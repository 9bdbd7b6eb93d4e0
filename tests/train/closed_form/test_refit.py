"""Refits: a model's own structure, solved anew from statistics that add up over cells of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import signal

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span
from deepclean.models.tensors import Scalers
from deepclean.train.closed_form.data import Arrays
from deepclean.train.closed_form.fit import fit_closed_form
from deepclean.train.closed_form.layout import BandLayout, make_layout
from deepclean.train.closed_form.outcome import ClosedFormFit
from deepclean.train.closed_form.refit import Cell, measure_cell, nothing, solve_cells
from deepclean.train.closed_form.structure import Structure, StructureError, structure_of
from deepclean.train.solve import network_of, scalers_of
from tests.helpers.coupled_data import (
    BAND,
    RATE,
    TRANSITION,
    Coupled,
    coupled,
    in_band_ratio,
    passed,
)

START = 1_400_000_000
CELL = 64


def layout_of(*bands: tuple[float, float]) -> BandLayout:
    return make_layout(RATE, bands or [BAND], TRANSITION, passed)


def found(fit: ClosedFormFit, channels: int) -> Structure:
    assert fit.architecture is not None
    network = network_of(fit, channels)
    return structure_of(fit.architecture, network, scalers_of(fit), layout_of())


@pytest.fixture(scope="module")
def data() -> Coupled:
    return coupled(400, seed=1, idle=3)


@pytest.fixture(scope="module")
def fit(data: Coupled) -> ClosedFormFit:
    return fit_closed_form(
        Arrays(RATE, data.witnesses, data.strain, start=START), [BAND], TRANSITION, passed
    )


@pytest.fixture(scope="module")
def structure(data: Coupled, fit: ClosedFormFit) -> Structure:
    return found(fit, len(data.witnesses))


def cell(structure: Structure, data: Coupled, first: int, spoilt: float = 0.0) -> Cell:
    """Return the cell whose segments begin in `CELL` seconds from one on."""
    strain = data.strain.copy()
    if spoilt:
        strain[(first + 20) * RATE : (first + 21) * RATE] += spoilt * np.hanning(RATE)
    span = Span((START + first - 3) * NS, (START + first + CELL + 2) * NS)
    witnesses = data.witnesses[list(structure.channels)]
    return measure_cell(structure, Arrays(RATE, witnesses, strain, START, [span]))


def cells(structure: Structure, data: Coupled, count: int) -> list[Cell]:
    return [cell(structure, data, 4 + CELL * number) for number in range(count)]


def left(structure: Structure, weights: Float64, other: Coupled, fit: ClosedFormFit) -> float:
    """Return the ASD of what weights leave of other data, over the floor's."""
    network = network_of(fit, len(other.witnesses))
    network.load_state_dict({**network.state_dict(), "weights": torch.from_numpy(weights).float()})
    scales = structure.scales
    standard = (other.witnesses - scales.mean[:, None]) / scales.std[:, None]
    with torch.inference_mode():
        output = network(torch.from_numpy(standard).float()[None])[0].numpy()
    cut = slice(3 * RATE, -RATE)
    return in_band_ratio(
        (other.strain - output * scales.strain)[cut], (other.strain - other.noise)[cut]
    )


def test_the_structure_is_the_models(structure: Structure, fit: ClosedFormFit) -> None:
    assert structure.parameters.parameters == len(fit.equations.right)
    # What no feature needs is not read.
    assert {0, 1, 2} <= set(structure.channels) < set(range(6))
    assert np.array_equal(structure.needs, fit.equations.needs)


def test_the_same_coupling_gives_the_same_filter(
    structure: Structure, data: Coupled, fit: ClosedFormFit
) -> None:
    made = solve_cells(structure, cells(structure, data, 6))
    assert made is not None
    assert made.seconds == 6 * CELL
    other = coupled(200, seed=2, idle=3)
    first = left(structure, fit.tensors["weights"], other, fit)
    assert left(structure, made.tensors["weights"], other, fit) < first + 0.005 < 1.02
    # Each coefficient, within some of its standard errors.
    error = fit.equations.scale
    assert np.abs(made.tensors["weights"] - fit.tensors["weights"]).max() < 5 * error.max()


def test_a_coupling_that_drifted_is_followed(structure: Structure, fit: ClosedFormFit) -> None:
    turned = coupled(200, seed=5, idle=3)
    turned = replace(turned, strain=turned.strain - 2.2 * turned.noise, noise=-1.2 * turned.noise)
    made = solve_cells(structure, cells(structure, turned, 3))
    assert made is not None
    assert left(structure, fit.tensors["weights"], turned, fit) > 2
    assert left(structure, made.tensors["weights"], turned, fit) < 1.02


def test_the_equations_give_the_weights(structure: Structure, data: Coupled) -> None:
    made = solve_cells(structure, cells(structure, data, 3))
    assert made is not None
    weights, useful = made.equations.solve()
    assert useful
    assert np.array_equal(weights, made.tensors["weights"])
    assert made.equations.solve([1])[1]
    assert not made.equations.solve([0])[1]  # the carrier


def test_a_glitch_spoils_neither_its_cell_nor_the_sum(
    structure: Structure, data: Coupled, fit: ClosedFormFit
) -> None:
    clean = cells(structure, data, 3)
    spoilt = [clean[0], cell(structure, data, 4 + CELL, spoilt=1e4), clean[2]]
    other = coupled(200, seed=2, idle=3)
    ratios = [
        left(structure, made.tensors["weights"], other, fit)
        for made in (solve_cells(structure, each) for each in (clean, spoilt))
        if made is not None
    ]
    assert ratios[1] < ratios[0] + 0.002


def test_nothing_depends_on_the_scale_of_strain(data: Coupled, fit: ClosedFormFit) -> None:
    small = replace(data, strain=1e-21 * data.strain, noise=1e-21 * data.noise)
    scalers = scalers_of(fit)
    scaled = Scalers(scalers.witness_mean, scalers.witness_std, 0.0, 1e-21 * scalers.strain_std)
    assert fit.architecture is not None
    network = network_of(fit, len(data.witnesses))
    structure = structure_of(fit.architecture, network, scaled, layout_of())
    made = solve_cells(structure, cells(structure, small, 3))
    same = solve_cells(found(fit, len(data.witnesses)), cells(structure, small, 0))
    assert same is None
    whole = found(fit, len(data.witnesses))
    large = solve_cells(whole, cells(whole, data, 3))
    assert made is not None
    assert large is not None
    assert made.tensors["weights"] == pytest.approx(large.tensors["weights"], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("strain", [0.0, 1.0])
def test_a_strain_that_stands_still_says_nothing(
    structure: Structure, data: Coupled, strain: float
) -> None:
    still = replace(data, strain=np.full_like(data.strain, strain))
    made = cell(structure, still, 4)
    assert made.seconds in (0, CELL)
    assert solve_cells(structure, [made, *cells(structure, data, 1)]) is not None


def test_too_little_data_is_an_empty_cell(structure: Structure, data: Coupled) -> None:
    short = [Span(START * NS, (START + 20) * NS), Span((START + 30) * NS, (START + 33) * NS)]
    witnesses = data.witnesses[list(structure.channels)]
    made = measure_cell(structure, Arrays(RATE, witnesses, data.strain, START, short))
    assert made.seconds == 0
    assert np.array_equal(made.statistics.gram, nothing(structure).statistics.gram)


def test_other_bands_are_another_structure(data: Coupled, fit: ClosedFormFit) -> None:
    assert fit.architecture is not None
    network, scalers = network_of(fit, len(data.witnesses)), scalers_of(fit)
    with pytest.raises(StructureError, match="other bands"):
        structure_of(fit.architecture, network, scalers, layout_of((40.0, 60.0)))


def test_powers_of_the_estimate_keep_their_base() -> None:
    """A saturating coupling: the base stays, what its powers are worth is solved anew."""
    count = 300 * RATE
    rng = np.random.default_rng(8)
    taps = np.sinc(10 / RATE * np.arange(-RATE, RATE + 1)) * np.hanning(2 * RATE + 1)
    taps *= np.cos(2 * np.pi * 30 / RATE * np.arange(-RATE, RATE + 1))
    witness = signal.fftconvolve(rng.standard_normal(count), taps, mode="same")
    witness /= witness.std()
    noise = 30 * np.tanh(1.2 * np.roll(witness, 2))
    white = np.sqrt(RATE / 2) * rng.standard_normal(count)
    data = Coupled(witness[None], white + noise, noise)
    arrays = Arrays(RATE, data.witnesses, data.strain, start=START)
    fit = fit_closed_form(arrays, [BAND], TRANSITION, passed)
    structure = found(fit, 1)
    assert structure.bases
    made = solve_cells(structure, cells(structure, data, 4))
    assert made is not None
    for name in ("base_weights", "base_scales"):
        assert made.tensors[name] == pytest.approx(fit.tensors[name], rel=1e-6)
    first = left(structure, fit.tensors["weights"], data, fit)
    assert left(structure, made.tensors["weights"], data, fit) < first + 0.01
