"""The channels of a cleaned frame: the strain products and the channels that account for them.

The strain products have the strain's native rate, the accounting channels 16 Hz, and the estimates
rates of their own (core.output.estimates).

The state vector's bits, where 1 is good:

| bit | name | meaning |
|---|---|---|
| 0 | OUTPUT_VALID | every sample of the official product is finite |
| 1 | STRAIN_GOOD | every sample of the raw strain is finite |
| 2 | WITNESSES_GOOD | every witness of every coupling had samples that can be used |
| 3 | MODEL_LOADED | every coupling has a model |
| 4 | IN_SPEC | every coupling's quality gate is open; 0 where there are no gates |
| 5 | CLEANED | every coupling's gain is 1 |
| 6 | STEADY | no coupling's gain is on a ramp |
| 7 | ANALYSIS_READY | bits 0 and 1 of the source's state vector are both set |
| 8 | SETTLED | the statistics of every coupling's gate are complete; 0 where there are no gates |
| 9 | COMPLETE | no coupling goes on without some of its witnesses |
| 10 | AUTOMATIC | no operator keeps a coupling's gain below 1 |
| 11 | FOLLOWING | no operator freezes a coupling's adaptation |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from deepclean.core import channels, reasons
from deepclean.core.block import CleanedBlock, Estimate, Samples, Series, concatenate
from deepclean.core.channels import STATE_RATE
from deepclean.core.frame import CleanedFrame
from deepclean.core.output.estimates import estimate_channels
from deepclean.core.output.state_vector import not_ready
from deepclean.core.subtract import total_noise
from deepclean.core.time import NS, Span


class State(IntFlag):
    """Bits of `DEEPCLEAN-STATE_VECTOR`; the table stands in the module's docstring."""

    OUTPUT_VALID = 1 << 0
    STRAIN_GOOD = 1 << 1
    WITNESSES_GOOD = 1 << 2
    MODEL_LOADED = 1 << 3
    IN_SPEC = 1 << 4
    CLEANED = 1 << 5
    STEADY = 1 << 6
    ANALYSIS_READY = 1 << 7
    SETTLED = 1 << 8
    COMPLETE = 1 << 9
    AUTOMATIC = 1 << 10
    FOLLOWING = 1 << 11


def render(
    frame: CleanedFrame,
    strain: str,
    products: Sequence[str],
    estimates: Mapping[str, int] | None = None,
    *,
    subtracted: bool = False,
) -> dict[str, Series]:
    """Return the channels of an output frame, by full name.

    Args:
        frame: the cleaned frame, whose strain is not a gap.
        strain: the full name of the strain channel.
        products: the strain products to write: `OUT_DQ`, `PRODUCTION`, `CANARY`.
        estimates: the couplings whose estimates to write, each with its rate in Hz; None: none.
        subtracted: whether to write the sum of what was subtracted, at the strain's rate.

    Raises:
        ValueError: the frame has no strain.
    """
    interferometer = strain.split(":", maxsplit=1)[0]
    rendered = {
        name: concatenate([_strain_product(block, product) for block in frame.blocks])
        for product, name in channels.product_names(strain, products).items()
    }
    if subtracted:
        total = concatenate([_subtracted(block) for block in frame.blocks])
        rendered[channels.subtracted(strain)] = total
    state = concatenate([_accounting(block, state_bits(block)) for block in frame.blocks])
    rendered[channels.state_vector(interferometer)] = state
    for coupling in frame.blocks[0].estimates:
        versions, gains = (
            concatenate([part(block, coupling) for block in frame.blocks])
            for part in (_version, _gain)
        )
        rendered[channels.model_version(interferometer, coupling)] = versions
        rendered[channels.gain(interferometer, coupling)] = gains
        if frame.blocks[0].estimates[coupling].knots is not None:
            names = channels.adaptation(interferometer, coupling)
            parts = zip(*(_adaptation(block, coupling) for block in frame.blocks), strict=True)
            rendered |= {name: concatenate(part) for name, part in zip(names, parts, strict=True)}
        if "CANARY" in products:
            tried = concatenate([_canary_version(block, coupling) for block in frame.blocks])
            rendered[channels.canary_version(interferometer, coupling)] = tried
        if estimates and coupling in estimates:
            made = [estimate_channels(b, coupling, estimates[coupling]) for b in frame.blocks]
            noises, factors = zip(*made, strict=True)
            noise, factor = channels.noise(interferometer, coupling)
            rendered |= {noise: concatenate(noises), factor: concatenate(factors)}
    return rendered


