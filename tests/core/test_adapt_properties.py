"""What is exact about the gains: memory, no future, no cut, no scale, no weight for a gap."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.adapt.analytic import Complex
from deepclean.core.adapt.settings import FEATURES, AdaptSettings, Member
from deepclean.core.adapt.spectra import SECONDS as LENGTH
from deepclean.core.adapt.spectra import transform
from deepclean.core.adapt.tracker import Pushed, TrackerState, push_all
from tests.helpers.adapted_stream import (
    ALONE,
    RATE,
    SMALL,
    START,
    Result,
    Streams,
    broadband,
    coupled,
    floor,
    run,
    same,
    tracker,
    two_groups,
)

SECONDS = 60
SLOW = AdaptSettings(members=(Member(16, slope=True),), cadence=4, guard=1, unit=8)
ALL = {"choice": SMALL, "one": ALONE, "slow": SLOW}


@lru_cache(maxsize=8)
def whole(kind: str) -> Result:
    return run(two_groups(SECONDS), ALL[kind])


@pytest.mark.parametrize("kind", ALL)
@given(cuts=st.lists(st.integers(1, SECONDS * RATE), max_size=30))
@settings(deadline=None, max_examples=8)
def test_streamed_equals_whole(kind: str, cuts: list[int]) -> None:
    found = run(two_groups(SECONDS), ALL[kind], cuts)
    assert same(found.estimate, whole(kind).estimate)
    assert list(found.knots) == list(whole(kind).knots)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("first", [1, 7, 13])
def test_restart_agrees_after_the_memory(kind: str, first: int) -> None:
    found = run(two_groups(SECONDS), ALL[kind], first=first)
    agree = first + ALL[kind].memory
    assert agree < SECONDS
    assert same(found.estimate[(agree - first) * RATE :], whole(kind).estimate[agree * RATE :])


@pytest.mark.parametrize("kind", ALL)
@given(sample=st.integers(20 * RATE, 30 * RATE - 1), exponent=st.integers(-21, -10))
@settings(deadline=None, max_examples=8)
def test_strain_acts_on_the_seconds_after_it_within_the_memory(
    kind: str, sample: int, exponent: int
) -> None:
    streams = two_groups(SECONDS)
    strain = streams.strain.copy()
    strain[sample] += 10.0**exponent
    found = run(replace(streams, strain=strain), ALL[kind])
    changed = np.flatnonzero(found.estimate != whole(kind).estimate)
    if len(changed):
        assert changed[0] // RATE > sample // RATE
        assert changed[-1] - sample < ALL[kind].memory * RATE


@pytest.mark.parametrize("chosen", [ALONE, SLOW], ids=["one", "slow"])
def test_memory_is_not_generous(chosen: AdaptSettings) -> None:
    # The coupling is strong, so each second counts. The seconds differ in their place on the grid.
    streams = two_groups(SECONDS)
    reach = []
    before = run(streams, chosen)
    for second in range(20, 20 + chosen.cadence):
        strain = streams.strain.copy()
        strain[second * RATE + RATE // 2 : (second + 1) * RATE] *= 1.5
        changed = np.flatnonzero(
            run(replace(streams, strain=strain), chosen).estimate != before.estimate
        )
        assert changed[0] // RATE >= second + 1
        reach.append(int(changed[-1]) // RATE - second)
    assert max(reach) == chosen.memory - 1


@given(
    second=st.integers(5, 50),
    value=st.sampled_from([0.0, 1e-18, -3e5, np.inf, np.nan, 1e300]),
)
@settings(deadline=None, max_examples=6)
def test_an_unusable_second_weighs_nothing(second: int, value: float) -> None:
    clean = replace(two_groups(SECONDS), unusable=frozenset([second]))
    strain, groups = clean.strain.copy(), clean.groups.copy()
    part = slice(second * RATE, (second + 1) * RATE)
    strain[part] = value
    groups[1, part] = value if abs(value) < 1e6 else -7.0
    found, expected = run(replace(clean, strain=strain, groups=groups)), run(clean)
    outside = np.ones(SECONDS * RATE, dtype=bool)
    outside[part] = False
    assert same(found.gains(0), expected.gains(0))
    assert same(found.estimate[outside], expected.estimate[outside])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_what_is_no_number_weighs_nothing_unasked(value: float) -> None:
    clean = two_groups(SECONDS)
    strain = clean.strain.copy()
    strain[1000] = value
    second = 1000 // RATE
    expected = run(replace(clean, unusable=frozenset([second])))
    assert same(run(replace(clean, strain=strain)).estimate, expected.estimate)


@given(power=st.integers(-60, 60), own=st.integers(-60, 60))
@settings(deadline=None, max_examples=8)
def test_no_scale_is_special(power: int, own: int) -> None:
    scale, unit = 2.0**power, 2.0**own
    streams = two_groups(30)
    factors = np.array([[scale], [unit]])
    scaled = Streams(scale * streams.strain, factors * streams.groups, streams.anchors)
    found, expected = run(scaled), run(streams)
    assert same(found.gains(0), expected.gains(0))
    assert same(found.gains(1), expected.gains(1) * (scale / unit))
    assert same(found.estimate, expected.estimate * scale)


def test_equal_last_seconds_give_equal_gains_whatever_was_before() -> None:
    one = two_groups(SECONDS)
    other = coupled(2.0, SECONDS, seed=5)
    join = 14 * RATE
    strain = np.concatenate([other.strain[:join], one.strain[join:]])
    groups = np.concatenate(
        [np.repeat(other.groups[:, :join], 2, axis=0), one.groups[:, join:]], axis=1
    )
    found = run(Streams(strain, groups, one.anchors))
    agree = (14 + SMALL.memory) * RATE
    assert same(found.estimate[agree:], whole("choice").estimate[agree:])
    assert not same(found.estimate[join:agree], whole("choice").estimate[join:agree])


def test_a_skipped_second_is_an_unusable_one() -> None:
    # The tracker is pushed on with a gap in time; `run` pushes each second.
    from deepclean.core.adapt.spectra import transform
    from tests.helpers.adapted_stream import tracker

    streams = replace(two_groups(40), unusable=frozenset(range(20, 25)))
    learner = tracker(streams, SMALL)
    state = TrackerState(START)
    for second in [*range(19), *range(25, 39)]:
        part = slice(second * RATE, (second + 2) * RATE)
        state = learner.push(
            state,
            START + second,
            transform(streams.strain[part], RATE, learner.bins),
            transform(streams.groups.real[:, part], RATE, learner.bins),
            True,
        )
    expected = run(streams).knots
    assert [knot.second for knot in state.knots] == list(expected)[-len(state.knots) :]
    assert all(same(knot.gains, expected[knot.second].gains) for knot in state.knots)
    with pytest.raises(ValueError, match="pushed before"):
        learner.push(state, START, np.zeros(1, complex), np.zeros((1, 1), complex), True)


def test_a_state_is_never_changed() -> None:
    from deepclean.core.adapt.spectra import transform
    from tests.helpers.adapted_stream import tracker

    streams = two_groups(30)
    learner = tracker(streams, SMALL)
    states = [TrackerState(START)]
    for second in range(28):
        part = slice(second * RATE, (second + 2) * RATE)
        spectra = (
            transform(streams.strain[part], RATE, learner.bins),
            transform(streams.groups.real[:, part], RATE, learner.bins),
        )
        states.append(learner.push(states[-1], START + second, *spectra, True))
        again = learner.push(states[-2], START + second, *spectra, True)
        assert same(again.knots[-1].gains, states[-1].knots[-1].gains)
        assert len(states[-2].knots) < len(states[-1].knots)


def test_a_silent_estimate_keeps_the_anchors() -> None:
    quiet = Streams(floor(40), np.zeros((2, 40 * RATE), dtype=np.complex128), (1.0, 0.0))
    found = run(quiet)
    assert all(same(knot.gains, np.array([1.0 + 0j, 0.0])) for knot in found.knots.values())


def test_a_silent_strain_keeps_the_anchors() -> None:
    found = run(Streams(np.zeros(40 * RATE), np.zeros((1, 40 * RATE), complex), (1.0,)))
    assert same(found.gains(0), np.ones(len(found.knots), dtype=complex))


def test_where_nothing_is_significant_the_estimate_is_untouched() -> None:
    seconds = 200
    streams = coupled(1.0, seconds, loud=1.0)
    with_line = replace(
        streams,
        groups=np.concatenate([streams.groups, broadband(seconds, 9)[None]]),
        anchors=(1.0, 0.0),
    )
    found = run(with_line, ALONE)
    kept = (found.gains(0) == 1.0) & (found.gains(1) == 0.0)
    assert kept.mean() > 0.7
    samples = np.repeat(kept[:-1] & kept[1:], RATE)
    first = (next(iter(found.knots)) - START) * RATE
    part = slice(first, min(first + len(samples), seconds * RATE))
    untouched = samples[: part.stop - part.start]
    assert same(found.estimate[part][untouched], streams.groups[0][part][untouched])


def test_the_stated_memory() -> None:
    assert AdaptSettings().memory == 92
    assert FEATURES.memory == 16 + 19 + 255


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ()},
        {"members": (Member(8), Member(16))},
        {"members": (Member(0),)},
        {"cadence": 0},
        {"guard": -1},
        {"cadence": 4},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"second|home"):
        AdaptSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
def test_what_is_learnt_together_is_learnt_alone(kind: str) -> None:
    """The gains of a coupling do not depend on which others are learnt with it, bit for bit."""
    every = [two_groups(40, seed) for seed in range(5)]
    learner = tracker(every[0], ALL[kind])

    def seen(streams: Streams, second: int) -> tuple[Complex, Complex] | None:
        # The second coupling has a gap, so for a while its window holds fewer seconds.
        if streams is every[1] and 20 <= second < 23:
            return None
        part = slice(second * RATE, (second + LENGTH) * RATE)
        strain = transform(streams.strain[part], RATE, learner.bins)
        return strain, transform(streams.groups.real[:, part], RATE, learner.bins)

    together = [TrackerState(START)] * len(every)
    alone = list(together)
    for second in range(38):
        pushed = [
            Pushed(learner, state, START + second, seen(streams, second))
            for state, streams in zip(together, every, strict=True)
        ]
        together = push_all(pushed)
        alone = [
            push_all([one._replace(state=state)])[0]
            for one, state in zip(pushed, alone, strict=True)
        ]
        for one, other in zip(together, alone, strict=True):
            for left, right in zip(one.knots, other.knots, strict=True):
                assert same(left.gains, right.gains)
                assert same(left.deviations, right.deviations)
                assert same(left.significance, right.significance)
                assert (left.member, left.trust, left.whole) == (
                    right.member,
                    right.trust,
                    right.whole,
                )
