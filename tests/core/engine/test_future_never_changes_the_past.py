"""The promise: `[t, t + d)` rests on the input in `[t - H, t + d + L)` and on nothing else.

Whatever happens outside of that, to any channel, no bit of the cleaned strain, of the estimate or
of its gain changes. Just inside, something does: the constants are not generous.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepclean.core.block import Block, Float64, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.time import NS, Span, index_from
from tests.helpers.builders import (
    RATES,
    SIXTEENTH,
    SMALL,
    Record,
    Small,
    assert_same_bits,
    kernel_start,
    make_engine,
    make_record,
    over,
    push_all,
    transparent,
)
from tests.helpers.reduced_networks import Subsets
from tests.helpers.reduced_networks import engine as reduced_engine
from tests.helpers.settings import engine_settings, predict_settings

EVEN = engine_settings(strain_rate=512, model_rate=512, ramp=NS // 4)
"""With a settle-in of 192 samples neither constant has any slack, and both are sixteenths."""

ODD = replace(EVEN, ramp=112 * NS // 512)
"""With a settle-in of 200 samples the same, but no sample of 16 Hz stands at either."""

WINDOWS = predict_settings("windows", kernel=222, edge=76)


def even() -> Engine:
    return transparent(EVEN, *RATES, settle_in=192)


def odd() -> Engine:
    return transparent(ODD, *RATES, settle_in=200)


def sixteenths() -> Engine:
    """Hops of 1/16 s, no rate change to the strain: kernels reach further back than values."""
    shared = replace(EVEN, hop=SIXTEENTH, ramp=NS // 32)
    return transparent(shared, *RATES, settle_in=250, predict=WINDOWS, network=kernel_start)


ENGINES: dict[str, Callable[[], Engine]] = {
    "even": even,
    "odd": odd,
    "sixteenths": sixteenths,
    "pass": make_engine,
    "windows": lambda: make_engine(SMALL, Small(predict=predict_settings("windows", 512, 112))),
    "reduced": lambda: reduced_engine(tuple(RATES), Subsets(3)),
    "reduced in sixteenths": lambda: reduced_engine(
        tuple(RATES), Subsets(3, vital=(1,)), replace(SMALL, hop=SIXTEENTH)
    ),
}

every_engine = pytest.mark.parametrize("name", ENGINES)

SECONDS = 13


@lru_cache
def record(strain_rate: int) -> Record:
    return make_record(SECONDS, strain_rate=strain_rate)


@lru_cache
def engine_and_whole(name: str) -> tuple[Engine, list[Float64]]:
    """Return a template of an engine, and the unperturbed record through it."""
    engine = ENGINES[name]()
    data = record(engine.settings.strain_rate)
    return engine, over(push_all(ENGINES[name](), data.blocks()), hops(engine, 4, 9))


def hops(engine: Engine, start: int, end: int) -> Span:
    """Return the span of these hops' seconds, from the record's start."""
    begin = record(engine.settings.strain_rate).span.start
    return Span(begin + start * NS, begin + end * NS)


def altered(block: Block, names: Sequence[str], kind: str, rng: np.random.Generator) -> list[Block]:
    """Return what becomes of a block that lies wholly outside."""
    witnesses = dict(block.witnesses)
    for name in names:
        if kind == "gap":
            witnesses[name] = Gap(block.span, "missing")
        elif kind == "absent":
            del witnesses[name]
        else:
            rate = {"slow": 8, "rate": 256}[kind]
            samples = rng.standard_normal(block.span.samples(rate))
            witnesses[name] = Series(block.span, rate, samples)
    return [Block(block.span, Gap(block.span, "missing"), witnesses)]


def resampled_outside(
    data: Record, names: Sequence[str], kind: str, kept: Span, rng: np.random.Generator
) -> Record:
    """Return the record with other samples outside a span, to the sample."""
    witnesses = {}
    for name in names:
        series = data.witnesses[name]
        assert isinstance(series, Series)
        rate = series.rate
        begin, _ = series.span.indices(rate)
        low, high = (index_from(instant, rate) - begin for instant in (kept.start, kept.end))
        samples = np.array(series.samples)
        for part in (slice(0, max(low, 0)), slice(high, None)):
            noise = 50 * rng.standard_normal(len(samples[part]))
            samples[part] = {"samples": noise, "nan": np.nan, "inf": -np.inf}[kind]
        witnesses[name] = Series(series.span, rate, samples)
    return data.replaced(**witnesses)


def perturbed(
    data: Record,
    names: Sequence[str],
    kind: str,
    kept: Span,
    cuts: Sequence[int],
    rng: np.random.Generator,
) -> list[Block]:
    """Return the record's blocks, perturbed wherever they lie outside a span."""
    if kind in ("samples", "nan", "inf"):
        return resampled_outside(data, names, kind, kept, rng).blocks(cuts)
    whole = data.span.duration
    grid = 2 * SIXTEENTH if kind == "slow" else SIXTEENTH
    begin = kept.start // grid * grid - data.span.start
    end = -(-kept.end // grid) * grid - data.span.start
    before, after = data.between(0, begin).blocks(), data.between(end, whole).blocks()
    if kind == "missing":
        before, after = before[:-2], after[2:]
        kind = "gap"
    return [
        *(other for block in before for other in altered(block, names, kind, rng)),
        *data.between(begin, end).blocks(cuts),
        *(other for block in after for other in altered(block, names, kind, rng)),
    ]


KINDS = ["samples", "nan", "inf", "gap", "absent", "slow", "rate", "missing"]


@every_engine
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(
    st.integers(4, 7),
    st.integers(1, 2),
    st.lists(st.sampled_from(list(RATES)), min_size=1, unique=True),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.integers(0, 99),
)
def test_what_is_outside_changes_no_bit(
    name: str, kind: str, start: int, count: int, names: list[str], cuts: list[int], seed: int
) -> None:
    engine, whole = engine_and_whole(name)
    data = record(engine.settings.strain_rate)
    span = hops(engine, start, start + count)
    kept = Span(span.start - engine.history, span.end + engine.lookahead)
    blocks = perturbed(data, names, kind, kept, cuts, np.random.default_rng(seed))
    found = over(push_all(ENGINES[name](), blocks), span)
    rate = engine.settings.strain_rate
    part = slice((start - 4) * rate, (start + count - 4) * rate)
    assert_same_bits(found, [samples[part] for samples in whole])
    assert (found[2] == 1).all()


@every_engine
@pytest.mark.parametrize("start", [4, 5, 6])
def test_what_it_rests_on_is_enough(name: str, start: int) -> None:
    """Nothing before, nothing after: the engine begins at `t - H`, and at `t + d + L` is done."""
    engine, whole = engine_and_whole(name)
    data = record(engine.settings.strain_rate)
    span = hops(engine, start, start + 1)
    needed = engine.needs(span)
    assert needed == Span(span.start - engine.history, span.end + engine.lookahead)
    begin = needed.start // SIXTEENTH * SIXTEENTH
    end = -(-needed.end // SIXTEENTH) * SIXTEENTH
    fresh = ENGINES[name]()
    assert fresh.push(data.block(Span(begin, span.start))) == []
    assert span not in [b.span for b in fresh.push(data.block(span))]
    blocks = data.between(span.end - data.span.start, end - data.span.start).blocks((1,))
    cleaned = [[b for b in fresh.push(block) if b.span == span] for block in blocks]
    # With the last of it, and not before.
    assert [len(found) for found in cleaned] == [0] * (len(blocks) - 1) + [1]
    rate = engine.settings.strain_rate
    part = slice((start - 4) * rate, (start - 3) * rate)
    assert_same_bits(over(cleaned[-1], span), [samples[part] for samples in whole])


@pytest.mark.parametrize(("kind", "pick"), [("samples", 1), ("nan", 2)], ids=["samples", "gain"])
@pytest.mark.parametrize("side", ["past", "future"])
def test_what_is_just_inside_matters(kind: str, pick: int, side: str) -> None:
    """Samples count over the filters' lengths; the gain also looks a ramp further."""
    engine, whole = engine_and_whole("even")
    data = record(engine.settings.strain_rate)
    span = hops(engine, 5, 6)
    inside = 2 * SIXTEENTH + (EVEN.ramp if kind == "samples" else 0)
    if side == "past":
        kept = Span(span.start - engine.schedule.reach_back + inside, data.span.end)
    else:
        kept = Span(data.span.start, span.end + engine.lookahead - inside)
    blocks = perturbed(data, ["SLOW"], kind, kept, (16,), np.random.default_rng(0))
    found = over(push_all(even(), blocks), span)
    rate = engine.settings.strain_rate
    changed = np.flatnonzero(found[pick] != whole[pick][rate : 2 * rate])
    # At the near end of the hop, and only there.
    assert len(changed) > 0
    assert changed.max() < rate // 4 if side == "past" else changed.min() > 3 * rate // 4


@every_engine
def test_strain_outside_its_block_is_nothing_to_it(name: str) -> None:
    engine, whole = engine_and_whole(name)
    data = record(engine.settings.strain_rate)
    assert isinstance(data.strain, Series)
    rate = engine.settings.strain_rate
    strain = np.full(len(data.strain.samples), np.nan)
    strain[5 * rate : 6 * rate] = data.strain.samples[5 * rate : 6 * rate]
    other = Record(data.span, Series(data.span, rate, strain), data.witnesses)
    found = over(push_all(ENGINES[name](), other.blocks()), hops(engine, 5, 6))
    assert_same_bits(found, [samples[rate : 2 * rate] for samples in whole])
