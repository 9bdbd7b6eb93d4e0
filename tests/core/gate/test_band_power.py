"""Powers of a second: what they are measured in, and how far chance goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deepclean.core.gate.band_power import (
    LEAST,
    BandPower,
    LastSecond,
    band_powers,
    highest_before,
)
from deepclean.core.gate.cadence import FAST_SEGMENT
from deepclean.core.gate.quality import StrainLevel
from deepclean.core.spectra import SEGMENT, Bins, density, median_bias, transform

RATE = 1024
BANDS = ((55.0, 65.0),)
STOP = 400.0

FAST = Bins(BANDS, 6.0, STOP, FAST_SEGMENT)
SLOW = Bins(BANDS, 6.0, STOP, SEGMENT)
WHITE = np.full(len(SLOW.inside), 2.0 / RATE)
"""The density of noise of variance 1."""


def noise(seed: int, seconds: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(seconds * RATE)


def power_of(
    raw: NDArray[np.float64],
    estimate: NDArray[np.float64],
    *,
    before: Sequence[BandPower] = (),
    usual: float = 1.0,
) -> BandPower:
    """Return the powers of a second, in a band whose floor is white noise."""
    level = StrainLevel(floor=WHITE / LEAST, usual=usual * WHITE, rms=1.0)
    strain, other = (transform(samples, RATE, STOP) for samples in (raw, estimate))
    return band_powers(strain, [LastSecond(other, FAST, SLOW, level, before)])[0]


def sums_of(found: BandPower) -> NDArray[np.float64]:
    """Return the four sums, each in both units: shape `(4, 2)`."""
    return np.reshape(found.sums, (2, 4)).T


def test_powers_are_in_units_of_what_is_usual_and_of_the_floor() -> None:
    sums = np.zeros((3, 2))
    for seed in range(200):
        found = power_of(noise(seed), 0.5 * noise(1000 + seed))
        sums += sums_of(found)[:3]
    per_bin = np.outer([1.0, 1.25, 0.25], [1.0, LEAST])
    np.testing.assert_allclose(sums / 200, len(FAST.inside) * per_bin, rtol=0.1)


def test_the_variance_is_that_of_the_difference() -> None:
    """For an estimate that is right, and one that is not; with a signal it is no less.

    Bins side by side are not independent, so that it is a little more in a line, and up to twice
    in amplitude where a signal is as short as a click.
    """
    line = np.sin(2 * np.pi * 60 * np.arange(RATE) / RATE)
    wave = np.exp(-(((np.arange(RATE) / RATE - 0.5) / 0.02) ** 2))
    for coupling, size in ((1.0, 0.0), (0.5, 0.0), (-1.0, 0.0), (1.0, 3.0), (1.0, 30.0)):
        off, variance = [], []
        for seed in range(200):
            phase = np.cos(2 * np.pi * (60 * np.arange(RATE) / RATE + seed / 200))
            found = power_of(noise(seed) + coupling * line + size * wave * phase, line, usual=500)
            before, after, power, chance = sums_of(found)
            off.append(after - before - (1 - 2 * coupling) * power)
            variance.append(chance)
        ratio = np.mean(np.square(off), axis=0) / np.mean(variance, axis=0)
        print(f"coupling {coupling}, signal {size}: {ratio}")
        assert (ratio < (4 if size else 1.8)).all()
        assert size or (ratio > 0.5).all()


def test_a_fault_of_the_estimate_is_not_taken_for_a_signal() -> None:
    """A line in the estimate only, beside one that is right: the strain has none of it."""
    time = np.arange(RATE) / RATE
    line, fault = np.sin(2 * np.pi * 60 * time), np.sin(2 * np.pi * 57 * time)
    raw = noise(1) + line
    _, _, power, variance = sums_of(power_of(raw, line + fault, usual=500))
    assert (variance < 0.1 * power**2).all()


def test_a_bin_that_was_as_loud_before_does_not_stand_out() -> None:
    line = 30 * np.sin(2 * np.pi * 60 * np.arange(RATE) / RATE)
    raw = noise(1)
    assert power_of(raw, line).worst > 100
    # The last two share data with this one.
    assert power_of(raw, line, before=[power_of(raw, line)] * 2).worst > 100
    assert power_of(raw, line, before=[power_of(raw, line)] * 3).worst < 2


def test_excess_is_the_mean_of_what_is_added() -> None:
    raw = noise(1)
    assert power_of(raw, -0.1 * raw).excess == pytest.approx(
        0.1 * np.sqrt(density(transform(raw, RATE, STOP), FAST_SEGMENT)[55:66] / WHITE[0]).mean()
    )
    assert power_of(raw, raw).excess < 0
    assert power_of(raw, 0 * raw).excess == 0
    assert (sums_of(power_of(raw, 0 * raw))[3] == 0).all()
    # Where a power is no number, it is none either.
    assert np.isnan(power_of(raw, 1e200 * raw).excess)


def test_the_skirt_of_a_line_is_no_signal() -> None:
    """A pure line is wider over one second than over two."""
    two = 100 * np.sin(2 * np.pi * 60 * np.arange(2 * RATE) / RATE)
    usual = WHITE + density(transform(two, RATE, STOP), SEGMENT)[SLOW.inside]
    level = StrainLevel(floor=WHITE / LEAST, usual=usual, rms=1.0)
    raw, line = (transform(x, RATE, STOP) for x in (noise(1) + two[:RATE], two[:RATE]))
    (found,) = band_powers(raw, [LastSecond(line, FAST, SLOW, level, [])])
    before, after, _, variance = sums_of(found)[:, 1]
    assert before - after > 20 * np.sqrt(variance)


def test_the_lowest_floor_of_two_windows_is_so_much_below_the_mean() -> None:
    """The floor of white noise: a median of seven transforms every second, sixteen times."""
    below = []
    for seed in range(60):
        samples = noise(seed, 16 + 7)
        densities = np.array(
            [
                density(transform(samples[k * RATE : (k + 2) * RATE], RATE, STOP), SEGMENT)[20::4]
                for k in range(22)
            ]
        )
        floors = [np.median(densities[k : k + 7], axis=0) / median_bias(7) for k in range(16)]
        below.append(WHITE[0] / np.min(floors, axis=0))
    assert np.mean(below) == pytest.approx(LEAST, rel=0.03)


def test_the_highest_before_leaves_out_what_shares_data_with_the_next() -> None:
    part = power_of(noise(1), noise(2))
    history = [replace(part, noise=np.full(2, level)) for level in (3.0, 1.0, 8.0, 9.0)]
    assert highest_before([None, *history], 2).tolist() == [3.0, 3.0]
    assert highest_before([None, *history[:2]], 2).tolist() == [0.0, 0.0]
    assert highest_before([], 2).tolist() == [0.0, 0.0]
