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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deepclean.core import channels, reasons
from deepclean.core.adapt.knot import Knot
from deepclean.core.block import CleanedBlock, Estimate, Float64, Samples, Series, concatenate
from deepclean.core.channels import STATE_RATE
from deepclean.core.frame import CleanedFrame
from deepclean.core.gain import is_one
from deepclean.core.nonfinite import all_finite
from deepclean.core.output.estimates import estimate_channels
from deepclean.core.output.state_vector import not_ready
from deepclean.core.subtract import total_noise
from deepclean.core.time import NS, Span

Flags = NDArray[np.bool_] | bool
"""Whether each sixteenth of a second is good, shape `(n,)`; one value where all are alike."""


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
    parts = [_rendered(b, strain, products, estimates or {}, subtracted) for b in frame.blocks]
    if len(parts) == 1:
        return parts[0]
    return {name: concatenate([part[name] for part in parts]) for name in parts[0]}


def _rendered(
    block: CleanedBlock,
    strain: str,
    products: Sequence[str],
    estimates: Mapping[str, int],
    subtracted: bool,
) -> dict[str, Series]:
    """Return the channels of one block, from what `render` is given."""
    raw, span, count = _strain(block), block.span, block.span.samples(STATE_RATE)
    interferometer = strain.split(":", maxsplit=1)[0]
    assert block.products is not None
    found = {
        name: Series(span, raw.rate, getattr(block.products, product.lower()))
        for product, name in channels.product_names(strain, products).items()
    }
    if subtracted:
        total = total_noise(len(raw.samples), block.estimates.values())
        found[channels.subtracted(strain)] = Series(span, raw.rate, total)

    def at_16_hz(samples: Samples) -> Series:
        return Series(span, STATE_RATE, samples)

    found[channels.state_vector(interferometer)] = at_16_hz(state_bits(block))
    for coupling, estimate in block.estimates.items():
        version = np.full(count, estimate.version, dtype=np.int32)
        found[channels.model_version(interferometer, coupling)] = at_16_hz(version)
        # A sixteenth is as clean as its least clean sample.
        lowest = _by_state(np.minimum, estimate.gain, count).astype(np.float32)
        found[channels.gain(interferometer, coupling)] = at_16_hz(lowest)
        if estimate.knots is not None:
            gains = map(at_16_hz, _adaptation(estimate.knots, span, count))
            found |= zip(channels.adaptation(interferometer, coupling), gains, strict=True)
        if "CANARY" in products:
            # The version of the coupling's canary; 0 where it has none.
            tried = block.canary.get(coupling, estimate).version
            canary = np.full(count, tried if tried != estimate.version else 0, dtype=np.int32)
            found[channels.canary_version(interferometer, coupling)] = at_16_hz(canary)
        if coupling in estimates:
            noise = estimate_channels(block, coupling, estimates[coupling])
            found |= zip(channels.noise(interferometer, coupling), noise, strict=True)
    return found


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
    whole = all(map(all_finite, outputs))
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
    estimates = list(block.estimates.values())
    applied = [_full(e.gain, count) for e in estimates]
    gates = [_full(e.gate, count) for e in estimates if e.gate is not None]
    # Without gates nothing vouches for the estimates, so IN_SPEC and SETTLED are 0, not 1.
    gated = bool(gates)
    steady = (
        whole is True or _steady(estimate, count)
        for whole, estimate in zip(applied, estimates, strict=True)
    )
    automatic = (_full(e.control, count) for e in estimates if e.control is not None)
    faulty = [fault.span for fault in block.faults if fault.reason != reasons.ZERO]
    unsettled = [span for e in estimates for span in e.unsettled]
    without = [one.span for e in estimates for one in e.without]
    frozen = [span for e in estimates for span in e.frozen]
    checks: tuple[tuple[State, Flags], ...] = (
        (State.OUTPUT_VALID, _finite(block.cleaned, count)),
        (State.STRAIN_GOOD, _finite(strain.samples, count)),
        (State.WITNESSES_GOOD, _outside(block, faulty, count)),
        (State.MODEL_LOADED, bool(applied)),
        (State.IN_SPEC, gated and _every(gates)),
        (State.CLEANED, _every(applied)),
        (State.STEADY, _every(steady)),
        (State.ANALYSIS_READY, _analysis_ready(block, count)),
        (State.SETTLED, gated and _outside(block, unsettled, count)),
        (State.COMPLETE, _outside(block, without, count)),
        (State.AUTOMATIC, _every(automatic)),
        (State.FOLLOWING, _outside(block, frozen, count)),
    )
    always, bits = 0, np.zeros(count, dtype=np.uint32)
    for bit, good in checks:
        if isinstance(good, bool):
            always |= good * int(bit)
        else:
            bits[good] |= np.uint32(bit)
    return bits | np.uint32(always)


