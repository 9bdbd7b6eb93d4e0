"""Faults of the input for tests of the engine, and what must hold of any output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deepclean.core.block import Block, CleanedBlock, Gap, Series
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.schedule import EngineSettings
from deepclean.core.time import NS, Span
from tests.helpers.builders import SIXTEENTH, Record, changed, make_record, same_bits, transparent
from tests.helpers.settings import engine_settings

LINEAR = engine_settings(strain_rate=512, model_rate=512, ramp=NS // 8)
"""Quick, and an estimate is the mean of a witness over `BOX` samples either side."""

BOX = 40

RATE = LINEAR.strain_rate


def linear(witness: str, shared: EngineSettings = LINEAR) -> Engine:
    return transparent(shared, witness, settle_in=BOX)


def record(seconds: int = 10) -> Record:
    return make_record(seconds, strain_rate=RATE)


def at(start: int, end: int) -> Span:
    """Return a span in sixteenths of a second from the record's start."""
    begin = record().span.start
    return Span(begin + start * SIXTEENTH, begin + end * SIXTEENTH)


Fault = Callable[[Record, str, Span], list[Block]]
"""Takes a record, a witness and a span; returns the blocks with a fault of the witness there."""


def in_blocks(data: Record, span: Span, fault: Callable[[Block], list[Block]]) -> list[Block]:
    """Cut a record at a span, let `fault` change the block there, and the rest into seconds."""
    low, high = span.start - data.span.start, span.end - data.span.start
    whole = data.span.duration
    return [
        *data.between(0, low).blocks(),
        *fault(data.block(span)),
        *data.between(high, whole).blocks(),
    ]


def with_witness(block: Block, name: str, channel: Series | Gap | None) -> Block:
    witnesses = {n: w for n, w in block.witnesses.items() if n != name}
    if channel is not None:
        witnesses[name] = channel
    return Block(block.span, block.strain, witnesses)


def gap(data: Record, name: str, span: Span) -> list[Block]:
    missing = Gap(span, "missing")
    return in_blocks(data, span, lambda b: [with_witness(b, name, missing)])


def absent(data: Record, name: str, span: Span) -> list[Block]:
    return in_blocks(data, span, lambda b: [with_witness(b, name, None)])


def too_slow(data: Record, name: str, span: Span) -> list[Block]:
    slow = Series(span, 8, np.ones(span.samples(8)))
    return in_blocks(data, span, lambda b: [with_witness(b, name, slow)])


def no_block(data: Record, name: str, span: Span) -> list[Block]:
    return in_blocks(data, span, lambda b: [])


def samples_of(value: float) -> Fault:
    def fault(data: Record, name: str, span: Span) -> list[Block]:
        return data.replaced(**{name: changed(data.witnesses[name], span, value)}).blocks()

    return fault


FAULTS: dict[str, Fault] = {
    "gap": gap,
    "absent": absent,
    "too slow": too_slow,
    "no block": no_block,
    "nan": samples_of(np.nan),
    "inf": samples_of(np.inf),
    "-inf": samples_of(-np.inf),
}


def assert_sound(cleaned: Sequence[CleanedBlock]) -> None:
    """Assert what holds for any output: promises 1 and 3."""
    for block in cleaned:
        strain = block.source.strain
        if isinstance(strain, Gap):
            assert block.cleaned is None
            assert block.estimates == {}
            continue
        assert block.cleaned is not None
        raw = np.asarray(strain.samples, dtype=np.float64)
        assert block.cleaned.dtype == np.float64
        assert (np.isfinite(block.cleaned) == np.isfinite(raw)).all()
        silent = np.ones(len(raw), dtype=bool)
        for part in block.estimates.values():
            assert np.isfinite(part.noise).all()
            assert ((part.gain >= 0) & (part.gain <= 1)).all()
            silent &= part.gain == 0
            # A reason wherever the gain is below 1, and only there.
            assert bool(part.reasons) == (part.gain < 1).any()
        assert same_bits(block.cleaned[silent], raw[silent])
