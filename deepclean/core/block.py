"""The values that travel along the signal's path.

A `Series` is samples with their place in time. A `Gap` is a stretch without samples and the reason
for it. It is a value, never zeros. A `Block` is one stretch of the site's data, and a
`CleanedBlock` is the same stretch after subtraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core import reasons
from deepclean.core.adapt.knot import Knot
from deepclean.core.channels import STATE_RATE
from deepclean.core.gate.measures import GateFinding, Quality
from deepclean.core.time import NS, Span

Samples = NDArray[Any]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Samples of one channel over a span.

    >>> Series(Span.of_seconds(0, 1), 16, np.zeros(15))
    Traceback (most recent call last):
        ...
    ValueError: [0, 1) at 16 Hz holds 16 samples, not an array of shape (15,)

    Args:
        span: the samples' span of time.
        rate: samples per second, an integer.
        samples: shape `(span.samples(rate),)`, any numeric dtype, kept as it is.

    Raises:
        ValueError: the span holds another number of samples at that rate.
    """

    span: Span
    rate: int
    samples: Samples

    def __post_init__(self) -> None:
        expected = self.span.samples(self.rate)
        if self.samples.shape != (expected,):
            raise ValueError(
                f"{self.span} at {self.rate} Hz holds {expected} samples, "
                f"not an array of shape {self.samples.shape}"
            )

    def cut(self, span: Span) -> Series:
        """Return the part over `span`, whose samples are a view.

        >>> quarter = Span.of_samples(4, 4, 16)
        >>> Series(Span.of_seconds(0, 1), 16, np.arange(16)).cut(quarter).samples.tolist()
        [4, 5, 6, 7]

        Raises:
            ValueError: the span is not wholly inside this one, or falls between samples.
        """
        if not self.span.covers(span):
            raise ValueError(f"{span} is not inside {self.span}")
        first, _ = self.span.indices(self.rate)
        start, stop = span.indices(self.rate)
        return Series(span, self.rate, self.samples[start - first : stop - first])


@dataclass(frozen=True, slots=True)
class Gap:
    """A span without samples, and the reason for it (core.reasons)."""

    span: Span
    reason: str


