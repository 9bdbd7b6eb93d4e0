"""One second of a live run's frames beside its replay: what differs, and what the frame says of it.

What a live frame held back it says itself. Its gain channel has the lowest gain of each sixteenth,
so that with `x` the raw strain and `n` the replay's estimates of the noise a sample of either
product must lie between `x - sum(g n)` for `g` at that gain and at 1: an estimate at a gain above 0
rests on the same input as the replay's. It is the same but for rounding: transforms mix that of a
whole hop, also of the part that a missing witness spoils. A difference of samples that this does
not allow is never explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepclean.core import channels
from deepclean.core.block import CleanedBlock, Gap, Samples, Series
from deepclean.core.channels import STATE_RATE
from deepclean.core.frame import CleanedFrame
from deepclean.core.products import State, render
from deepclean.core.time import NS

_TOLD = State.WITNESSES_GOOD | State.IN_SPEC | State.CLEANED | State.STEADY | State.SETTLED
"""Bits that say why a frame is not as its replay. The others follow from the strain alone."""

_ROUNDING = 1e-6
"""Of the noise's scale: what the engine promises where it computes the same in another way."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a channel of a frame first differs from its replay.

    Args:
        channel: full name.
        instant: of the first sample that differs, GPS nanoseconds.
        archived: its value in the frame.
        replayed: in the replay.
        largest: difference of any sample of the second.
        samples: how many differ.
    """

    channel: str
    instant: int
    archived: float
    replayed: float
    largest: float
    samples: int


@dataclass(frozen=True, slots=True)
class DifferentSecond:
    """A second that is not the same in the archive and in the replay.

    Args:
        start: GPS seconds.
        absent: `archive` or `history`, where one of them has no such second.
        differences: by channel.
        switched: another model version was in force.
        late: witnesses were not there, by the frame's own bit, that are there now.
        lower: some gain was lower than now.
        higher: some gain was higher than now.
        unsettled: a gate's statistics were not complete that are complete now.
        ends_low: the gain fell to 0 at the end, and does not now.
        accounted: every sample is what the frame's own account allows, and nothing else differs
            than what has an account.
    """

    start: int
    absent: str | None = None
    differences: tuple[Difference, ...] = ()
    switched: bool = False
    late: bool = False
    lower: bool = False
    higher: bool = False
    unsettled: bool = False
    ends_low: bool = False
    accounted: bool = False

    @property
    def told(self) -> bool:
        """Whether the frame's own account differs from the replay's."""
        return any((self.switched, self.late, self.lower, self.higher, self.unsettled))


class Comparison:
    """Compares the seconds of one interferometer.

    Args:
        strain: full name of the strain channel.
        state: of the source's state vector, or None.
        products: strain products that are compared.
    """

    def __init__(self, strain: str, state: str | None, products: tuple[str, ...]) -> None:
        self._strain, self._state, self._products = strain, state, products
        self._interferometer = strain.split(":", maxsplit=1)[0]

    def replayed(self, frame: CleanedFrame) -> dict[str, Series] | None:
        """Return the channels that a frame should have; None where there is no strain."""
        (block,) = frame.blocks
        if block.cleaned is None:
            return None
        rendered = render(frame, self._strain, self._products)
        if self._state is not None and isinstance(block.source.state, Series):
            rendered[self._state] = block.source.state
        return rendered

    def second(
        self,
        block: CleanedBlock,
        expected: Mapping[str, Series] | None,
        archived: Mapping[str, Series | Gap],
    ) -> DifferentSecond | None:
        """Return how a second differs from its replay, or None where it does not."""
        start = block.span.start // NS
        there = any(isinstance(channel, Series) for channel in archived.values())
        missing = all(isinstance(c, Gap) and c.reason == "missing" for c in archived.values())
        if expected is None:
            return DifferentSecond(start, "history") if there else None
        if missing:
            return DifferentSecond(start, "archive")
        differences, lost = [], False
        for name, series in expected.items():
            held = archived[name]
            if isinstance(held, Gap) or held.samples.shape != series.samples.shape:
                lost = True
                nan = float("nan")
                differences.append(Difference(name, block.span.start, nan, nan, nan, 0))
                continue
            different = _different(held.samples, series.samples)
            if different.any():
                differences.append(_difference(name, held, series, different))
        if not differences:
            return None
        if lost:
            return DifferentSecond(start, None, tuple(differences))
        return self._judged(block, expected, archived, tuple(differences))

    def _judged(
        self,
        block: CleanedBlock,
        expected: Mapping[str, Series],
        archived: Mapping[str, Series | Gap],
        differences: tuple[Difference, ...],
    ) -> DifferentSecond:
        def both(name: str) -> tuple[Samples, Samples]:
            held = archived[name]
            assert isinstance(held, Series)
            return held.samples, expected[name].samples

        bits, bits_now = both(channels.state_vector(self._interferometer))
        bits, bits_now = bits.astype(np.int64), bits_now.astype(np.int64)
        off = ~bits & bits_now
        gains, gains_now, versions = {}, {}, []
        for coupling in block.estimates:
            gains[coupling], gains_now[coupling] = both(
                channels.gain(self._interferometer, coupling)
            )
            was, now = both(channels.model_version(self._interferometer, coupling))
            versions.append((was != now).any())
        lower = [gains[c] < gains_now[c] for c in gains]
        higher = [gains[c] > gains_now[c] for c in gains]
        ends_low = any(
            gains[c][-1] == 0 < gains_now[c][-1] and gains[c][0] == gains_now[c][0] for c in gains
        )
        switched = any(versions)
        plain = not ((bits ^ bits_now) & ~int(_TOLD)).any() and not (
            self._state in expected and any(d.channel == self._state for d in differences)
        )
        names = channels.product_names(self._strain, self._products).values()
        allowed = switched or all(_allowed(block, gains, *both(name)) for name in names)
        return DifferentSecond(
            block.span.start // NS,
            None,
            differences,
            switched=switched,
            late=bool((off & State.WITNESSES_GOOD).any()),
            lower=bool(np.any(lower)),
            higher=bool(np.any(higher)),
            unsettled=bool((off & State.SETTLED).any()),
            ends_low=ends_low,
            accounted=plain and allowed,
        )


def _different(first: Samples, second: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return where samples differ in their bits; not-a-number equals itself."""
    nan = np.isnan(first) & np.isnan(second) if first.dtype.kind == "f" else False
    return np.asarray((first != second) & ~np.asarray(nan))


