"""What the gains follow, and what they do not: simulated couplings with known truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.apply import adapted
from deepclean.core.adapt.knot import HELD, Knot
from deepclean.core.adapt.settings import AdaptSettings, Member
from deepclean.core.block import Float64
from tests.helpers.adapted_stream import (
    ALONE,
    FLOOR,
    RATE,
    SMALL,
    START,
    Result,
    Streams,
    broadband,
    coupled,
    floor,
    line,
    run,
    same,
)

WHOLE = AdaptSettings()


def left(result: Result, true: Float64, first: int, stop: int) -> float:
    """Return the power that is left of a coupling from one second to another, in floors.

    The floor is white: a band of 6 Hz of 32 Hz holds 3/16 of its power.
    """
    part = slice(first * RATE, stop * RATE)
    return float(np.mean((true - result.estimate.real)[part] ** 2) / (FLOOR**2 * 6 / 32))


def true_noise(streams: Streams, gain: Complex | complex) -> Float64:
    return np.asarray((gain * streams.groups[0]).real)


def test_a_coupling_that_does_not_drift_is_left_alone() -> None:
    streams = coupled(1.0, 300)
    assert left(run(streams, WHOLE), true_noise(streams, 1.0), 100, 300) < 0.002


def test_a_drift_is_followed() -> None:
    time = np.arange(300 * RATE) / RATE
    size, turn = (np.sin(2 * np.pi * time / period) for period in (600, 700))
    gain = np.asarray((1 + 0.4 * size) * np.exp(1j * turn), dtype=np.complex128)
    streams = coupled(gain, 300)
    true = true_noise(streams, gain)
    found = run(streams, WHOLE)
    assert left(found, true, 100, 299) < 0.06
    assert left(replace(found, estimate=streams.groups[0]), true, 100, 299) > 5


def test_the_slope_is_what_follows() -> None:
    gain = np.exp(2j * np.pi * np.arange(200 * RATE) / (600 * RATE))
    streams = coupled(gain, 200, loud=10.0)
    true = true_noise(streams, gain)
    sloped, level = (
        left(run(streams, AdaptSettings(members=(Member(64, slope),))), true, 100, 199)
        for slope in (True, False)
    )
    # A level is late by half the window and 2 s: 0.36 rad of 100 floors.
    assert level > 5
    assert sloped < 0.6


def test_a_step_is_followed_within_ten_seconds() -> None:
    gain = np.where(np.arange(200 * RATE) < 120.3 * RATE, 1.0, 1.5 * np.exp(1j * np.pi / 3))
    streams = coupled(gain, 200)
    found, true = run(streams, WHOLE), true_noise(streams, gain)
    assert left(found, true, 122, 124) > 5
    assert all(left(found, true, at, at + 2) < 0.3 for at in range(131, 199, 2))
    # Home takes half a minute and more: the choice among windows does it.
    alone = run(streams, AdaptSettings(members=(Member(64, slope=True),)))
    assert left(alone, true, 135, 137) > 1


def test_line_and_the_rest_drift_apart() -> None:
    seconds = 200
    carrier, rest = line(seconds), broadband(seconds)
    along = np.arange(seconds * RATE) / (seconds * RATE)
    estimate = 3 * FLOOR * (2 * carrier + rest)
    true = 3 * FLOOR * (2 * (1 + 0.8j * along) * carrier + (1 - 0.5 * along) * rest).real
    strain = true + floor(seconds)
    one = run(Streams(strain, estimate[None], (1.0,)), WHOLE)
    two = run(Streams(strain, np.stack([estimate, 1e5 * carrier]), (1.0, 0.0)), WHOLE)
    assert left(two, true, 100, 199) < 0.1
    assert left(one, true, 100, 199) > 10 * left(two, true, 100, 199)


def test_the_minority_of_a_window_counts_less_than_its_number() -> None:
    gain = np.where(np.arange(80 * RATE) < 40 * RATE, 1.0, 2.0j)
    streams = coupled(gain, 80, loud=20.0)
    knots = run(streams, AdaptSettings(members=(Member(16),))).knots
    # The 16 transforms of a knot begin 18 to 3 s before it: of these 4 are from before the step, or
    # 4 from after it, and one is on it. Their plain mean would be a quarter of the step away.
    assert abs(knots[START + 54].gains[0] - 2.0j) < 0.1 * abs(2j - 1)
    assert abs(knots[START + 46].gains[0] - 1.0) < 0.1 * abs(2j - 1)


@pytest.mark.parametrize("seconds", [1, 5, 20])
def test_the_gains_hold_over_a_gap_and_are_forgotten_after_the_window(seconds: int) -> None:
    gain = np.asarray(1 + 0.04j * np.arange(90 * RATE) / RATE, dtype=np.complex128)
    streams = coupled(gain, 90, loud=20.0)
    streams = replace(streams, unusable=frozenset(range(40, 40 + seconds)))
    found = run(streams, ALONE)
    last = found.knots[START + 41].gains[0]
    assert abs(last - gain[41 * RATE]) < 0.1
    # The transforms that touch the gap say nothing. The window loses its oldest seconds, and no
    # slope runs on: it would change the gain by 0.3 in eight.
    for second in range(42, 42 + min(seconds, 8)):
        assert abs(found.knots[START + second].gains[0] - last) < 0.1
    if seconds > 16:
        assert found.knots[START + 40 + seconds].gains[0] == 1.0


def test_signals_are_not_eaten() -> None:
    seconds, at = 200, 130.4
    streams = coupled(1.2j, seconds)
    time = np.arange(seconds * RATE) / RATE - at
    shape = np.where(np.abs(time) < 0.4, np.cos(np.pi * time / 0.8) ** 2, 0.0)
    signal = 30 * FLOOR * shape * np.cos(2 * np.pi * 13 * time)
    before = run(streams, WHOLE).estimate.real
    change = run(replace(streams, strain=streams.strain + signal), WHOLE).estimate.real - before
    assert not change[: 131 * RATE].any()
    assert abs(change @ signal) < 1e-4 * (signal @ signal)
    assert np.linalg.norm(change) < 0.02 * np.linalg.norm(signal)


@pytest.mark.parametrize("what", ["strain", "witness"])
def test_glitches_leave_nothing_behind(what: str) -> None:
    seconds, at = 220, slice(int(120.3 * RATE), int(120.5 * RATE))
    gain = 0.7 + 0.3j
    streams = coupled(gain, seconds)
    true = true_noise(streams, gain)
    strain, groups = streams.strain.copy(), streams.groups.copy()
    if what == "strain":
        strain[at] += 300 * FLOOR
    else:
        groups[:, at] *= 100
    clean = left(run(streams, WHOLE), true, 122, 186)
    found = run(replace(streams, strain=strain, groups=groups), WHOLE)
    assert left(found, true, 122, 186) < clean + 0.01


def test_a_gain_of_ten_is_not_believed() -> None:
    found = run(coupled(10.0, 60), ALONE)
    assert np.abs(found.gains()).max() == pytest.approx(4.0, abs=1e-9)


def test_a_coupling_that_changes_sign_is_followed_through_zero() -> None:
    gain = np.linspace(1.5, -1.5, 200 * RATE).astype(complex)
    streams = coupled(gain, 200)
    assert left(run(streams, WHOLE), true_noise(streams, gain), 100, 199) < 0.1


def test_a_knot_says_what_it_knows() -> None:
    streams = replace(coupled(1.5, 80), unusable=frozenset([60]))
    knots = run(streams, SMALL).knots
    knot = knots[START + 50]
    assert knot.trust > 0.5
    assert knot.significance[0] > 100
    assert abs(knot.gains[0] - 1.5) < 0.2
    # The second is part of two transforms, of which the later is the newest of this knot.
    assert knots[START + 60 + SMALL.lag].trust == 0.0


def features(seconds: int, drift: float) -> tuple[Streams, Float64]:
    """Return five features whose gains drift each by itself: too many for a second's 13 bins."""
    along = np.arange(seconds * RATE) / (seconds * RATE)
    groups = 4 * FLOOR * np.stack([broadband(seconds, seed) for seed in range(1, 6)])
    gains = 1 + drift * np.sin(np.arange(5)[:, None] + 2 * along)
    true = (gains * groups).sum(axis=0).real
    return Streams(true + floor(seconds), groups, (1.0,) * 5), true


