"""Versions come and go in a running engine: what is seen of it, and from which sample on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter1d

from deepclean.core.block import CleanedBlock, Estimate, Float64, Series, Version
from deepclean.core.engine import crossfade
from deepclean.core.engine.coupling import Coupling
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.state import Switch
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.output.products import render
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    NOISE,
    SMALL,
    START,
    Record,
    Small,
    estimate,
    make_engine,
    make_record,
    play,
    push_all,
    same_bits,
    strain_of,
    wiener,
)
from tests.helpers.gated_stream import GATED, gate_of, record
from tests.helpers.gated_stream import engine as gated_engine

RECORD = make_record(16)
FADE = SMALL.crossfade * SMALL.strain_rate // NS
OLD, NEW = Version("60Hz", 1), Version("60Hz", 2)


def model(version: int, name: str = "60Hz") -> Coupling:
    """Return a version of its own weights; all share the geometry."""
    return Small(name, network=wiener(3, seed=version), version=version).coupling()


def alone(version: int, data: Record = RECORD) -> list[CleanedBlock]:
    """Return what an engine makes of a record with one version throughout."""
    engine = Engine(SMALL, [model(version)])
    return push_all(engine, data.blocks())


def begun(seconds: int) -> Engine:
    """Return an engine of version 1 that has these seconds of the record."""
    engine = Engine(SMALL, [model(1)])
    push_all(engine, RECORD.blocks()[:seconds])
    return engine


def noise_of(blocks: Sequence[CleanedBlock], version: Version | None = None) -> Float64:
    """Return the noise of consecutive blocks, of production or of a version beside it."""
    parts = [b.estimates["60Hz"] if version is None else b.others[version] for b in blocks]
    return np.concatenate([part.noise for part in parts])


def subtracted(blocks: Sequence[CleanedBlock]) -> Float64:
    """Return what was taken from the strain over consecutive blocks."""
    return np.concatenate([block.estimates["60Hz"].subtracted() for block in blocks])


def switched(data: Record, cuts: Sequence[int], add: int, switch: int) -> list[CleanedBlock]:
    """Return the blocks of a record; at these seconds version 2 joins and takes over."""
    engine = Engine(SMALL, [model(1)])

    def take_over() -> None:
        assert engine.versions.promote(NEW) == data.span.start + switch * NS

    acts = {add: lambda: engine.versions.add(model(2)), switch: take_over}
    return play(engine, data.blocks(cuts), acts)


def test_a_version_beside_production_changes_no_bit_of_it() -> None:
    plain, engine = alone(1), Engine(SMALL, [model(1)])
    found = play(engine, RECORD.blocks(), {5: lambda: engine.versions.add(model(2))})
    assert same_bits(strain_of(found), strain_of(plain))
    assert [NEW in block.others for block in found] == [n >= 4 for n in range(len(found))]


def test_a_version_that_joins_is_soon_what_it_would_always_have_been() -> None:
    whole, joined = alone(2), switched(RECORD, (16,), 5, 15)
    beside = joined[6:14]
    first = next(n for n, b in enumerate(beside) if (b.others[NEW].gain == 1).all())
    assert first <= 2
    assert not joined[5].others[NEW].gain[0]
    assert same_bits(noise_of(beside[first:], NEW), noise_of(whole[6 + first : 14]))


@given(st.sampled_from([(16,), (1,), (1, 2, 5, 8), (9, 7), (4, 12)]), st.integers(9, 11))
@settings(max_examples=10)
def test_a_switch_is_at_its_sample_and_crossfades_whatever_the_blocks(
    cuts: tuple[int, ...], second: int
) -> None:
    before, after = subtracted(alone(1)), subtracted(alone(2))
    found = switched(RECORD, cuts, 5, second)
    got, at = subtracted(found), second * SMALL.strain_rate
    count = len(got)
    assert np.array_equal(got[:at], before[:at])
    assert np.array_equal(got[at + FADE :], after[at + FADE : count])
    rising = np.sin(np.pi / 2 * (np.arange(FADE) + 0.5) / FADE) ** 2
    between = (1 - rising) * before[at : at + FADE] + rising * after[at : at + FADE]
    np.testing.assert_allclose(got[at : at + FADE], between, rtol=1e-12)
    for block in found:
        switched_by_then = block.span.start >= RECORD.span.start + second * NS
        assert block.estimates["60Hz"].version == (2 if switched_by_then else 1)


def test_released_in_the_middle_of_a_switch() -> None:
    """What comes out early lacks its look-ahead and nothing else; what follows is as ever."""
    usual = switched(RECORD, (8,), 5, 10)
    engine, blocks = Engine(SMALL, [model(1)]), RECORD.blocks((8,))
    acts = {5: lambda: engine.versions.add(model(2)), 10: lambda: take_over(engine)}
    found = play(engine, blocks[:21], acts) + engine.release() + push_all(engine, blocks[21:])
    assert engine.versions.at_work == (NEW,)
    pairs = zip(found, usual, strict=False)
    same = [np.array_equal(subtracted([a]), subtracted([b])) for a, b in pairs]
    late = [n for n, one in enumerate(same) if not one]
    # The blocks that were inside: the last second before the switch, and the one after it.
    assert set(late) <= {18, 19, 20}


def take_over(engine: Engine) -> None:
    """Let version 2 take over, and version 1 go."""
    engine.versions.promote(NEW)
    engine.versions.remove(OLD)


def test_a_version_that_goes_is_freed_with_the_last_block_that_needs_it() -> None:
    engine = Engine(SMALL, [model(1)])
    blocks = RECORD.blocks()
    push_all(engine, blocks[:8])
    going = weakref.ref(engine.versions.production[0].predictor.witness_mean)
    engine.versions.add(model(2))
    push_all(engine, blocks[8:12])
    take_over(engine)
    assert engine.versions.at_work == (NEW,)
    engine.push(blocks[12])
    assert going() is not None  # the crossfade is still inside
    push_all(engine, blocks[13:15])
    gc.collect()
    assert going() is None


def test_the_canary_has_a_product_of_its_own() -> None:
    engine, instants = Engine(SMALL, [model(1)]), list[int | None]()
    acts = {
        4: lambda: engine.versions.add(model(2)),
        8: lambda: instants.append(engine.versions.set_canary("60Hz", NEW)),
        12: lambda: engine.versions.set_canary("60Hz", None),
    }
    found = play(engine, RECORD.blocks(), acts)
    assert instants == [RECORD.span.start + 8 * NS]
    assert [bool(block.canary) for block in found] == [8 <= n <= 13 for n in range(15)]
    assert same_bits(strain_of(found), strain_of(alone(1)))
    tried = [_product(block, "CANARY") for block in found]
    production = [_product(block, "PRODUCTION") for block in found]
    other = [_product(block, "PRODUCTION") for block in alone(2)]
    for n in (*range(8), 14):
        assert same_bits(tried[n], production[n])
    for n in (10, 11):
        assert same_bits(tried[n], other[n])
    # Crossfaded there and back.
    for n in (8, 9, 12, 13):
        assert not np.array_equal(tried[n], other[n])
        assert not np.array_equal(tried[n], production[n])


def _product(block: CleanedBlock, product: str) -> Float64:
    frame = CleanedFrame(InputFrame(block.span, [block.source]), [block])
    channels = render(frame, "H1:STRAIN", [product])
    return np.asarray(next(iter(channels.values())).samples)


def test_a_canary_that_is_promoted_is_none_any_more() -> None:
    engine = begun(4)
    engine.versions.add(model(2))
    engine.versions.set_canary("60Hz", NEW)
    push_all(engine, RECORD.blocks()[4:8])
    engine.versions.promote(NEW)
    assert engine.versions.canary("60Hz") is None
    assert [c.version for c in engine.versions.production] == [NEW]
    found = push_all(engine, RECORD.blocks()[8:12])
    assert [block.estimates["60Hz"].version for block in found] == [1, 2, 2, 2]


def test_a_restart_keeps_who_is_at_work() -> None:
    engine = begun(6)
    engine.versions.add(model(2))
    take_over(engine)
    engine.restart()
    assert engine.versions.at_work == (NEW,)
    assert np.array_equal(subtracted(push_all(engine, RECORD.blocks())), subtracted(alone(2)))


def test_before_the_first_block_a_switch_is_no_switch() -> None:
    engine = Engine(SMALL, [model(1)])
    engine.versions.add(model(2))
    assert engine.versions.promote(NEW) is None
    engine.versions.remove(OLD)
    assert engine.versions.at_work == (NEW,)
    assert same_bits(strain_of(push_all(engine, RECORD.blocks())), strain_of(alone(2)))


def test_a_gap_that_spans_all_memory_ends_what_was_let_go() -> None:
    engine = Engine(SMALL, [model(1)])
    blocks = make_record(4).blocks() + make_record(8, start=START + 100).blocks()
    push_all(engine, blocks[:4])
    engine.versions.add(model(2))
    take_over(engine)
    found = push_all(engine, blocks[4:])
    assert [block.estimates["60Hz"].version for block in found][1:] == [2] * (len(found) - 1)


@pytest.mark.parametrize(
    ("coupling", "match"),
    [
        (model(1), "at work already"),
        (model(2, "another"), "no coupling another"),
        (replace(model(2), witnesses=("SLOW", "ODD", "OTHER")), "not read: OTHER"),
        (
            replace(model(2), predict=replace(Small().predict, edge=150)),
            r"60Hz version 2 needs .* look-ahead, .* restart",
        ),
    ],
)
def test_what_cannot_join_is_refused_and_changes_nothing(coupling: Coupling, match: str) -> None:
    engine = begun(3)
    with pytest.raises(ValueError, match=match):
        engine.versions.add(coupling)
    assert engine.versions.at_work == (OLD,)
    found = push_all(engine, RECORD.blocks()[3:])
    assert np.array_equal(subtracted(found), subtracted(alone(1))[2 * SMALL.strain_rate :])


def test_another_network_of_the_same_geometry_may_join() -> None:
    engine = begun(3)
    engine.versions.add(Small(version=2, network=wiener(3, taps=65)).coupling())
    assert engine.versions.at_work == (OLD, NEW)


def test_roles_are_kept_apart() -> None:
    engine = Engine(SMALL, [model(1)])
    with pytest.raises(ValueError, match="not at work"):
        engine.versions.promote(NEW)
    with pytest.raises(ValueError, match="not at work"):
        engine.versions.set_canary("60Hz", NEW)
    with pytest.raises(ValueError, match="not at work"):
        engine.versions.remove(NEW)
    with pytest.raises(ValueError, match="has a role"):
        engine.versions.remove(OLD)
    push_all(engine, RECORD.blocks((2,))[:20])
    for number in (2, 3):
        engine.versions.add(model(number))
    engine.versions.promote(NEW)
    with pytest.raises(ValueError, match="not done yet"):
        engine.versions.promote(Version("60Hz", 3))


def test_two_couplings_switch_by_themselves() -> None:
    engine = Engine(SMALL, [model(1), model(7, "other")])
    acts = {6: lambda: engine.versions.add(model(2)), 10: lambda: engine.versions.promote(NEW)}
    found = play(engine, RECORD.blocks(), acts)
    plain = push_all(Engine(SMALL, [model(7, "other")]), RECORD.blocks())
    assert same_bits(estimate(found, "other").noise, estimate(plain, "other").noise)


# the gate


def joining(
    engine: Engine, version: Coupling, add: int, switch: int
) -> dict[int, Callable[[], object]]:
    """Return the acts by which a version joins and, later, takes over."""
    return {
        add: lambda: engine.versions.add(version),
        switch: lambda: engine.versions.promote(version.version),
    }


def test_a_version_has_a_gate_of_its_own() -> None:
    """It joins closed, opens by itself, and is crossfaded with the other's gate."""
    data, engine = record(40), gated_engine()
    (first,) = engine.versions.production
    second = replace(first, predictor=replace(first.predictor, version=2))
    found = play(engine, data.blocks(), joining(engine, second, 20, 32))
    plain = push_all(gated_engine(), data.blocks())
    assert np.array_equal(gate_of(found), gate_of(plain))  # both are good: nothing is seen
    beside = [block.others[Version("all", 2)].gate for block in found[20:32]]
    gates = np.concatenate([gate for gate in beside if gate is not None])
    assert gates[0] == 0
    assert gates[-1] == 1
    assert same_bits(strain_of(found)[: 32 * 512], strain_of(plain)[: 32 * 512])
    np.testing.assert_allclose(strain_of(found), strain_of(plain), rtol=0, atol=1e-30)


