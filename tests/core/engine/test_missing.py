"""A coupling that goes on without the witnesses that are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core import reasons
from deepclean.core.block import Block, CleanedBlock, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.missing import Loss, availability, shares
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.filters.forecast import ForecastSettings
from deepclean.core.predict import Network
from deepclean.core.time import NS, Span
from tests.helpers.builders import (
    RATES,
    SIXTEENTH,
    SMALL,
    Record,
    changed,
    clean,
    estimate,
    make_record,
    over,
    raw_of,
    same_bits,
    strain_of,
)
from tests.helpers.reduced_networks import Subsets, coupling, engine
from tests.helpers.settings import gate_settings, predict_settings

NAMES = tuple(RATES)
SLOW, ODD, FAST = range(3)

SHORT = replace(SMALL, hop=SIXTEENTH)
GATED = replace(SMALL, gate=gate_settings(window=4 * NS, dwell=2 * NS, memory=6 * NS, fade=NS // 2))

HASTY = replace(SMALL, forecast=ForecastSettings(memory=4 * NS))

SECONDS = 10


@lru_cache
def record() -> Record:
    return make_record(SECONDS)


Fault = tuple[str, int, int, str]
"""A witness, the sixteenths from which and for how long, and what is wrong with it."""

faults = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(0, 16 * SECONDS - 1),
        st.integers(1, 48),
        st.sampled_from(["nan", "gap", "huge"]),
    ),
    max_size=6,
)

lengths = st.lists(
    st.one_of(st.integers(4, 16), st.integers(1, 8).map(lambda s: 16 * s)), min_size=1, max_size=8
)


def damaged(bad: Sequence[Fault]) -> Record:
    """Return the record with the faults that are no gaps."""
    data = record()
    for name, start, count, kind in bad:
        if kind != "gap":
            span = fault_span(start, count)
            samples = np.nan if kind == "nan" else 1e200
            data = data.replaced(**{name: changed(data.witnesses[name], span, samples)})
    return data


def fault_span(start: int, count: int) -> Span:
    begin, end = record().span.start, record().span.end
    low = begin + start * SIXTEENTH
    return Span(low, min(low + count * SIXTEENTH, end))


def cut(data: Record, bad: Sequence[Fault], cuts: Sequence[int], span: Span) -> list[Block]:
    """Cut a record at these lengths, and where a gap begins or ends."""
    gaps = [(name, fault_span(start, count)) for name, start, count, kind in bad if kind == "gap"]
    edges = {edge for _, gap in gaps for edge in (gap.start, gap.end)}
    part = data.between(span.start - data.span.start, span.end - data.span.start)
    for block in part.blocks(cuts):
        edges |= {block.span.start, block.span.end}
    ordered = sorted(edge for edge in edges if span.start <= edge <= span.end)
    blocks = []
    for low, high in pairwise(ordered):
        block = data.block(Span(low, high))
        lost = {name for name, gap in gaps if gap.overlap(block.span)}
        witnesses = {
            name: Gap(block.span, reasons.MISSING) if name in lost else channel
            for name, channel in block.witnesses.items()
        }
        blocks.append(replace(block, witnesses=witnesses))
    return blocks


def assert_alike(one: Sequence[CleanedBlock], other: Sequence[CleanedBlock], span: Span) -> None:
    """Assert that strain, noise under its gain, gain and account are the same over a span."""
    found, expected = over(one, span), over(other, span)
    assert same_bits(found[0], expected[0])
    assert same_bits(found[1] * found[2], expected[1] * expected[2])
    assert same_bits(found[2], expected[2])
    assert account(one, span) == account(other, span)


def account(cleaned: Sequence[CleanedBlock], span: Span) -> Mapping[str, list[Span]]:
    """Return the spans in which the estimate went on without each witness."""
    spans: dict[str, list[Span]] = {}
    for block in cleaned:
        for witness, without in block.estimates["60Hz"].without:
            low, high = max(without.start, span.start), min(without.end, span.end)
            if low >= high:
                continue
            found = spans.setdefault(witness, [])
            if found and found[-1].end == low:
                found[-1] = Span(found[-1].start, high)
            else:
                found.append(Span(low, high))
    return spans


@pytest.mark.parametrize(
    "shared", [SMALL, SHORT, GATED, HASTY], ids=["usual", "short", "gated", "hasty"]
)
@pytest.mark.parametrize("vital", [(), (FAST,)], ids=["any", "vital"])
@settings(max_examples=5)
@given(bad=faults, cuts=lengths)
def test_faults_in_any_cut(
    shared: EngineSettings, vital: tuple[int, ...], bad: list[Fault], cuts: list[int]
) -> None:
    data, subsets = damaged(bad), Subsets(3, vital)
    whole = clean(engine(NAMES, subsets, shared), cut(data, bad, (16 * SECONDS,), data.span))
    pieces = clean(engine(NAMES, subsets, shared), cut(data, bad, cuts, data.span))
    assert_alike(pieces, whole, data.span)


@pytest.mark.parametrize("shared", [SMALL, SHORT, HASTY], ids=["usual", "short", "hasty"])
@settings(max_examples=5)
@given(bad=faults, cuts=lengths, start=st.integers(1, 16), vital=st.sampled_from([(), (ODD,)]))
def test_restarts_and_shards_with_faults(
    shared: EngineSettings, bad: list[Fault], cuts: list[int], start: int, vital: tuple[int, ...]
) -> None:
    data, subsets = damaged(bad), Subsets(3, vital)
    whole = clean(engine(NAMES, subsets, shared), cut(data, bad, (16,), data.span))
    again = engine(NAMES, subsets, shared)
    fed = Span(data.span.start + start * SIXTEENTH, data.span.end)
    pieces = clean(again, cut(data, bad, cuts, fed))
    first = -(-(fed.start + again.history) // shared.hop) * shared.hop
    last = (fed.end - again.lookahead) // shared.hop * shared.hop
    assert first < last
    assert_alike(pieces, whole, Span(first, last))


@pytest.mark.parametrize("predict", ["pass", "windows"])
def test_without_a_witness_the_others_go_on(predict: str) -> None:
    """With a dead witness the estimate is that of the network without it, at full gain."""
    laid = predict_settings(predict, kernel=512, edge=112)
    subsets = Subsets(3)
    data = record()
    dead = data.replaced(ODD=Gap(data.span, reasons.MISSING))
    cleaned = clean(engine(NAMES, subsets, predict=laid), dead.blocks())
    other = coupling(NAMES, None, SMALL, laid, subsets.network(frozenset([ODD])))
    mean = other.predictor.witness_mean[ODD]
    still = data.replaced(ODD=Series(data.span, 16, np.full(16 * SECONDS, mean)))
    expected = clean(Engine(SMALL, [other]), still.blocks())
    inside = Span(data.span.start + 4 * NS, data.span.end - 2 * NS)
    found, wanted = over(cleaned, inside), over(expected, inside)
    assert (found[2] == 1).all()
    assert np.abs(found[1] - wanted[1]).max() < 1e-6 * wanted[1].std()
    assert np.abs(found[0] - raw_of(cleaned)[4 * 1024 : -2 * 1024]).std() > 0
    assert {w for block in cleaned for w, _ in block.estimates["60Hz"].without} == {"ODD"}
    assert not any(block.estimates["60Hz"].reasons for block in cleaned[4:-2])


@pytest.mark.parametrize(
    "shared", [SMALL, SHORT, GATED, HASTY], ids=["usual", "short", "gated", "hasty"]
)
@settings(max_examples=4)
@given(bad=faults)
def test_without_a_vital_witness_it_closes_as_before(
    shared: EngineSettings, bad: list[Fault]
) -> None:
    """Where no witness can be spared, every bit is that of a coupling without other networks."""
    data, vital = damaged(bad), Subsets(3, (SLOW, ODD, FAST))
    blocks = cut(data, bad, (16,), data.span)
    found = clean(engine(NAMES, vital, shared), blocks)
    expected = clean(engine(NAMES, None, shared), blocks)
    assert same_bits(strain_of(found), strain_of(expected))
    one, other = estimate(found), estimate(expected)
    assert same_bits(one.noise, other.noise)
    assert same_bits(one.gain, other.gain)
    for block, same in zip(found, expected, strict=True):
        assert block.estimates["60Hz"].reasons == same.estimates["60Hz"].reasons
        assert block.estimates["60Hz"].without == ()


def test_a_witness_that_nothing_needs_is_not_missed() -> None:
    data, idle = record(), Subsets(3, idle=(ODD,))
    dead = data.replaced(ODD=Gap(data.span, reasons.MISSING))
    found = clean(engine(NAMES, idle), dead.blocks())
    expected = clean(engine(NAMES, idle), data.blocks())
    assert same_bits(strain_of(found), strain_of(expected))
    assert [len(block.faults) for block in found] == [1] * SECONDS


def test_all_witnesses_missing_closes_it() -> None:
    data = record()
    missing = {name: Gap(data.span, reasons.MISSING) for name in NAMES}
    cleaned = clean(engine(NAMES, Subsets(3)), data.replaced(**missing).blocks())
    assert same_bits(strain_of(cleaned), raw_of(cleaned))


def test_the_estimate_never_steps() -> None:
    """Through a gap of one witness the envelope of the noise moves from one estimate's to another.

    The estimate in the transition lies between the two to a tenth of their difference: that is what
    the bandpass makes of an onset.
    """
    data, subsets = record(), Subsets(3)
    gap = [("ODD", 56, 30, "nan")]
    found = estimate(clean(engine(NAMES, subsets), damaged(gap).blocks())).noise
    whole = estimate(clean(engine(NAMES, subsets), data.blocks())).noise
    always = data.replaced(ODD=Gap(data.span, reasons.MISSING))
    without = estimate(clean(engine(NAMES, subsets), always.blocks())).noise
    rate, inside = SMALL.strain_rate, slice(2 * SMALL.strain_rate, -2 * SMALL.strain_rate)
    apart = np.abs(whole - without)[inside].max()
    low, high = np.minimum(whole, without), np.maximum(whole, without)
    outside = np.maximum(low - found, found - high)[inside]
    assert outside.max() < 0.5 * apart
    changed_by = np.abs(np.diff(found - whole))[inside].max()
    # A step would change the noise by as much as the two differ, in one sample.
    assert changed_by < 2 * np.pi * 70 / rate * 1.5 * apart
    assert same_bits(found[: 2 * rate], whole[: 2 * rate])
    assert same_bits(found[8 * rate : -rate], whole[8 * rate : -rate])


spans = st.lists(
    st.builds(
        lambda first, length, fall: Loss(first, first + length, fall, ""),
        st.integers(-40, 80),
        st.integers(1, 60),
        st.integers(0, 16),
    ),
    min_size=1,
    max_size=3,
)


@given(st.lists(spans, min_size=1, max_size=5), st.integers(0, 20))
def test_the_weights_are_a_partition(losses: list[list[Loss]], rise: int) -> None:
    available = {2 * w: availability(found, 0, 64, rise) for w, found in enumerate(losses)}
    found = shares(available)
    weights = np.array([weight for _, weight in found])
    assert (weights >= 0).all()
    assert weights.sum(axis=0) == pytest.approx(np.ones(64), abs=1e-12)
    assert len({missing for missing, _ in found}) == len(found)
    for missing, weight in found:
        for witness, level in available.items():
            if witness not in missing:
                # Of no weight where the witness is gone, and of no more than it is available.
                assert (weight <= level + 1e-12).all()


def test_more_sets_than_a_hop_may_need_are_one() -> None:
    """Eleven witnesses that come back one after the other cost few networks, and no cleaning."""
    rates = {f"W{number:02}": 512 for number in range(12)}
    data = make_record(SECONDS, rates)
    for number, name in enumerate(list(rates)[1:]):
        begin = data.span.start + 4 * NS
        span = Span(begin, begin + NS + number * NS // 64)
        data = data.replaced(**{name: changed(data.witnesses[name], span, np.nan)})
    counted = Counted(12)
    cleaned = clean(engine(tuple(rates), counted), data.blocks())
    assert counted.asked == {frozenset(range(1, 12))}
    assert (estimate(cleaned).gain[2 * 1024 : -2 * 1024] == 1).all()


class Counted(Subsets):
    """Networks that remember which were asked for."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.asked: set[frozenset[int]] = set()

    def without(self, missing: frozenset[int]) -> Network | None:
        """Return the network without some witnesses, and remember them."""
        self.asked.add(missing)
        return super().without(missing)
