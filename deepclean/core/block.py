"""The values that travel along the signal's path.

A `Series` is samples with their place in time. A `Gap` is a stretch without samples and the
reason for it: it is a value, never zeros. A `Block` is one stretch of the site's data, a
`CleanedBlock` the same stretch after subtraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepclean.core.time import Span

Samples = NDArray[Any]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Samples of one channel over a span.

    Args:
        span: where they stand.
        rate: samples per second, an integer.
        samples: shape `(span.samples(rate),)`, any numeric dtype, kept as it is.

    Raises:
        ValueError: the number of samples is not what the span holds at that rate.
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
        """Return the part over `span` (a view). Raises ValueError if it is not all here."""
        if not self.span.covers(span):
            raise ValueError(f"{span} is not inside {self.span}")
        first, _ = self.span.indices(self.rate)
        start, stop = span.indices(self.rate)
        return Series(span, self.rate, self.samples[start - first : stop - first])


@dataclass(frozen=True, slots=True)
class Gap:
    """A span without samples, and why (one lower-case word or two, joined by `_`)."""

    span: Span
    reason: str


def concatenate(series: Sequence[Series]) -> Series:
    """Return consecutive pieces of one channel as one.

    Raises:
        ValueError: no pieces, or they differ in rate or do not follow one another.
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
        span: the stretch; every channel's span equals it.
        strain: the strain at its native rate.
        witnesses: by channel name. An absent name counts as a gap.
        state: the source's state vector, where the site has one.
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
        """Return the part over `span` (views). Raises ValueError if it is not all here."""

        def part(channel: Series | Gap) -> Series | Gap:
            return Gap(span, channel.reason) if isinstance(channel, Gap) else channel.cut(span)

        if not self.span.covers(span):
            raise ValueError(f"{span} is not inside {self.span}")
        witnesses = {name: part(witness) for name, witness in self.witnesses.items()}
        return Block(span, part(self.strain), witnesses, self.state and part(self.state))


@dataclass(frozen=True, slots=True)
class Quality:
    """What a coupling's cleaning does to the strain, over the last window (core.gate.quality).

    Args:
        in_band: mean over the band's bins of cleaned over raw ASD.
        worst: the highest of these bins.
        guard: mean ratio in the guard bands beside the band.
        outside: root of the mean power ratio everywhere else.
    """

    in_band: float
    worst: float
    guard: float
    outside: float

    @property
    def finite(self) -> bool:
        """Whether every measure is a number."""
        return all(map(isfinite, (self.in_band, self.worst, self.guard, self.outside)))


class Version(NamedTuple):
    """A version of a coupling's model."""

    coupling: str
    number: int

    def __str__(self) -> str:
        return f"{self.coupling} version {self.number}"


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What one coupling contributes to a cleaned block, at the strain's native rate.

    While one version takes over from another, noise and gains are the mean of theirs with the
    weight that each has by then; what is subtracted is the mean of what each would subtract.

    Args:
        noise: the bandpassed prediction in strain units, shape `(n,)`.
        gain: what it was multiplied by, in [0, 1], shape `(n,)`: the lower of the two below.
        version: the model version in force.
        reasons: why the gain is below 1 somewhere, one word each.
        valid: gain by what the estimate rests on, alone; None: there is no other.
        gate: gain by the quality gate, alone; None: there is no gate.
        unsettled: where the gate's statistics are not complete.
        quality: what the coupling did to the strain, as of the end of the block.
        parts: where one version takes over from another, both, each with its weight.
    """

    noise: Float64
    gain: Float64
    version: int
    reasons: tuple[str, ...] = ()
    valid: Float64 | None = None
    gate: Float64 | None = None
    unsettled: tuple[Span, ...] = ()
    quality: Quality | None = None
    parts: tuple[tuple[Float64, Estimate], ...] = ()

    def subtracted(self) -> Float64:
        """Return what is taken from the strain, shape `(n,)`."""
        if self.parts:
            (falling, before), (rising, after) = self.parts
            return falling * before.subtracted() + rising * after.subtracted()
        return self.gain * self.noise

    def ungated(self) -> Estimate:
        """Return what is subtracted whatever the gate says."""
        if self.valid is None:
            return self
        parts = tuple((weight, part.ungated()) for weight, part in self.parts)
        return replace(self, gain=self.valid, gate=None, parts=parts)


@dataclass(frozen=True, slots=True)
class WitnessFault:
    """A stretch in which something is wrong with a witness, and what (core.reasons)."""

    witness: str
    reason: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class StrainProducts:
    """The strain that a cleaned block offers, each product float64, shape `(n,)`.

    Args:
        out_dq: the official product: the strain minus the estimates, each under its full gain.
        production: the same without the gates: subtracted wherever an estimate rests on data.
        canary: as `production`, with the versions that are tried; the same array without a canary.
    """

    out_dq: Float64
    production: Float64
    canary: Float64


@dataclass(frozen=True, slots=True, eq=False)
class CleanedBlock:
    """One stretch of output, of the same span as the input block that it came from.

    Args:
        source: the input block.
        products: the cleaned strain; None where the strain itself is a gap.
        estimates: by coupling name, of the version in production.
        faults: of the witnesses, inside the block.
        canary: by coupling name, where any coupling has a canary: its estimate, or production's.
        others: of every version that runs beside production.
    """

    source: Block
    products: StrainProducts | None
    estimates: Mapping[str, Estimate]
    faults: tuple[WitnessFault, ...] = ()
    canary: Mapping[str, Estimate] = field(default_factory=dict)
    others: Mapping[Version, Estimate] = field(default_factory=dict)

    @property
    def span(self) -> Span:
        """The stretch it covers."""
        return self.source.span

    @property
    def cleaned(self) -> Float64 | None:
        """The official product; None where the strain is a gap."""
        return None if self.products is None else self.products.out_dq
