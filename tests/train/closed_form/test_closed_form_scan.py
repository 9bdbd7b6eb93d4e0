import numpy as np
import pytest

from deepclean.train.closed_form.bank import Bank
from deepclean.train.closed_form.lags import farthest, range_lags
from deepclean.train.closed_form.layout import make_layout
from deepclean.train.closed_form.scan import raised_gradient, scan, scan_products
from deepclean.train.closed_form.streams import Complex, Feature, make_streams
from tests.helpers.coupled_data import BAND, RATE, TRANSITION, coupled, passed

LAYOUT = make_layout(RATE, [BAND], TRANSITION, passed)
SECONDS = 100


def bank_of(witnesses: np.ndarray, strain: np.ndarray) -> Bank:
    standard = (witnesses - witnesses.mean(axis=1, keepdims=True)).astype(np.float32)
    return Bank(LAYOUT, [make_streams(standard, strain, LAYOUT)])


def weighted(bank: Bank) -> Complex:
    left = bank.strain()
    white = LAYOUT.value / np.mean(np.abs(left) ** 2, axis=1)
    return np.asarray(white[:, None] * left, dtype=np.complex128)


def wide(channel: int) -> Feature:
    return ((channel, "wide", 0),)


def test_a_delayed_witness_is_found_at_its_lag() -> None:
    rng = np.random.default_rng(0)
    shaking = rng.standard_normal(SECONDS * RATE)
    late = round(0.4 * RATE)
    strain = np.roll(shaking, late) + 3 * rng.standard_normal(SECONDS * RATE)
    bank = bank_of(np.stack([shaking, rng.standard_normal(SECONDS * RATE)]), strain)
    true, false = scan(bank, [wide(0), wide(1)], weighted(bank), farthest(LAYOUT))
    assert true.chance < 1e-6
    assert -true.lag / LAYOUT.internal_rate == pytest.approx(0.4, abs=0.02)
    assert false.chance > 0.01


def test_a_line_of_another_grid_is_not_ours() -> None:
    rng = np.random.default_rng(1)
    time = np.arange(SECONDS * RATE) / RATE
    floor = rng.standard_normal(SECONDS * RATE)
    ours, theirs = (np.cos(2 * np.pi * f * time) for f in (29.0, 29.06))
    bank = bank_of(np.stack([ours, theirs]), floor + ours)
    true, false = scan(bank, [wide(0), wide(1)], weighted(bank), farthest(LAYOUT))
    assert true.chance < 1e-4
    assert false.chance > 0.05


def test_a_line_a_thousand_times_the_floor_is_seen_and_so_are_its_weak_sidebands() -> None:
    data = coupled(SECONDS, seed=6)
    strain = data.strain + 3000 * data.witnesses[0]
    bank = bank_of(data.witnesses, strain)
    assert scan(bank, [wide(0)], weighted(bank), farthest(LAYOUT))[0].chance < 1e-6
    clean = data.strain - 6 * np.roll(data.witnesses[0], 12)
    bank = bank_of(data.witnesses * np.array([[1e4], [1], [1]]), clean)
    gradient, stretch = raised_gradient(bank, weighted(bank)), bank.stretches[0]
    _, chance = scan_products(bank, [stretch.wide[:1]], [stretch.slow], gradient, [0])
    assert (chance[0, 1:] < 1e-4).all()


def test_a_glitch_in_both_is_not_a_coupling() -> None:
    rng = np.random.default_rng(2)
    witness, strain = rng.standard_normal((2, SECONDS * RATE))
    glitch = slice(50 * RATE, 50 * RATE + 40)
    burst = 300 * rng.standard_normal(40)
    witness[glitch] += burst
    strain[glitch] += burst
    bank = bank_of(witness[None], strain)
    assert scan(bank, [wide(0)], weighted(bank), farthest(LAYOUT))[0].chance > 0.01


def test_chance_is_as_probable_as_stated() -> None:
    rng = np.random.default_rng(3)
    bank = bank_of(rng.standard_normal((80, 64 * RATE)), rng.standard_normal(64 * RATE))
    found = scan(bank, [wide(c) for c in range(80)], weighted(bank), farthest(LAYOUT))
    below = [sum(one.chance < limit for one in found) / 80 for limit in (0.1, 0.5)]
    assert below[0] < 0.2
    assert below[1] < 0.7


def test_all_products_at_once_find_what_one_by_one_does() -> None:
    data = coupled(SECONDS, seed=4, idle=3)
    bank = bank_of(data.witnesses, data.strain)
    gradient = raised_gradient(bank, weighted(bank))
    stretch = bank.stretches[0]
    statistic, chance = scan_products(bank, [stretch.wide[:1]], [stretch.slow], gradient, [0])
    assert (chance[0, 1:3] < 1e-4).all()
    assert (chance[0, 3:] > 1e-3).all()
    single = scan(bank, [((0, "wide", 0), (1, "slow", 0))], weighted(bank), (0, 0))[0]
    assert statistic[0, 1] == pytest.approx(single.statistic, rel=0.2)


def test_lags_ahead_keep_to_the_edge() -> None:
    free = make_layout(RATE, [BAND], TRANSITION, passed)
    filters = max(free.halves["wide"], free.halves["slow"]) + free.halves["out"]
    step = free.decimation
    for room in (0, 2 * free.quarter + 1, 40):
        edge = filters + room * step
        held = make_layout(RATE, [BAND], TRANSITION, passed, edge)
        assert held.ahead == min(max(room, 2 * free.quarter), free.ahead)
        lags = [lag for number in range(8) for lag in range_lags(held, number)]
        assert max(lags) <= held.ahead
        past = [range_lags(held, -n) for n in range(1, 8)]
        assert past == [range_lags(free, -n) for n in range(1, 8)]