def concatenate(series: Sequence[Series]) -> Series:
    """Return consecutive pieces of one channel as one series.

    >>> first, second = (Series(Span.of_seconds(s, 1), 2, np.array([s, s])) for s in (0, 1))
    >>> concatenate([first, second]).samples.tolist()
    [0, 0, 1, 1]

    Raises:
        ValueError: there are no pieces, or they differ in rate or do not follow one another.
    """
    if not series:
        raise ValueError("nothing to join")
    if len(series) == 1:
        return series[0]
    for before, after in pairwise(series):
        if after.rate != before.rate or after.span.start != before.span.end:
            raise ValueError(f"{after.span} at {after.rate} Hz does not continue {before.span}")
    span = Span(series[0].span.start, series[-1].span.end)
    return Series(span, series[0].rate, np.concatenate([piece.samples for piece in series]))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One stretch of input: the strain and every witness, each with samples or a gap.

    Args:
        span: the block's span of time, which is the span of every channel.
        strain: the strain at its native rate, in strain units.
        witnesses: the witnesses by channel name, each at its own rate and in its own unit. An
            absent name counts as a gap.
        state: the source's state vector; None where the site has none.

    Raises:
        ValueError: a channel has another span.
    """

    span: Span
    strain: Series | Gap
    witnesses: Mapping[str, Series | Gap] = field(default_factory=dict)
    state: Series | Gap | None = None

    def __post_init__(self) -> None:
        channels = [self.strain, *self.witnesses.values()]
        if self.state is not None:
            channels.append(self.state)
        for channel in channels:
            if channel.span != self.span:
                raise ValueError(f"a channel over {channel.span} in a block over {self.span}")

    def cut(self, span: Span) -> Block:
        """Return the part over `span`, whose samples are views.

        A witness that has no whole samples there is a gap. The state vector holds its value from
        one sample to the next, so that it has samples at any multiple of its rate.

        >>> second = Span.of_seconds(0, 1)
        >>> strain, state = Series(second, 32, np.zeros(32)), Series(second, 4, np.arange(4))
        >>> part = Block(second, strain, {"SLOW": state}, state).cut(Span(NS // 4, NS * 5 // 16))
        >>> part.witnesses["SLOW"].reason, part.state.rate, part.state.samples.tolist()
        ('witness_rate', 16, [1])

        Raises:
            ValueError: the span is not wholly inside this one, or falls between samples of the
                strain.
        """

        def part(channel: Series | Gap, repeated: int = 1) -> Series | Gap:
            if isinstance(channel, Gap):
                return Gap(span, channel.reason)
            rate = channel.rate * repeated
            if span.start * rate % NS or span.duration * rate % NS:
                return Gap(span, reasons.BAD_RATE)
            if repeated > 1:
                channel = Series(self.span, rate, np.repeat(channel.samples, repeated))
            return channel.cut(span)

        if not self.span.covers(span):
            raise ValueError(f"{span} is not inside {self.span}")
        witnesses = {name: part(witness) for name, witness in self.witnesses.items()}
        strain, state = self.strain, self.state
        if isinstance(state, Series) and isinstance(part(state), Gap):
            state = part(state, STATE_RATE // gcd(STATE_RATE, state.rate))
        elif state is not None:
            state = part(state)
        return Block(
            span, strain.cut(span) if isinstance(strain, Series) else part(strain), witnesses, state
        )


class Version(NamedTuple):
    """The coupling and the number of a version of a model.

    >>> str(Version("60Hz", 3))
    '60Hz version 3'
    """

    coupling: str
    number: int

    def __str__(self) -> str:
        return f"{self.coupling} version {self.number}"


class Without(NamedTuple):
    """A witness without which an estimate goes on, and the span in which it does."""

    witness: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """The noise that one coupling estimates for a block, and its gain, at the strain's native rate.

    While one version takes over from another, noise and gains are weighted means of both versions'
    (core.engine.crossfade). The subtracted noise is then the weighted mean of gain times noise.

    Args:
        noise: the bandpassed prediction in strain units, shape `(n,)`.
        gain: the factor on the noise, in [0, 1], shape `(n,)`: the lower of `valid` and `gate`,
            times `control`.
        version: the number of the model version in force.
        reasons: why the gain is below 1 somewhere, one word each (core.reasons).
        valid: the gain without gate and operator, shape `(n,)`: 0 where the estimate rests on bad
            data. None where there is neither; it is the gain then.
        gate: the gain of the quality gate, shape `(n,)`; None where there is no gate.
        unsettled: the spans in which the gate's statistics are not complete.
        quality: the coupling's effect on the strain, as of the end of the block.
        closed_by: what the gate closed for; None where it is open throughout, or has not opened.
        obstacle: what keeps the gate from opening; None where it may open, or nothing is measured.
        knots: the gains that adapt the noise, as of the end of each GPS second that the block
            touches; None where the noise is the model's as it is.
        parts: during a crossfade the weights, shape `(n,)`, and the estimates of the version that
            goes and of the one that comes.
        without: the witnesses without which it is made, though the gain is not reduced for that.
        control: the gain that an operator allows, shape `(n,)`; None where that is 1.
        frozen: the spans in which an operator keeps the knots from changing.
    """

    noise: Float64
    gain: Float64
    version: int
    reasons: tuple[str, ...] = ()
    valid: Float64 | None = None
    gate: Float64 | None = None
    unsettled: tuple[Span, ...] = ()
    quality: Quality | None = None
    closed_by: GateFinding | None = None
    obstacle: GateFinding | None = None
    knots: tuple[Knot, ...] | None = None
    parts: tuple[tuple[Float64, Estimate], ...] = ()
    without: tuple[Without, ...] = ()
    control: Float64 | None = None
    frozen: tuple[Span, ...] = ()

    def subtracted(self) -> Float64:
        """Return the noise that is taken from the strain, in strain units, shape `(n,)`.

        >>> estimate = Estimate(np.array([2.0, 2.0]), np.array([0.0, 0.5]), version=1)
        >>> estimate.subtracted().tolist()
        [0.0, 1.0]
        """
        if self.parts:
            # The mean of the products gain x noise is not the product of the mean gain and the mean
            # noise, so it is formed from the parts.
            (falling, before), (rising, after) = self.parts
            return falling * before.subtracted() + rising * after.subtracted()
        return self.gain * self.noise

    def ungated(self) -> Estimate:
        """Return the same estimate with the gain that it has without gate and operator."""
        if self.valid is None:
            return self
        parts = tuple((weight, part.ungated()) for weight, part in self.parts)
        return replace(self, gain=self.valid, gate=None, parts=parts, control=None)


@dataclass(frozen=True, slots=True)
class WitnessFault:
    """A span in which something is wrong with a witness, with the reason (core.reasons)."""

    witness: str
    reason: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class StrainProducts:
    """The strain products of a cleaned block, each in strain units, float64, shape `(n,)`.

    Args:
        out_dq: the official product: the strain minus the estimates, each under its full gain.
        production: the product without gates and operator: the strain minus the estimates, each
            under the gain `valid`.
        canary: the product `production` with the canaries in place of the versions in production;
            the same array as `production` where there is no canary.
    """

    out_dq: Float64
    production: Float64
    canary: Float64


@dataclass(frozen=True, slots=True, eq=False)
class CleanedBlock:
    """One stretch of output, over the span of the input block that it came from.

    Args:
        source: the input block.
        products: the strain products; None where the strain itself is a gap.
        estimates: the estimate of each coupling's version in production, by coupling name.
        faults: the faults of the witnesses inside the block.
        canary: the estimate of each coupling's canary, by coupling name; production's for a
            coupling without one. Empty where no coupling has a canary.
        others: the estimate of every version that runs beside production.
    """

    source: Block
    products: StrainProducts | None
    estimates: Mapping[str, Estimate]
    faults: tuple[WitnessFault, ...] = ()
    canary: Mapping[str, Estimate] = field(default_factory=dict)
    others: Mapping[Version, Estimate] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """The block's span of time."""
        return self.source.span

    @property
    def cleaned(self) -> Float64 | None:
        """The official product, shape `(n,)`; None where the strain is a gap."""
        return None if self.products is None else self.products.out_dq