def outcome(frame: CleanedFrame) -> str:
    """Return `cleaned`, or the first reason for which a frame is not fully cleaned.

    >>> from deepclean.core.block import Block, Estimate
    >>> from deepclean.core.frame import InputFrame
    >>> span = Span.of_seconds(0, 1)
    >>> block = Block(span, Series(span, 16, np.zeros(16)))
    >>> frozen = Estimate(np.zeros(16), np.zeros(16), 1, (reasons.FROZEN,))
    >>> outcome(CleanedFrame(InputFrame(span, [block]), [CleanedBlock(block, None, {"A": frozen})]))
    'witness_frozen'
    """
    estimates = [e for block in frame.blocks for e in block.estimates.values()]
    first = next((reason for e in estimates for reason in e.reasons), None)
    if first is not None:
        return first
    outputs = (block.cleaned for block in frame.blocks if block.cleaned is not None)
    whole = all(np.isfinite(samples).all() for samples in outputs)
    return reasons.CLEANED if whole else reasons.NONFINITE_STRAIN


def reasons_record(frame: CleanedFrame) -> dict[str, str]:
    """Return what a frame's history says of why couplings are not fully applied, by coupling.

    A live run that has no input yet, or no more, says so; a replay of it has gaps there. The same
    samples are to be in the same file, so that both are called missing.
    """
    found: dict[str, set[str]] = {}
    for block in frame.blocks:
        for coupling, estimate in block.estimates.items():
            why = (reasons.MISSING if r in reasons.OF_ENDS else r for r in estimate.reasons)
            found.setdefault(coupling, set()).update(why)
    return {f"{reasons.RECORD}{name}": ", ".join(sorted(why)) for name, why in found.items() if why}


def state_bits(block: CleanedBlock) -> NDArray[np.uint32]:
    """Return the state vector of a cleaned block, shape `(n,)` at 16 Hz.

    >>> from deepclean.core.block import Block, Estimate, StrainProducts
    >>> span, ones = Span.of_seconds(0, 1), np.ones(64)
    >>> on_a_ramp = Estimate(noise=ones, gain=np.repeat([1.0, 0.5], 32), version=1)
    >>> products = StrainProducts(ones, ones, ones)
    >>> block = CleanedBlock(Block(span, Series(span, 64, ones)), products, {"60Hz": on_a_ramp})
    >>> first, last = (State(int(bits)) for bits in state_bits(block)[[0, -1]])
    >>> [bit.name for bit in first ^ last]
    ['CLEANED', 'STEADY']
    """
    strain, count = _strain(block), block.span.samples(STATE_RATE)
    assert block.cleaned is not None
    bits = np.zeros(count, dtype=np.uint32)
    applied = [_all(e.gain == 1, count) for e in block.estimates.values()]
    gates = [e.gate for e in block.estimates.values() if e.gate is not None]
    # Without gates nothing vouches for the estimates, so IN_SPEC and SETTLED are 0, not 1.
    gated = bool(gates)
    without = [one.span for e in block.estimates.values() for one in e.without]
    frozen = [span for e in block.estimates.values() for span in e.frozen]
    held = [e.control for e in block.estimates.values() if e.control is not None]
    unsettled = [span for e in block.estimates.values() for span in e.unsettled]
    checks = {
        State.OUTPUT_VALID: _all(np.isfinite(block.cleaned), count),
        State.STRAIN_GOOD: _all(np.isfinite(strain.samples), count),
        State.WITNESSES_GOOD: ~_faulty(block, count),
        State.MODEL_LOADED: np.full(count, bool(applied)),
        State.IN_SPEC: gated & np.all([_all(g == 1, count) for g in gates], axis=0),
        State.CLEANED: np.all(applied, axis=0),
        State.STEADY: np.all(
            [
                whole if whole.all() else _steady(estimate, count)
                for whole, estimate in zip(applied, block.estimates.values(), strict=True)
            ],
            axis=0,
        ),
        State.ANALYSIS_READY: _analysis_ready(block, count),
        State.SETTLED: gated & ~_within(block, unsettled, count),
        State.COMPLETE: ~_within(block, without, count),
        State.AUTOMATIC: np.full(count, True) & np.all([_all(g == 1, count) for g in held], axis=0),
        State.FOLLOWING: ~_within(block, frozen, count),
    }
    for bit, good in checks.items():
        bits[good] |= np.uint32(bit)
    return bits


def _strain_product(block: CleanedBlock, product: str) -> Series:
    """Return a strain product of a block, at the strain's rate."""
    strain = _strain(block)
    assert block.products is not None
    return Series(block.span, strain.rate, getattr(block.products, product.lower()))


def _subtracted(block: CleanedBlock) -> Series:
    """Return the noise that the official product lacks, at the strain's rate, float64."""
    strain = _strain(block)
    total = total_noise(len(strain.samples), block.estimates.values())
    return Series(block.span, strain.rate, total)


def _strain(block: CleanedBlock) -> Series:
    strain = block.source.strain
    if not isinstance(strain, Series):
        raise ValueError(f"no strain over {block.span}")
    return strain


def _all(good: Samples, count: int) -> NDArray[np.bool_]:
    """Return the sixteenths whose samples are all good, shape `(count,)`, from shape `(n,)`."""
    if good.all():
        return np.ones(count, dtype=bool)
    return np.asarray(_by_state(np.logical_and, good, count))


