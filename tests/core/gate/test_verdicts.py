"""What the measures say: limits, chance, and what is no number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepclean.core.block import Quality
from deepclean.core.gate.band_power import BandPower
from deepclean.core.gate.table import Verdict
from deepclean.core.gate.verdicts import (
    OVERLAP,
    conclude,
    harms,
    improves_significantly,
    is_urgent,
    judge,
)
from tests.helpers.gated_stream import GATES, WELL, look


@pytest.mark.parametrize(
    ("quality", "verdict"),
    [
        (None, Verdict.UNKNOWN),
        (WELL, Verdict.GOOD),
        (replace(WELL, in_band=1.001), Verdict.GOOD),
        (replace(WELL, in_band=1.002), Verdict.FAIR),
        (replace(WELL, in_band=1.0031), Verdict.BAD),
        (replace(WELL, outside=1.0031), Verdict.BAD),
        (replace(WELL, guard=1.031), Verdict.BAD),
        (replace(WELL, worst=3.1), Verdict.BAD),
    ],
)
def test_the_thresholds(quality: Quality | None, verdict: Verdict) -> None:
    assert judge(quality, GATES) is verdict


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        # 3.1 standard deviations of harm, and 8.1 from what it should gain.
        (look(100, 131, 10), True),
        # What is loud enough need not be that bad, but in units of the floor.
        (look(100, 129, 10), True),
        (look(100, 109, 10), False),
        # What cannot gain much must be clearly bad.
        (look(100, 131, 10, power=10), False),
        (look(100, 151, 10, power=10), True),
        # Too little to matter.
        (look(100, 100.9, 0.1), False),
        # Bad by the power of a few bins only.
        (replace(look(100, 131, 10), excess=-0.1), False),
    ],
)
def test_harm(part: BandPower, harm: bool) -> None:
    assert harms([part], GATES) is harm


def test_over_the_band_one_second_must_be_worse_than_several() -> None:
    part = replace(
        look(100, 119, 10),
        raw=np.array([100.0, 100.0]),
        clean=np.array([119.0, 60.0]),  # the lines themselves are better
    )
    assert not harms([part], GATES)
    assert harms([part] * 3, GATES)
    assert not harms([part, part, None], GATES)
    assert not harms([], GATES)


def test_what_has_vanished_has_nothing_to_lose() -> None:
    part = look(100, 102, 10, power=2)
    assert not harms([part] * 3, GATES)
    assert harms([part] * 3, GATES, vanished=True)
    assert not harms([look(100, 99, 10)] * 3, GATES, vanished=True)
    assert not harms([look(100, 100, 0)] * 3, GATES, vanished=True)


def test_what_is_bad_over_the_whole_band_is_urgent() -> None:
    assert is_urgent(look(100, 131, 10), GATES)
    assert not is_urgent(look(100, 115, 2), GATES)
    lines = replace(look(100, 150, 10), clean=np.array([125.0, 150.0]))
    assert is_urgent(replace(lines, variance=np.array([16.0**2, 10.0]) / 1.05), GATES)
    assert not is_urgent(replace(lines, variance=np.array([17.0**2, 10.0]) / 1.05), GATES)
    assert is_urgent(look(np.nan, 1, 1), GATES)
    assert not is_urgent(None, GATES)


def test_a_bin_that_stands_out_is_bad_at_once() -> None:
    assert not harms([look(100, 99, 10, worst=15.9)], GATES)
    assert harms([look(100, 99, 10, worst=16.1)], GATES)
    assert not harms([look(100, 99, 10, worst=16.1), None], GATES)


def test_what_is_better_beyond_chance_is_proven() -> None:
    assert improves_significantly(look(100, 49, 10), GATES)
    assert not improves_significantly(look(100, 51, 10), GATES)
    assert not improves_significantly(replace(look(100, 49, 10), excess=0.1), GATES)
    assert not improves_significantly(None, GATES)


def test_good_is_only_what_gains_beyond_chance() -> None:
    window = [look(100, 90, 10)] * 9  # 90 +- 30
    assert conclude(WELL, window[1:], GATES) is Verdict.FAIR
    assert conclude(WELL, [*window, window[0]], GATES) is Verdict.GOOD
    assert conclude(WELL, [], GATES) is Verdict.FAIR
    assert conclude(WELL, [None] * 9, GATES) is Verdict.FAIR
    assert conclude(None, [*window, window[0]], GATES) is Verdict.UNKNOWN
    assert conclude(WELL, [*window, look(100, 131, 10)], GATES) is Verdict.URGENT


def test_only_what_is_urgent_is_said_to_be() -> None:
    assert conclude(WELL, [look(100, 131, 10)], GATES) is Verdict.URGENT
    assert conclude(WELL, [look(100, 100, 10), None, look(100, 131, 10, worst=16.1)], GATES) is (
        Verdict.URGENT
    )
    assert conclude(WELL, [look(100, 119, 10)] * 3, GATES) is Verdict.BAD
    assert conclude(replace(WELL, outside=1.1), [look(100, 90, 10)] * 10, GATES) is Verdict.BAD


def test_overlap_raises_the_variance_by_what_the_window_says() -> None:
    half = 512
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * half) / half)
    correlation = (window[:half] @ window[half:] / (window @ window)) ** 2
    for looks in (7, 15):
        assert 1 + (looks - 1) / looks * 2 * correlation == pytest.approx(OVERLAP, abs=0.003)
