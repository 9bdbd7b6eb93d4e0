"""An operator's controls in the engine: ramps, freezes, and the same bits however all is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from deepclean.core.adapt.held import HeldGains
from deepclean.core.block import CleanedBlock, Float64, Version
from deepclean.core.control import Control, Freeze, Step, freezes, steps
from deepclean.core.engine.engine import Engine
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import State, render
from deepclean.core.time import NS, Span
from tests.core.engine import test_adaptation_features as features
from tests.core.engine.test_adaptation import ADAPT, COUPLINGS, complete, knots_of, record
from tests.helpers.builders import (
    NOISE,
    SIXTEENTH,
    SMALL,
    START,
    Record,
    Small,
    assert_same_bits,
    clean,
    estimate,
    make_engine,
    make_record,
    over,
    same_bits,
    strain_of,
    wiener,
)
from tests.helpers.gated_stream import engine as gated_engine
from tests.helpers.gated_stream import record as gated_record

ENGINES = {
    "waits": SMALL,
    "hasty": replace(SMALL, forecast=ForecastSettings(memory=4 * NS)),
    "long hops": replace(SMALL, hop=4 * NS),
}


def at(second: int) -> int:
    """Return an instant, from a second of a record."""
    return (START + second) * NS


def gain(second: int, value: float, until: int | None = None, name: str | None = "60Hz") -> Control:
    """Return a control of a gain, in seconds of a record."""
    return Control(at(second), "gain", name, value, None if until is None else at(until))


def freeze(second: int, until: int | None = None, value: float = 1) -> Control:
    """Return a freeze of adaptation, in seconds of a record."""
    return Control(at(second), "freeze", "60Hz", value, None if until is None else at(until))


def engine(
    kind: str = "waits",
    coupling: str = "carrier",
    controls: Sequence[Control] = (),
    held: Sequence[HeldGains] = (),
) -> Engine:
    """Return an engine with these controls from the start."""
    made = make_engine(ENGINES[kind], COUPLINGS[coupling])
    made.controls.restore(held)
    for control in controls:
        made.controls.add(control)
    return made


def fed(made: Engine, data: Record, cuts: Sequence[int] = (16,)) -> list[CleanedBlock]:
    return clean(made, data.blocks(cuts))


def test_a_later_control_replaces_an_earlier_one_and_ends_at_its_time() -> None:
    controls = [gain(2, 0.0, 20), gain(5, 0.5, 8), gain(9, 0.0, 12, None), gain(10, 1.0)]
    found = [Step(at(2), 0.0), Step(at(5), 0.5), Step(at(8), 1.0), Step(at(9), 0.0)]
    assert steps(controls, "60Hz") == [*found, Step(at(12), 1.0)]
    assert steps(controls, "other") == [Step(at(9), 0.0), Step(at(12), 1.0)]
    frozen = [freeze(2, 30), freeze(5, value=0), freeze(7, 9), freeze(9, 11)]
    assert freezes(frozen, "60Hz") == (
        Freeze(START + 2, START + 5),
        Freeze(START + 7, START + 11),
    )
    assert freezes(frozen, "other") == ()


@pytest.mark.parametrize(
    ("instant", "what", "value", "until", "said"),
    [
        (NS + 1, "gain", 0.0, None, "whole"),
        (NS, "gain", 0.0, NS, "after it begins"),
        (NS, "gain", 1.5, None, "no value of gain"),
        (NS, "gain", float("nan"), None, "no value of gain"),
        (NS, "freeze", 0.5, None, "no value of freeze"),
    ],
)
def test_what_is_no_control(
    instant: int, what: str, value: float, until: int | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Control(instant, what, "60Hz", value, until)  # type: ignore[arg-type]


def test_the_gain_goes_along_a_raised_cosine_from_the_second_on() -> None:
    data = make_record(16)
    free = fed(make_engine(SMALL), data)
    made = make_engine(SMALL)
    made.controls.add(gain(6, 0.5, 11))
    held = fed(made, data)
    rate, length = SMALL.strain_rate, SMALL.crossfade * SMALL.strain_rate // NS
    rising = np.sin(np.pi / 2 * (np.arange(length) + 0.5) / length) ** 2
    expected = np.ones(16 * rate)
    expected[6 * rate : 11 * rate] = 0.5
    expected[6 * rate : 6 * rate + length] = 1 - 0.5 * rising
    expected[11 * rate : 11 * rate + length] = 0.5 + 0.5 * rising
    np.testing.assert_allclose(estimate(held).gain, estimate(free).gain * expected, rtol=1e-12)
    assert same_bits(estimate(held).noise, estimate(free).noise)
    inside = slice(8 * rate, 11 * rate)
    assert set(estimate(held).gain[inside].tolist()) == {0.5}
    production = np.concatenate([b.products.production for b in held if b.products])
    assert same_bits(production, strain_of(free))


def test_a_gain_of_0_gives_the_raw_strain_bit_for_bit() -> None:
    data = make_record(12)
    made = make_engine(SMALL)
    made.controls.add(gain(3, 0.0, name=None))
    found = fed(made, data)
    for block in found[5:]:
        assert block.cleaned is not None
        assert same_bits(block.cleaned, np.asarray(block.source.strain.samples))  # type: ignore[union-attr]


def test_a_second_that_is_computed_cannot_be_controlled() -> None:
    made, data = make_engine(SMALL), make_record(6)
    for block in data.blocks()[:4]:
        made.push(block)
    assert made.controls.earliest(at(4)) == at(5)
    with pytest.raises(ValueError, match="computed already"):
        made.controls.add(gain(4, 0.0))
    made.controls.add(gain(5, 0.0))
    assert made.controls.all == (gain(5, 0.0),)


def test_out_of_the_band_nothing_is_seen_of_a_ramp() -> None:
    """Noise a hundred times as loud as the floor is switched off and on; beside it is silence."""
    rate, seconds = SMALL.strain_rate, 48
    data = make_record(seconds)
    coupling = Small(network=wiener(3))
    noise = estimate(fed(make_engine(SMALL, coupling), data)).noise
    strain = 1e-2 * noise.std() * np.asarray(data.strain.samples) / NOISE + noise  # type: ignore[union-attr]
    loud = Record(data.span, replace(data.strain, samples=strain), data.witnesses)
    outputs = []
    for controls in ((), (gain(16, 0.0), gain(24, 0.5), gain(32, 1.0))):
        made = make_engine(SMALL, coupling)
        for control in controls:
            made.controls.add(control)
        outputs.append(strain_of(fed(made, loud))[14 * rate : 38 * rate])
    frequency, free = welch(outputs[0], rate, nperseg=4 * rate)
    _, held = welch(outputs[1], rate, nperseg=4 * rate)
    # The band is 55 to 65 Hz, and the bandpass's transition 10 Hz wide.
    outside = (frequency > 12) & ((frequency < 44) | (frequency > 76)) & (frequency < 250)
    inside = (frequency > 59) & (frequency < 61)
    assert (held[inside] > 1e2 * free[inside]).any()
    ratio = held[outside] / free[outside]
    print("out of the band, power with over without:", ratio.min(), ratio.max())
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


def test_the_adaptation_learns_on_under_gain_0() -> None:
    data = record()
    free = fed(engine(), data)
    held = fed(engine(controls=[gain(5, 0.0, 40)]), data)
    assert same_bits(estimate(held).noise, estimate(free).noise)
    rate = SMALL.strain_rate
    assert same_bits(strain_of(held)[43 * rate :], strain_of(free)[43 * rate :])


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_freeze_holds_the_gains_of_its_second(coupling: str) -> None:
    data, second, until = record(), 31, 41
    free = fed(engine(coupling=coupling), data)
    made = engine(coupling=coupling, controls=[freeze(second, until)])
    held = fed(made, data)
    rate = SMALL.strain_rate
    # The interpolation to the strain's rate reads 16 samples of the model's rate further.
    before = slice(second * rate - 16 * rate // SMALL.model_rate)
    assert same_bits(estimate(held).noise[before], estimate(free).noise[before])
    cadence = COUPLINGS[coupling].adapt.cadence  # type: ignore[union-attr]
    first = -(-(START + second) // cadence) * cadence
    learnt = {knot.second: knot for knot in knots_of(free)}
    during = {knot.second: knot for knot in knots_of(held)}
    for one in range(first, START + until + 1, cadence):
        assert same_bits(during[one].gains, learnt[first].gains)
    assert not same_bits(learnt[first + 6].gains, learnt[first].gains)
    late = (until + 1 + cadence) * rate
    assert same_bits(estimate(held).noise[late:], estimate(free).noise[late:])
    assert [one.knot.second for one in made.controls.pop_held()] == [first]
    assert made.controls.pop_held() == []


def test_what_is_controlled_is_said_in_the_bits() -> None:
    made = engine(controls=[gain(20, 0.5), gain(30, 1.0), freeze(40, 42)])
    found = fed(made, record())
    frames = CleanedFrame(InputFrame(record().span, [b.source for b in found]), found)
    channels = render(frames, "H1:STRAIN", ["OUT_DQ"])
    bits = channels["H1:DEEPCLEAN-STATE_VECTOR"].samples
    automatic, following, steady, full = (
        (bits & bit) != 0 for bit in (State.AUTOMATIC, State.FOLLOWING, State.STEADY, State.CLEANED)
    )
    assert np.array_equal(np.flatnonzero(~automatic), np.arange(20 * 16, 32 * 16))
    assert np.array_equal(np.flatnonzero(~following), np.arange(40 * 16, 42 * 16))
    inside = slice(16 * 16, 48 * 16)
    moving = np.flatnonzero(~steady[inside]) + 16 * 16
    assert set(moving.tolist()) == {*range(20 * 16, 22 * 16), *range(30 * 16, 32 * 16)}
    assert not full[20 * 16 : 32 * 16].any()
    assert found[25].estimates["60Hz"].reasons == ("operator",)


def test_the_gates_judge_on_while_an_operator_holds_the_gain() -> None:
    data = gated_record()
    free, made = fed(gated_engine(), data), gated_engine()
    made.controls.add(Control(at(12), "gain", "all", 0.0, at(30)))
    held = fed(made, data)
    for one, other in zip(free, held, strict=True):
        before, after = one.estimates["all"], other.estimates["all"]
        assert before.gate is not None
        assert after.gate is not None
        assert same_bits(before.gate, after.gate)
    assert free[25].estimates["all"].gain.min() == 1
    assert held[25].estimates["all"].gain.max() == 0
    assert same_bits(strain_of(free[32:]), strain_of(held[32:]))


def test_a_limit_of_the_gates_changes_at_its_second_and_not_before() -> None:
    """Nothing is good enough any more, so the gate closes; the same in any cut."""
    data = gated_record()
    limits = [
        Control(at(20), "worst_above", None, 1e-6),
        Control(at(30), "worst_above", None, 3.0),
    ]
    free, made = fed(gated_engine(), data), gated_engine()
    for control in limits:
        made.controls.add(control)
    held = fed(made, data)
    gates = [np.concatenate([b.estimates["all"].gate for b in one]) for one in (free, held)]
    first = int(np.flatnonzero(gates[0] != gates[1])[0]) / 512
    print("the gate closes", first - 20, "s after the limit")
    assert 20 <= first < 22
    assert gates[1][23 * 512 : 30 * 512].max() == 0
    assert gates[1][36 * 512 :].min() == 1
    late = gated_engine()
    found = []
    for block in data.blocks((5, 3, 16)):
        for control in list(limits):
            if control.instant < block.span.end + NS:
                late.controls.add(control)
                limits.remove(control)
        found += late.push(block)
    assert same_bits(strain_of(found + late.release()), strain_of(held))


seconds = st.integers(4, 46)
acts = st.lists(
    st.one_of(
        st.builds(
            gain,
            seconds,
            st.sampled_from([0.0, 0.5, 0.3, 1.0]),
            st.none() | st.integers(47, 60),
            st.sampled_from(["60Hz", None]),
        ),
        st.builds(freeze, seconds, st.none() | st.integers(47, 60), st.sampled_from([1, 1, 0])),
    ),
    min_size=1,
    max_size=5,
)
"""Controls at random seconds."""

lengths = st.lists(
    st.one_of(st.integers(1, 16), st.integers(1, 64).map(lambda s: 16 * s)), min_size=2, max_size=8
)
"""Of blocks, in sixteenths of a second."""


@lru_cache
def at_once(kind: str, coupling: str, controls: tuple[Control, ...]) -> CleanedBlock:
    (whole,) = fed(engine(kind, coupling, controls), record(), (16 * 50,))
    return whole


@pytest.mark.parametrize(
    ("kind", "coupling"),
    [("waits", "carrier"), ("hasty", "delay"), ("long hops", "windowed"), ("hasty", "windowed")],
)
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(controls=acts, cuts=lengths, again=st.integers(30, 44), ahead=st.integers(1, 3))
def test_live_restarted_and_replayed_are_the_same_bits(
    kind: str, coupling: str, controls: list[Control], cuts: list[int], again: int, ahead: int
) -> None:
    """Controls that come as the stream runs, a restart at any second, and all known at first."""
    whole = at_once(kind, coupling, tuple(controls))
    data = record()
    live, told, record_of = engine(kind, coupling), list(controls), list[HeldGains]()
    found: list[CleanedBlock] = []
    for block in data.blocks(cuts):
        # Each comes at the last moment, or a little before.
        due = [c for c in told if c.instant < block.span.end + ahead * NS]
        told = [c for c in told if c not in due]
        for control in due:
            live.controls.add(control)
        found += live.push(block)
        record_of += live.controls.pop_held()
    found += live.release()
    compared = Span(at(0), at(49))
    assert_same_bits(over(found, compared), over([whole], compared))
    # A restart knows the record as it was when the last frame went out.
    known = [one for one in record_of if one.start <= START + again]
    second = engine(kind, coupling, controls, known)
    since = max(0, again * NS - second.history)
    rest = clean(second, data.between(since // SIXTEENTH * SIXTEENTH, 50 * NS).blocks(cuts))
    compared = complete(second, Span(at(0) + since // SIXTEENTH * SIXTEENTH, at(50)))
    compared = Span(max(compared.start, at(again)), compared.end)
    assert_same_bits(over(rest, compared), over([whole], compared))


def test_a_freeze_that_is_older_than_the_history_is_kept_by_what_it_holds() -> None:
    controls = [freeze(28)]
    made = engine(controls=controls)
    whole = fed(made, record())
    held = made.controls.pop_held()
    span = Span(at(48), at(49))
    data = record().between((48 * NS - made.history) // SIXTEENTH * SIXTEENTH, 50 * NS)
    assert data.span.start > at(28)
    without, given_back = (
        clean(engine(controls=controls, held=known), data.blocks()) for known in ((), held)
    )
    assert_same_bits(over(given_back, span), over(whole, span))
    assert not same_bits(over(without, span)[1], over(whole, span)[1])


@pytest.mark.parametrize(("kind", "coupling"), [("waits", "carrier"), ("hasty", "delay")])
def test_the_gains_of_features_are_frozen_too(kind: str, coupling: str) -> None:
    """And are the same after a restart that does not see the data on which they rest."""
    controls = [Control(at(27), "freeze", None, 1, at(62))]
    data, plain = features.record(), features.engine(kind, coupling)

    def made(held: Sequence[HeldGains] = ()) -> Engine:
        engine = features.engine(kind, coupling)
        engine.controls.restore(held)
        for control in controls:
            engine.controls.add(control)
        return engine

    live = made()
    whole, free = fed(live, data), fed(plain, data)
    held = live.controls.pop_held()
    seconds = {one.features: one.knot.second - START for one in held}
    assert seconds == {False: 27, True: 28}
    slow = next(one.knot.gains for one in held if one.features)
    assert abs(slow - 1).max() > 0.05
    span = Span(at(56), at(60))
    assert not same_bits(over(whole, span)[1], over(free, span)[1])
    begin = (56 * NS - live.history) // SIXTEENTH * SIXTEENTH
    assert begin > 28 * NS - 20 * NS
    rest = clean(made(held), data.between(begin, 66 * NS).blocks((7, 16, 30)))
    assert_same_bits(over(rest, span), over(whole, span))


def test_a_version_that_comes_during_a_freeze_has_the_gains_of_its_model() -> None:
    made = engine(controls=[freeze(30)])
    other = replace(COUPLINGS["carrier"], version=2)
    new = Version("60Hz", 2)
    found = []
    for block in record().blocks():
        if block.span.start == at(34):
            made.versions.add(other.coupling())
        if block.span.start == at(40):
            made.versions.promote(new)
        found += made.push(block)
    held = {one.version: one.knot for one in made.controls.pop_held()}
    assert held[new].gains.tolist() == [1.0, 0.0]
    assert held[Version("60Hz", 1)].gains.tolist() != [1.0, 0.0]
    (fixed,) = clean(
        make_engine(SMALL, replace(other, adapt=None)), [record().block(record().span)]
    )
    rate = SMALL.strain_rate
    got: Float64 = estimate(found).noise[44 * rate : 47 * rate]
    np.testing.assert_allclose(
        got, fixed.estimates["60Hz"].noise[44 * rate : 47 * rate], atol=1e-6 * NOISE
    )


def test_the_history_is_what_it_is_without_controls() -> None:
    assert engine(controls=[freeze(14)]).history == engine().history
    assert ADAPT.memory > 0