def _steady(estimate: Estimate, count: int) -> NDArray[np.bool_]:
    """Return the sixteenths in which a gain is on no ramp, shape `(count,)`."""
    gain = estimate.gain
    if estimate.control is None:
        return _all((gain == 0) | (gain == 1), count)
    # An operator may hold it between 0 and 1. It is on no ramp where that value does not change and
    # all of it is applied.
    control = estimate.control
    still = _by_state(np.minimum, control, count) == _by_state(np.maximum, control, count)
    applied = _all((gain == 0) | (gain == control), count)
    return np.asarray(_all(gain == 0, count) | (still & applied))


def _by_state(fold: np.ufunc, samples: Samples, count: int) -> Samples:
    """Return the samples of each sixteenth of a second folded into one, shape `(count,)`.

    Where the rate is no multiple of 16 Hz, sixteenths have different numbers of samples:

    >>> _by_state(np.add, np.ones(10), 4).tolist()
    [3.0, 2.0, 3.0, 2.0]

    Args:
        fold: such as `np.minimum`.
        samples: shape `(n,)`, at least one for each sixteenth.
        count: the number of sixteenths.
    """
    if len(samples) % count == 0:
        return np.asarray(fold.reduce(samples.reshape(count, -1), axis=1))
    # Sixteenth k holds the samples from the first at or after its start: from ceil(k n / count).
    starts = -(-np.arange(count) * len(samples) // count)
    return np.asarray(fold.reduceat(samples, starts))


def _faulty(block: CleanedBlock, count: int) -> NDArray[np.bool_]:
    """Return the sixteenths in which any witness cannot be used, shape `(count,)`."""
    return _within(block, [f.span for f in block.faults if f.reason != reasons.ZERO], count)


def _within(block: CleanedBlock, spans: Iterable[Span], count: int) -> NDArray[np.bool_]:
    """Return the sixteenths that share time with any of the spans, shape `(count,)`.

    >>> from deepclean.core.block import Block
    >>> span = Span.of_seconds(0, 1)
    >>> block = CleanedBlock(Block(span, Series(span, 16, np.zeros(16))), None, {})
    >>> np.flatnonzero(_within(block, [Span(NS // 16 - 1, NS // 8)], 16)).tolist()
    [0, 1]

    Args:
        block: the block.
        spans: spans inside the block.
        count: the number of sixteenths in the block.
    """
    found = np.zeros(count, dtype=bool)
    for span in spans:
        low, high = span.start - block.span.start, span.end - block.span.start
        # From the sixteenth that holds the first nanosecond to the one that holds the last: the
        # start is rounded down, the end up.
        found[low * STATE_RATE // NS : -(-high * STATE_RATE // NS)] = True
    return found


def _analysis_ready(block: CleanedBlock, count: int) -> NDArray[np.bool_]:
    """Return the sixteenths that the source's state vector calls ready, shape `(count,)`."""
    if not isinstance(block.source.state, Series):
        return np.zeros(count, dtype=bool)
    spans = [Span(start, end) for start, end in not_ready(block.source)]
    return ~_within(block, spans, count)


def _version(block: CleanedBlock, coupling: str) -> Series:
    version = block.estimates[coupling].version
    count = block.span.samples(STATE_RATE)
    return _accounting(block, np.full(count, version, dtype=np.int32))


def _canary_version(block: CleanedBlock, coupling: str) -> Series:
    """Return the version of a coupling's canary at 16 Hz; 0 where it has none."""
    production = block.estimates[coupling]
    version = block.canary.get(coupling, production).version
    tried = 0 if version == production.version else version
    count = block.span.samples(STATE_RATE)
    return _accounting(block, np.full(count, tried, dtype=np.int32))


def _gain(block: CleanedBlock, coupling: str) -> Series:
    gain = block.estimates[coupling].gain
    # A sixteenth is as clean as its least clean sample.
    lowest = _by_state(np.minimum, gain, block.span.samples(STATE_RATE))
    return _accounting(block, lowest.astype(np.float32))


def _adaptation(block: CleanedBlock, coupling: str) -> tuple[Series, Series, Series]:
    """Return amplitude and phase of the gain that adapts an estimate, and its significance.

    The gain is that of the estimate as a whole, as of the end of each GPS second, in radians for
    the phase. The significance is that of the group whose change is most significant.
    """
    knots = block.estimates[coupling].knots or ()
    by_second = {
        knot.second: (abs(knot.whole), np.angle(knot.whole), float(knot.significance.max()))
        for knot in knots
    }
    count = block.span.samples(STATE_RATE)
    instants = block.span.start + np.arange(count) * (NS // STATE_RATE)
    # Before anything is learnt, and between the knots of a slow cadence, the last is in force.
    values, held = np.empty((count, 3)), (1.0, 0.0, 0.0)
    for index, second in enumerate(instants // NS + 1):
        held = by_second.get(int(second), held)
        values[index] = held
    amplitude, phase, significance = (_accounting(block, column) for column in values.T)
    return amplitude, phase, significance


def _accounting(block: CleanedBlock, samples: Samples) -> Series:
    return Series(block.span, STATE_RATE, samples)