def test_a_closed_gate_takes_over_smoothly() -> None:
    """From a good version to a bad one whose gate is closed: the gain falls as the weight does."""
    data, engine = record(40), gated_engine()
    (first,) = engine.versions.production
    bad = replace(first, predictor=replace(first.predictor, version=2, strain_std=-1e-21))
    found = play(engine, data.blocks(), joining(engine, bad, 15, 30))
    ramp = GATED.crossfade * 512 // NS
    gains = np.concatenate([block.estimates["all"].gain for block in found])
    at = 30 * 512
    assert (gains[at - 512 : at] == 1).all()
    assert (gains[at + ramp :] == 0).all()
    weight = crossfade.weight(
        Span.of_seconds(START + 30, 2), 512, (START + 30) * NS, GATED.crossfade
    )
    np.testing.assert_allclose(gains[at : at + 1024], 1 - weight, atol=1e-15)


# the pieces


def test_who_is_in_force() -> None:
    a, b, c = (Version("x", n) for n in (1, 2, 3))
    one, two = Switch(10, "x", "production", a, b), Switch(20, "x", "production", b, c)
    others = Switch(15, "y", "production", None, None), Switch(15, "x", "canary", None, a)
    switches = [one, *others, two]
    expected = {9: (a, None), 10: (b, one), 19: (b, one), 20: (c, two), 99: (c, two)}
    for instant, answer in expected.items():
        assert crossfade.in_force(switches, "x", "production", instant, c) == answer
    assert crossfade.in_force(switches, "x", "canary", 9, a) == (None, None)
    assert crossfade.in_force([], "x", "production", 0, c) == (c, None)