def _difference(name: str, held: Series, series: Series, different: Samples) -> Difference:
    at = int(np.flatnonzero(different)[0])
    sizes = np.abs(held.samples.astype(np.float64) - series.samples.astype(np.float64))
    return Difference(
        name,
        held.span.start + at * NS // held.rate,
        float(held.samples[at]),
        float(series.samples[at]),
        float(np.nanmax(sizes[different])) if np.isfinite(sizes[different]).any() else float("nan"),
        int(different.sum()),
    )


def _allowed(
    block: CleanedBlock, gains: Mapping[str, Samples], archived: Samples, replayed: Samples
) -> bool:
    """Return whether the samples of a product that differ are what the gains allow."""
    different = _different(archived, replayed)
    if not different.any():
        return True
    strain = block.source.strain
    assert isinstance(strain, Series)
    raw = strain.samples.astype(np.float64)
    count = len(raw) // STATE_RATE
    low, high = np.zeros(len(raw)), np.zeros(len(raw))
    scale = 0.0
    for coupling, estimate in block.estimates.items():
        part = np.repeat(gains[coupling].astype(np.float64), count) * estimate.noise
        low += np.minimum(part, estimate.noise)
        high += np.maximum(part, estimate.noise)
        scale += float(np.abs(estimate.noise).max())
    slack = _ROUNDING * scale + np.finfo(np.float64).eps * np.abs(raw)
    between = (archived >= raw - high - slack) & (archived <= raw - low + slack)
    return bool(between[different].all())