@pytest.mark.parametrize("glitches", [False, True])
def test_features_drift_each_by_itself(glitches: bool) -> None:
    settings = AdaptSettings(members=(Member(64, slope=True),), cadence=16, guard=1, unit=16)
    streams, true = features(400, 1.0)
    if glitches:
        # Nearly every unit of 16 s has one.
        time = np.arange(400 * RATE) / RATE
        bursts = np.where((time % 17 > 9) & (time % 17 < 9.5), 300 * FLOOR, 0.0)
        strain = streams.strain + bursts * np.cos(2 * np.pi * 13 * time)
        streams = replace(streams, strain=strain)
    found = run(streams, settings)
    assert {second % 16 for second in found.knots} == {0}
    assert left(found, true, 128, 399) < 0.3
    fixed = replace(found, estimate=streams.groups.sum(axis=0))
    assert left(fixed, true, 128, 399) > 5


def knot(second: int, *gains: complex) -> Knot:
    values = np.array(gains, dtype=np.complex128)
    return Knot(second, values, 0, values.real, 1.0, values[None])


def test_gains_go_along_straight_lines() -> None:
    ones = np.ones((1, 4 * RATE))
    knots = [knot(START, 1), knot(START + 1, 2j), knot(START + 2, 2j)]
    found = adapted(ones, START * RATE, RATE, knots, np.ones(1), ALONE)
    steps = np.diff(found)
    assert found[0] == 1
    assert found[RATE] == 2j
    assert found[RATE // 2] == 0.5 + 1j
    # The last one stays. Before the first the anchor is in force, and the way there is a line too.
    assert (found[2 * RATE :] == 2j).all()
    before = adapted(ones, (START - 2) * RATE, RATE, knots[1:], np.ones(1), ALONE)
    assert (before[: 2 * RATE] == 1).all()
    assert before[2 * RATE + RATE // 2] == 0.5 + 1j
    assert np.abs(steps).max() <= np.abs(2j - 1) / RATE * (1 + 1e-12)


def test_a_piece_is_the_same_wherever_it_is_cut() -> None:
    random = np.random.default_rng(0)
    groups = random.standard_normal((2, 500)) + 1j * random.standard_normal((2, 500))
    knots = [knot(START + k, *random.standard_normal(2)) for k in range(9)]
    anchors, first = np.array([1.0, 0.0]), START * RATE + 17

    def piece(low: int, high: int) -> Complex:
        found = adapted(groups[:, low:high], first + low, RATE, knots, anchors, ALONE)
        return np.asarray(found, dtype=np.complex128)

    cuts = [0, 1, 2, 46, 47, 48, 49, 130, 333, 500]
    pieces = [piece(low, high) for low, high in pairwise(cuts)]
    assert same(np.concatenate(pieces), piece(0, 500))


def test_a_line_of_another_source_draws_no_gain() -> None:
    """It sits on the coupling's own line; the right gain for it is wrong for the sidebands."""
    seconds = 200
    time = np.arange(seconds * RATE) / RATE
    carrier = 4 * FLOOR * np.exp(2j * np.pi * 13.0 * time)
    sidebands = broadband(seconds)
    sidebands *= 3 * FLOOR / np.std(sidebands.real)
    model = carrier + sidebands
    own = Streams(model.real + floor(seconds), model[None], (1.0,))
    foreign = 30 * FLOOR * np.cos(2 * np.pi * 13.0 * time + 1.0)
    disturbed = replace(own, strain=own.strain + foreign)
    found = run(disturbed, WHOLE)
    assert left(found, model.real, 100, 199) < 0.05
    assert {knot.member for knot in list(found.knots.values())[20:-2]} == {HELD}
    # Without such a line the same coupling is learnt, held or not.
    drifting = replace(own, strain=(1.3 * model).real + floor(seconds))
    assert abs(run(drifting, WHOLE).gains()[150] - 1.3) < 0.02