@given(st.integers(0, 40), st.integers(1, 40))
def test_weights_add_up_however_they_are_cut(cut: int, length: int) -> None:
    rate, ramp, instant = 64, NS // 2, START * NS
    sixteenth = NS // 16
    whole = crossfade.weight(Span(instant - NS, instant + 4 * NS), rate, instant, ramp)
    begin = instant - NS + cut * sixteenth
    span = Span(begin, begin + length * sixteenth)
    part = crossfade.weight(span, rate, instant, ramp)
    overlap = part[: len(whole) - cut * 4]
    assert np.array_equal(overlap, whole[cut * 4 : cut * 4 + len(overlap)])
    assert (whole[:64] == 0).all()
    assert (whole[64 + 32 :] == 1).all()
    rising = whole[64 : 64 + 32]
    np.testing.assert_allclose(rising + rising[::-1], 1.0, atol=1e-15)


def test_an_estimate_that_is_mixed_ungates_both_parts() -> None:
    ones, half = np.ones(8), np.full(8, 0.5)
    one = Estimate(2 * ones, 0 * ones, 1, (), ones, 0 * ones)
    two = Estimate(4 * ones, ones, 2, (), ones, ones)
    both = crossfade.mixed(one, two, half)
    assert (both.subtracted() == 2.0).all()
    assert (both.ungated().subtracted() == 3.0).all()
    assert (both.gain == 0.5).all()
    assert both.version == 2