def _strain(block: CleanedBlock) -> Series:
    strain = block.source.strain
    if not isinstance(strain, Series):
        raise ValueError(f"no strain over {block.span}")
    return strain


def _all(good: Samples, count: int) -> Flags:
    """Return the sixteenths whose samples are all good, from flags of shape `(n,)`."""
    return bool(good.all()) or np.asarray(_by_state(np.logical_and, good, count))


def _full(gain: Float64, count: int) -> Flags:
    """Return the sixteenths in which a gain of shape `(n,)` is 1."""
    return is_one(gain) or _all(gain == 1, count)


def _finite(samples: Samples, count: int) -> Flags:
    """Return the sixteenths in which samples of shape `(n,)` are finite."""
    return all_finite(samples) or _all(np.isfinite(samples), count)


def _every(flags: Iterable[Flags]) -> Flags:
    """Return the sixteenths in which all of some flags hold; where there are none, all."""
    found: Flags = True
    for good in flags:
        found = found & good
    return found


def _steady(estimate: Estimate, count: int) -> Flags:
    """Return the sixteenths in which a gain is on no ramp."""
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


def _outside(block: CleanedBlock, spans: Sequence[Span], count: int) -> Flags:
    """Return the sixteenths that share no time with any of the spans.

    >>> from deepclean.core.block import Block
    >>> span = Span.of_seconds(0, 1)
    >>> block = CleanedBlock(Block(span, Series(span, 16, np.zeros(16))), None, {})
    >>> np.flatnonzero(_outside(block, [Span(NS // 16 - 1, NS)], 16)).tolist()
    []
    >>> np.flatnonzero(_outside(block, [Span(NS // 16, NS)], 16)).tolist()
    [0]

    Args:
        block: the block.
        spans: spans inside the block.
        count: the number of sixteenths in the block.
    """
    if not spans:
        return True
    found = np.ones(count, dtype=bool)
    for span in spans:
        low, high = span.start - block.span.start, span.end - block.span.start
        # From the sixteenth that holds the first nanosecond to the one that holds the last: the
        # start is rounded down, the end up.
        found[low * STATE_RATE // NS : -(-high * STATE_RATE // NS)] = False
    return found


def _analysis_ready(block: CleanedBlock, count: int) -> Flags:
    """Return the sixteenths that the source's state vector calls ready."""
    if not isinstance(block.source.state, Series):
        return False
    return _outside(block, [Span(start, end) for start, end in not_ready(block.source)], count)


def _adaptation(knots: Iterable[Knot], span: Span, count: int) -> Float64:
    """Return amplitude and phase of the gain that adapts an estimate, and its significance.

    The gain is that of the estimate as a whole, as of the end of each GPS second, in radians for
    the phase. The significance is that of the group whose change is most significant.

    Args:
        knots: the gains, as of the end of each GPS second that the span touches.
        span: the span.
        count: the number of sixteenths in it.

    Returns:
        Shape `(3, count)`.
    """
    by_second = {knot.second: _applied(knot) for knot in knots}
    # Before anything is learnt, and between the knots of a slow cadence, the last is in force.
    values, held = np.empty((3, count)), (1.0, 0.0, 0.0)
    for index in range(count):
        held = by_second.get((span.start + index * NS // STATE_RATE) // NS + 1, held)
        values[:, index] = held
    return values


@lru_cache(maxsize=64)
def _applied(knot: Knot) -> tuple[float, float, float]:
    """Return amplitude, phase and significance of a knot, which are asked for with every block."""
    return abs(knot.whole), float(np.angle(knot.whole)), float(knot.significance.max())
