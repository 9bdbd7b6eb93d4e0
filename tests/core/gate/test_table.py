"""The gate's table: what is written of it, what follows from it, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.gate import table
from deepclean.core.gate.cadence import FAST_STEP, SLOT
from deepclean.core.gate.measures import GateFinding
from deepclean.core.gate.table import (
    TRANSITIONS,
    Closing,
    Closure,
    Gate,
    GateState,
    Situation,
    Verdict,
    situation,
    step,
)
from deepclean.core.time import NS
from tests.helpers.settings import gate_settings

OFF, ON = GateState.OFF, GateState.ON

LIMITS = gate_settings(window=4 * NS, dwell=4 * FAST_STEP, memory=10 * FAST_STEP, fade=NS)
REACH = (LIMITS.memory + LIMITS.dwell) // FAST_STEP

CLOSING = (Verdict.BAD, Verdict.URGENT)

looks = st.lists(
    st.sampled_from([verdict for verdict in Verdict if verdict is not Verdict.JUMP]),
    min_size=1,
    max_size=120,
)


def walked(start: int, given: Sequence[Verdict]) -> list[GateState]:
    """Return the states after verdicts that follow one another from a look on."""
    gate, states = Gate.start(start * FAST_STEP), []
    for number, verdict in enumerate(given, start):
        gate, _ = step(gate, verdict, number * FAST_STEP, LIMITS)
        states.append(gate.state)
    return states


def test_the_table_is_the_one_that_is_written() -> None:
    written = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in str(table.__doc__).splitlines()
        if line.startswith("|")
    ]
    assert written[0] == ["situation", "OFF", "ON"]
    assert written[1] == ["---"] * 3
    found = {}
    for name, *cells in written[2:]:
        for state, cell in zip((OFF, ON), cells, strict=True):
            outcome, _, reason = cell.partition(": ")
            after, _, closing = outcome.partition(", ")
            found[state, Situation[name]] = (
                GateState[after],
                Closing(closing) if closing else None,
                reason or None,
            )
    assert found == TRANSITIONS
    assert set(found) == set(product(GateState, Situation))


@given(looks)
def test_what_the_table_comes_to(given: list[Verdict]) -> None:
    """On: a good verdict late enough after any bad one, and none too long ago."""
    for now, state in enumerate(walked(0, given)):
        bad = max((i for i in range(now + 1) if given[i] in CLOSING), default=0)
        good = [i for i in range(bad + 4, now + 1) if given[i] is Verdict.GOOD]
        assert (state is ON) == any(now - i < 10 for i in good[-1:])


@given(looks, st.integers(0, 119))
def test_its_memory_ends(given: list[Verdict], skipped: int) -> None:
    """Wherever it starts, it agrees with one that has always run."""
    skipped = min(skipped, len(given) - 1)
    late = walked(skipped, given[skipped:])
    assert late[REACH:] == walked(0, given)[skipped + REACH :]


NOW = 1000 * FAST_STEP
LATE = NOW - LIMITS.dwell - 20 * FAST_STEP


@pytest.mark.parametrize(
    ("verdict", "bad", "good", "found"),
    [
        (Verdict.GOOD, NOW - LIMITS.dwell, LATE, Situation.GOOD),
        (Verdict.GOOD, NOW - LIMITS.dwell + 1, LATE, Situation.EARLY),
        (Verdict.FAIR, LATE, NOW - LIMITS.memory, Situation.STALE),
        (Verdict.UNKNOWN, LATE, NOW - LIMITS.memory, Situation.STALE),
        (Verdict.FAIR, LATE, NOW - LIMITS.memory + 1, Situation.IDLE),
        (Verdict.UNKNOWN, LATE, NOW - LIMITS.memory + 1, Situation.IDLE),
        *((v, LATE, LATE, Situation(v)) for v in (Verdict.JUMP, *CLOSING)),
    ],
)
def test_a_verdict_and_the_time_make_a_situation(
    verdict: Verdict, bad: int, good: int, found: Situation
) -> None:
    assert situation(Gate(bad, good, LATE), verdict, NOW, LIMITS) is found


@pytest.mark.parametrize(("state", "case"), TRANSITIONS)
def test_a_step_is_what_the_table_says(state: GateState, case: Situation) -> None:
    verdict, bad, good = {
        Situation.GOOD: (Verdict.GOOD, LATE, LATE),
        Situation.EARLY: (Verdict.GOOD, NOW - 1, LATE),
        Situation.IDLE: (Verdict.FAIR, LATE, NOW - 1),
        Situation.STALE: (Verdict.FAIR, LATE, LATE),
    }.get(case) or (Verdict(case.value), LATE, LATE)
    before = Gate(bad, good, LATE, state, reasons.UNSETTLED)
    finding = GateFinding("net", 1.02, 1.003)
    after, closures = step(before, verdict, NOW, LIMITS, finding)
    expected, closing, reason = TRANSITIONS[state, case]
    assert after.state is expected
    look, faded = (NOW, NOW + FAST_STEP), (NOW + LIMITS.fade, NOW + LIMITS.fade + FAST_STEP)
    if closing is Closing.HOLD:
        assert after == replace(before, closed_by=finding if state is ON else None)
        assert closures == [Closure(NOW, NOW + SLOT + FAST_STEP, reasons.JUMP)]
    elif closing is Closing.FADE:
        assert reason is not None
        assert closures == [Closure(*faded, reason, gentle=True)]
    else:
        assert closures == ([Closure(*look, after.reason)] if expected is OFF else [])
    # It remembers what it closed for, not what it is closed for all the longer.
    assert after.closed_by == (finding if closing and state is ON else None)
    if closing is not Closing.HOLD:
        assert after.reason == (reason or before.reason)
        assert after.bad == (NOW if verdict in CLOSING else bad)
        opens = expected is ON and verdict is Verdict.GOOD
        assert after.good == (NOW if opens else good)


def test_what_fades_is_closed_when_it_has_faded_or_at_once_where_it_is_urgent() -> None:
    for then in (Verdict.BAD, Verdict.URGENT):
        gate, closed = Gate(LATE, NOW, LATE, ON), []
        for number, verdict in enumerate([Verdict.BAD, then, Verdict.FAIR, Verdict.FAIR]):
            gate, closures = step(gate, verdict, NOW + number * FAST_STEP, LIMITS)
            closed += [(one.start - NOW) // FAST_STEP for one in closures if not one.gentle]
        assert closed == ([2, 3] if then is Verdict.BAD else [1, 2, 3])


def test_a_gate_has_faded_before_it_can_open_again() -> None:
    settings = replace(LIMITS, fade=10 * NS)
    _, (closure,) = step(Gate(LATE, NOW, LATE, ON), Verdict.BAD, NOW, settings)
    assert closure.start == NOW + settings.dwell


@pytest.mark.parametrize(
    ("verdict", "instant", "message"),
    [
        (Verdict.FAIR, NOW - 1, "after a later one"),
        ("bad", NOW, "not a valid Situation"),
        (GateState.OFF, NOW, "not a valid Situation"),
    ],
)
def test_what_is_no_verdict_is_refused_and_changes_nothing(
    verdict: Any, instant: int, message: str
) -> None:
    gate = Gate(NOW, LATE, LATE)
    with pytest.raises(ValueError, match=message):
        step(gate, verdict, instant, LIMITS)
    assert gate == Gate(NOW, LATE, LATE)