def test_the_engine_of_one_version_is_as_it_was() -> None:
    engine = make_engine()
    blocks = push_all(engine, RECORD.blocks())
    assert all(not block.others and not block.canary for block in blocks)


def _densities(samples: Float64, starts: Sequence[int]) -> Float64:
    """Return the mean power spectral density of Hann-windowed seconds."""
    window = np.hanning(GATED.strain_rate)
    pieces = [np.fft.rfft(samples[s : s + GATED.strain_rate] * window) for s in starts]
    return np.asarray(np.mean(np.abs(pieces) ** 2, axis=0))


def test_a_switch_adds_nothing_to_the_spectrum() -> None:
    """In seconds around 60 switches: between what the two versions leave, bin by bin.

    The noise is a strong line, of which one version removes all, the other 95 %: what a switch
    adds would be seen beside it.
    """
    rate, seconds = GATED.strain_rate, 252
    rng, span = np.random.default_rng(5), Span.of_seconds(START, seconds)
    line = np.sin(2 * np.pi * 60 * np.arange(seconds * rate) / rate + 0.3)
    strain = NOISE * (line + 0.01 * rng.standard_normal(len(line)))
    data = Record(span, Series(span, rate, strain), {"FAST": Series(span, rate, line)})
    ungated = replace(GATED, gate=None)

    def version(number: int) -> Coupling:
        (only,) = gated_engine(ungated).versions.production
        std = NOISE * (1.0 if number == 1 else 0.95)
        return replace(only, predictor=replace(only.predictor, version=number, strain_std=std))

    engine, switches = Engine(ungated, [version(1)]), range(8, seconds - 4, 4)
    engine.versions.add(version(2))
    versions = {second: Version("all", 2 if second % 8 == 0 else 1) for second in switches}
    acts = {second: partial(engine.versions.promote, other) for second, other in versions.items()}
    found = play(engine, data.blocks(), acts)
    both = [push_all(Engine(ungated, [version(n)]), data.blocks()) for n in (1, 2)]
    for offset in (-0.75, -0.5, -0.25, 0.0, 0.125):
        starts = [round((second + offset) * rate) for second in switches]
        seen = _densities(strain_of(found), starts)
        kept = np.array([_densities(strain_of(one), starts) for one in both])
        # A second of data resolves 2 Hz: that far a line that changes may spread.
        envelope = maximum_filter1d(kept.max(axis=0), 5)
        assert (seen <= envelope * 1.02).all()
        assert (seen >= kept.min(axis=0) * 0.98).all()
        beside = np.abs(np.arange(len(seen)) - 60) > 10
        np.testing.assert_allclose(seen[beside], kept[0][beside], rtol=5e-3)
