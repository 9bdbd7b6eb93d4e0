"""Models in a running engine: who takes over, who is sent away, who comes back, and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Block, CleanedBlock, Float64, Gap, Series, Version
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.predict import Network
from deepclean.core.rollout.rollout import Event, Rollout
from deepclean.core.rollout.rules import (
    Probation,
    Trial,
    TrialBlock,
    TrialSettings,
    TrialVerdict,
    number,
)
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    NOISE,
    START,
    first_channel,
    push_all,
    same_bits,
    strain_of,
    transparent,
)
from tests.helpers.gated_stream import BANDS, GATED, RATE, record, scaled

RULES = TrialSettings(
    validation_time=10 * NS, patience=25 * NS, margin=0.05, rollback_after=4 * NS, probation=30 * NS
)

OLD, NEW, THIRD = (Version("all", n) for n in (1, 2, 3))


def flipped(inputs: torch.Tensor) -> torch.Tensor:
    """A network that multiplies its first channel by its second."""
    return inputs[:, 0] * inputs[:, 1]


def engine_of(settings: EngineSettings = GATED, std: float = NOISE) -> Engine:
    """Return an engine whose version 1 gives its first witness; the second may flip others."""
    made = transparent(settings, "FAST", "FLIP", bands=BANDS)
    (only,) = made.versions.production
    predictor = replace(only.predictor, strain_std=std, version=1)
    return Engine(settings, [replace(only, predictor=predictor)])


def model(version: int, std: float = NOISE, network: Network = first_channel) -> Coupling:
    """Return another version for `engine_of`."""
    (only,) = engine_of().versions.production
    predictor = replace(only.predictor, version=version, strain_std=std, network=network)
    return replace(only, predictor=predictor)


def blocks_of(seconds: int, bad: tuple[int, int] = (0, 0)) -> list[Block]:
    """Return seconds of data; from one second to another, FLIP is -1."""
    data = record(seconds)
    flip = np.ones(seconds * RATE)
    flip[bad[0] * RATE : bad[1] * RATE] = -1
    return data.replaced(FLIP=Series(data.span, RATE, flip)).blocks()


@cache
def plain(seconds: int) -> Float64:
    """Return the cleaned strain of an engine to which nothing is offered."""
    return strain_of(push_all(engine_of(), blocks_of(seconds)))


class Stage:
    """An engine, the rollout of its models, and what happened."""

    def __init__(self, engine: Engine | None = None, rules: TrialSettings = RULES) -> None:
        self.engine = engine or engine_of()
        self.rollout = Rollout(self.engine, rules)
        self.events: list[Event] = []
        self.cleaned: list[CleanedBlock] = []

    def offer(self, coupling: Coupling, role: str = "production") -> Callable[[int], None]:
        """Return the act of offering a model."""

        def act(instant: int) -> None:
            assert role in ("production", "canary")
            given = self.rollout.offer(instant, coupling.version, role, coupling)  # type: ignore[arg-type]
            if given:
                self.events.append(given)

        return act

    def play(
        self, blocks: Sequence[Block], acts: Mapping[int, Callable[[int], None]]
    ) -> list[tuple[int, str, int]]:
        """Push blocks, acting before those of the seconds named; return (second, what, version)."""
        for block in blocks:
            second = block.span.start // NS - START
            if second in acts and block.span.start % NS == 0:
                acts[second](block.span.start)
            for cleaned in self.engine.push(block):
                self.cleaned.append(cleaned)
                self.events += self.rollout.step(cleaned)
        return [(e.instant // NS - START, e.what, e.version.number) for e in self.events]

    def versions(self) -> list[int]:
        """Return the version in production, block by block."""
        return [block.estimates["all"].version for block in self.cleaned]


def test_a_good_version_takes_over_when_its_gate_is_open() -> None:
    stage = Stage()
    told = stage.play(blocks_of(40), {20: stage.offer(model(2))})
    assert [t[1:] for t in told] == [("offered", 2), ("in_force", 2)]
    second = told[1][0]
    assert 24 <= second <= 30
    # In force from that very sample on.
    assert stage.versions().index(2) == second
    assert stage.events[-1].former == 1
    gains = np.concatenate([b.estimates["all"].gain for b in stage.cleaned[15:]])
    assert (gains == 1).all()
    assert stage.engine.versions.at_work == (OLD, NEW)  # the former is kept ready


def test_a_bad_version_never_takes_over() -> None:
    stage = Stage()
    told = stage.play(blocks_of(70), {20: stage.offer(model(2, -NOISE))})
    assert [t[1:] for t in told] == [("offered", 2), ("refused", 2)]
    assert told[1][0] >= 20 + 25
    assert "its gate did not open in 25 s" in stage.events[-1].why
    assert same_bits(strain_of(stage.cleaned), plain(70))
    assert stage.engine.versions.at_work == (OLD,)


def test_where_production_is_out_of_spec_anything_else_may_try() -> None:
    stage = Stage(engine_of(std=-NOISE))
    told = stage.play(blocks_of(40), {20: stage.offer(model(2))})
    assert told[1][1:] == ("in_force", 2)
    assert told[1][0] == 23  # as soon as its filters are full
    assert stage.events[1].why == "production's gate is closed"
    assert (stage.cleaned[-2].estimates["all"].gain == 1).all()


def test_without_gates_a_version_takes_over_when_it_is_settled() -> None:
    stage = Stage(engine_of(replace(GATED, gate=None)))
    told = stage.play(blocks_of(30), {10: stage.offer(model(2))})
    assert told == [(10, "offered", 2), (13, "in_force", 2)]
    assert stage.engine.versions.at_work == (NEW,)  # nobody could judge whether to go back


def test_a_canary_passes_its_trial() -> None:
    stage = Stage()
    told = stage.play(blocks_of(60), {20: stage.offer(model(2), "canary")})
    assert [t[1:] for t in told] == [("offered", 2), ("promoted", 2)]
    promoted = told[1][0]
    assert 20 + 10 + 4 <= promoted <= 20 + 10 + 9
    figures = stage.events[-1].figures
    assert figures["in_spec"] == 10 * NS
    assert figures["candidate"] == pytest.approx(figures["other"])
    assert stage.rollout.standing("all") == "2, 1 kept ready"
    # Until then it ran beside production, with a product of its own.
    tried = [n for n, block in enumerate(stage.cleaned) if block.canary]
    assert tried[0] in (21, 22, 23)
    assert tried[-1] == promoted + 1  # crossfaded
    assert same_bits(strain_of(stage.cleaned[:promoted]), plain(60)[: promoted * RATE])
    assert stage.versions().index(2) == promoted


@pytest.mark.parametrize(
    ("std", "why"), [(-NOISE, "in spec for 0 of the last 10 s"), (0.7 * NOISE, "above 0.1")]
)
def test_a_canary_fails_its_trial(std: float, why: str) -> None:
    stage = Stage()
    told = stage.play(blocks_of(70), {20: stage.offer(model(2, std), "canary")})
    assert [t[1:] for t in told] == [("offered", 2), ("rejected", 2)]
    assert 45 <= told[1][0] <= 55
    assert why in stage.events[-1].why
    assert stage.engine.versions.at_work == (OLD,)
    assert stage.engine.versions.canary("all") is None
    assert same_bits(strain_of(stage.cleaned), plain(70))


def test_a_canary_that_is_no_worse_than_raw_beats_production_that_is() -> None:
    stage = Stage(engine_of(std=-NOISE))
    told = stage.play(blocks_of(50), {20: stage.offer(model(2, 0.5 * NOISE), "canary")})
    assert told[-1][1:] == ("promoted", 2)
    assert stage.events[-1].figures["other"] == 1.0


def test_production_that_turns_bad_goes_back_once() -> None:
    stage = Stage()
    blocks = blocks_of(110, bad=(45, 110))
    told = stage.play(blocks, {20: stage.offer(model(2, network=flipped))})
    assert [t[1:] for t in told] == [("offered", 2), ("in_force", 2), ("rolled_back", 1)]
    back = told[2][0]
    assert 45 + 4 <= back <= 45 + 4 + 4
    assert stage.events[-1].former == 2
    assert "out of spec for 4 s" in stage.events[-1].why
    assert stage.events[-1].figures["out_of_spec"] == 4 * NS
    assert stage.engine.versions.at_work == (OLD,)
    assert stage.versions()[back:] == [1] * len(stage.versions()[back:])
    # The former was ready: cleaned again at once.
    assert (stage.cleaned[back + 2].estimates["all"].gain == 1).all()


def test_what_stands_its_probation_lets_the_former_go() -> None:
    stage = Stage()
    told = stage.play(blocks_of(80), {20: stage.offer(model(2))})
    assert [t[1:] for t in told] == [("offered", 2), ("in_force", 2), ("confirmed", 2)]
    assert told[2][0] - told[1][0] in (30, 31, 32)
    assert stage.engine.versions.at_work == (NEW,)


def test_no_way_back_where_both_are_out_of_spec() -> None:
    """The coupling itself changed: going back would not help."""
    stage = Stage()
    ones = Series(Span.of_seconds(START, 90), RATE, np.ones(90 * RATE))
    data = scaled(record(90), 45, 90, -1.0).replaced(FLIP=ones)
    told = stage.play(data.blocks(), {20: stage.offer(model(2))})
    assert "rolled_back" not in [t[1] for t in told]


@pytest.mark.parametrize("kind", ["not ready", "no witness", "no strain"])
def test_time_that_does_not_count(kind: str) -> None:
    """A trial neither ends nor fails in it, however long it lasts."""

    def changed(block: Block) -> Block:
        second = block.span.start // NS - START
        ready = Series(block.span, 16, np.full(16, 7, np.uint32))
        if not 25 <= second < 70:
            return replace(block, state=ready)
        if kind == "not ready":
            return replace(block, state=Series(block.span, 16, np.zeros(16, np.uint32)))
        if kind == "no strain":
            return replace(block, strain=Gap(block.span, "missing"), state=ready)
        witnesses = {**block.witnesses, "FLIP": Gap(block.span, "missing")}
        return replace(block, witnesses=witnesses, state=ready)

    stage = Stage()
    blocks = [changed(block) for block in blocks_of(100)]
    told = stage.play(blocks, {20: stage.offer(model(2), "canary")})
    assert [t[1:] for t in told] == [("offered", 2), ("promoted", 2)]
    assert told[1][0] > 70 + 4


def test_how_things_stand_is_said() -> None:
    stage = Stage()
    assert stage.rollout.standing("all") == "1"
    stage.play(blocks_of(32), {20: stage.offer(model(2), "canary"), 30: stage.offer(model(3))})
    said = stage.rollout.standing("all")
    assert said.startswith("1, 3 about to take over, canary 2 in spec for ")
    assert said.endswith(" of 10 s")


def test_a_canary_is_withdrawn_and_another_tried() -> None:
    stage = Stage()

    def withdraw(instant: int) -> None:
        event = stage.rollout.withdraw(instant, "all", "canary")
        assert event is not None
        stage.events.append(event)

    offers = {second: stage.offer(model(n), "canary") for second, n in ((20, 2), (28, 3), (30, 2))}
    told = stage.play(blocks_of(60), {**offers, 25: withdraw})
    what = [("offered", 2), ("withdrawn", 2), ("offered", 3), ("offered", 2)]
    assert [t[1:] for t in told[:4]] == what
    assert THIRD not in stage.engine.versions.at_work
    assert told[4:] == [(told[4][0], "promoted", 2)]


def test_the_canary_may_be_put_in_force_by_hand() -> None:
    stage = Stage()
    acts = {20: stage.offer(model(2), "canary"), 32: stage.offer(model(2))}
    told = stage.play(blocks_of(50), acts)
    assert [t[1] for t in told] == ["offered", "offered", "in_force"]
    assert told[2][0] in (33, 34)  # it was warm
    assert stage.engine.versions.canary("all") is None
    assert stage.engine.versions.at_work == (OLD, NEW)


def test_changing_ones_mind_cancels_what_was_to_come() -> None:
    stage = Stage()
    acts = {20: stage.offer(model(2, -NOISE)), 24: stage.offer(model(1))}
    told = stage.play(blocks_of(50), acts)
    assert told == [(20, "offered", 2), (24, "withdrawn", 2)]
    assert stage.events[-1].role == "production"
    assert stage.engine.versions.at_work == (OLD,)


def test_the_next_order_takes_the_place_of_the_last() -> None:
    stage = Stage()
    told = stage.play(blocks_of(60), {20: stage.offer(model(2, -NOISE)), 24: stage.offer(model(3))})
    assert told[-1][1:] == ("in_force", 3)
    assert stage.engine.versions.at_work == (OLD, THIRD)


def test_what_the_engine_cannot_take_changes_nothing() -> None:
    stage = Stage()
    stage.play(blocks_of(40)[:20], {})
    unknown = replace(model(2), witnesses=("OTHER",))
    with pytest.raises(ValueError, match="not read"):
        stage.rollout.offer(0, NEW, "canary", unknown)
    assert stage.rollout.withdraw(0, "all", "canary") is None


def test_the_same_data_lead_to_the_same_decisions() -> None:
    def played() -> list[Event]:
        stage = Stage()
        offered = {20: stage.offer(model(2, network=flipped), "canary")}
        stage.play(blocks_of(100, bad=(60, 100)), offered)
        return stage.events

    first = played()
    assert [event.what for event in first] == ["offered", "promoted", "rolled_back"]
    assert played() == first


# the rules by themselves

sights = st.builds(
    TrialBlock,
    st.just(NS),
    st.sampled_from([0.5, 0.9, 1.2, number(float("nan"))]),
    st.booleans(),
    st.sampled_from([0.5, 0.9]),
    st.booleans(),
)


@given(st.lists(sights, max_size=60))
@settings(max_examples=200)
def test_a_trial_ends_by_the_rule(seen: list[TrialBlock]) -> None:
    """Compared with the rule written down directly: the last ten sights, the count of all."""
    trial = Trial(RULES)
    for count, sight in enumerate(seen, start=1):
        verdict, last = trial.step(sight), seen[max(count - 10, 0) : count]
        mean = sum(s.candidate for s in last) / len(last)
        other = sum(s.other if s.other_in_spec else 1.0 for s in last) / len(last)
        passed = len(last) == 10 and all(s.candidate_in_spec for s in last)
        if passed and mean <= 1.05 * other * (1 + 1e-12):
            assert verdict in (TrialVerdict.GOOD, TrialVerdict.WAIT, TrialVerdict.BAD)
            if mean < 1.05 * other * (1 - 1e-12):
                assert verdict is TrialVerdict.GOOD
        else:
            assert verdict is (TrialVerdict.BAD if count >= 25 else TrialVerdict.WAIT)
        if verdict is not TrialVerdict.WAIT:
            break


@given(st.lists(sights, max_size=60))
def test_a_probation_ends_by_the_rule(seen: list[TrialBlock]) -> None:
    probation = Probation(RULES)
    for count, sight in enumerate(seen, start=1):
        verdict = probation.step(sight)
        last = seen[max(count - 4, 0) : count]
        worse = len(last) == 4 and all(not s.candidate_in_spec and s.other_in_spec for s in last)
        expected = TrialVerdict.GOOD if count >= 30 else TrialVerdict.WAIT
        assert verdict is (TrialVerdict.BAD if worse else expected)
        if verdict is not TrialVerdict.WAIT:
            break


def test_blocks_of_any_length_count_by_their_time() -> None:
    half = [TrialBlock(NS // 2, 0.5, True, 0.5, True)] * 20
    trial = Trial(RULES)
    verdicts = [trial.step(sight) for sight in half]
    assert verdicts == [TrialVerdict.WAIT] * 19 + [TrialVerdict.GOOD]
