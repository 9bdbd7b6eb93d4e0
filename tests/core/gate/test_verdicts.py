"""What the measures say: limits, chance, and what is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deepclean.core.gate.band_power import BandPower
from deepclean.core.gate.measures import Quality
from deepclean.core.gate.table import Verdict
from deepclean.core.gate.verdicts import (
    CORRELATED,
    GAINS,
    SLIGHT,
    SPIKE,
    conclude,
    harms,
    improves_significantly,
    is_urgent,
    judge,
)
from tests.helpers.gated_stream import GATES, WELL, look


def with_sums(part: BandPower, **rows: Sequence[float]) -> BandPower:
    """Return a look with some of its sums in place of the others."""
    sums = np.reshape(part.sums, (2, 4))
    for name, row in rows.items():
        sums[:, ("raw", "clean", "power", "variance").index(name)] = row
    return replace(part, sums=sums.ravel().tolist())


@pytest.mark.parametrize(
    ("quality", "verdict"),
    [
        (None, Verdict.UNKNOWN),
        (WELL, Verdict.GOOD),
        (replace(WELL, net=1.001), Verdict.GOOD),
        (replace(WELL, net=1.002), Verdict.FAIR),
        (replace(WELL, net=1.0031), Verdict.BAD),
        # What is plainly harmful opens at half the harm that it closes at.
        (replace(WELL, in_band=1.002), Verdict.FAIR),
        (replace(WELL, in_band=1.101), Verdict.BAD),
        (replace(WELL, outside=1.004), Verdict.GOOD),
        (replace(WELL, outside=1.006), Verdict.FAIR),
        (replace(WELL, outside=1.011), Verdict.BAD),
        (replace(WELL, worst=2.1), Verdict.FAIR),
        (replace(WELL, worst=3.1), Verdict.BAD),
        # What the guard bands lose is in the net effect, and nowhere else.
        (replace(WELL, guard=1.4), Verdict.GOOD),
    ],
)
def test_the_thresholds(quality: Quality | None, verdict: Verdict) -> None:
    found = judge(quality, GATES)
    assert found.verdict is verdict
    assert (found.finding is None) is (verdict in (Verdict.GOOD, Verdict.UNKNOWN))


def test_a_verdict_says_what_it_rests_on() -> None:
    found = conclude(replace(WELL, net=1.02), [look(100, 90, 10)] * 16, GATES)
    assert found == (Verdict.BAD, ("net", 1.02, GATES.close_above))
    faint = conclude(WELL, [look(100, 99, 10)] * 4, GATES).finding
    assert faint is not None
    assert (faint.measure, faint.limit) == ("gain", GAINS)
    assert faint.value == pytest.approx(0.2)
    assert conclude(WELL, [look(100, 131, 10)], GATES).finding == ("power", 1.31, SLIGHT)
    spike = conclude(WELL, [look(100, 99, 10, worst=20.0)], GATES).finding
    assert spike == ("spike", 20.0, SPIKE)


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
    assert (harms([part], GATES) is not None) is harm


def test_over_the_band_one_second_must_be_worse_than_several() -> None:
    part = with_sums(look(100, 119, 10), clean=[119, 60])  # the lines themselves are better
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
    lines = with_sums(look(100, 150, 10), clean=[125, 150])
    for chance, urgent in ((24.0, True), (26.0, False)):
        variance = [chance**2 / CORRELATED, 10 / CORRELATED]
        assert is_urgent(with_sums(lines, variance=variance), GATES) is urgent
    assert is_urgent(look(np.nan, 1, 1), GATES)
    assert not is_urgent(None, GATES)


def test_a_bin_that_stands_out_is_bad_at_once() -> None:
    assert not harms([look(100, 99, 10, worst=15.9)], GATES)
    assert harms([look(100, 99, 10, worst=16.1)], GATES)
    assert not harms([look(100, 99, 10, worst=16.1), None], GATES)


def test_what_is_better_beyond_chance_is_proven() -> None:
    assert improves_significantly(look(100, 69, 10))
    assert not improves_significantly(look(100, 71, 10))
    assert not improves_significantly(replace(look(100, 69, 10), excess=0.1))
    assert not improves_significantly(None)


def test_good_is_only_what_gains_beyond_chance() -> None:
    window = [look(100, 90, 10)] * 9  # 90 +- 30
    assert conclude(WELL, window[1:], GATES).verdict is Verdict.FAIR
    assert conclude(WELL, [*window, window[0]], GATES).verdict is Verdict.GOOD
    assert conclude(WELL, [], GATES).verdict is Verdict.FAIR
    assert conclude(WELL, [None] * 9, GATES).verdict is Verdict.FAIR
    assert conclude(None, [*window, window[0]], GATES).verdict is Verdict.UNKNOWN
    assert conclude(WELL, [*window, look(100, 131, 10)], GATES).verdict is Verdict.URGENT


def test_only_what_is_urgent_is_said_to_be() -> None:
    assert conclude(WELL, [look(100, 131, 10)], GATES).verdict is Verdict.URGENT
    spike = [look(100, 100, 10), None, look(100, 131, 10, worst=16.1)]
    assert conclude(WELL, spike, GATES).verdict is Verdict.URGENT
    assert conclude(WELL, [look(100, 119, 10)] * 3, GATES).verdict is Verdict.BAD
    wide = replace(WELL, outside=1.1)
    assert conclude(wide, [look(100, 90, 10)] * 10, GATES).verdict is Verdict.BAD


def test_bins_and_looks_correlate_by_what_the_window_says() -> None:
    half = 512
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * half) / half)
    bins = np.mean(window**4) / np.mean(window**2) ** 2
    looks = 0.5 * np.mean(window[:half] ** 2 * window[half:] ** 2) / np.mean(window**4)
    for count in (7, 15):
        factor = bins * (1 + (count - 1) / count * 2 * looks)
        assert factor == pytest.approx(CORRELATED, rel=0.02)
