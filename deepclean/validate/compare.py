"""Comparison of one second of a live run's frames with its replay.

A live frame says itself how much of the estimates it subtracted. Its gain channel holds the lowest
gain of each sixteenth of a second. Let `x` be the raw strain and `n` the replay's estimates of the
noise. A sample of either product must lie between `x - sum(g n)` for `g` at that gain and for `g`
at 1, because an estimate with a gain above 0 rests on the same input as the replay's. The estimates
agree except for rounding: a transform mixes the rounding of a whole hop, also of the part that a
missing witness spoils. A difference that this range does not allow is never explained.

Where the frames hold the estimates, these are held to the same. What was subtracted is `x` less the
official product. Each coupling's noise is the replay's, but for rounding, where its factor is above
0, and the factor lies between the gain channel and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from deepclean.core import channels
from deepclean.core.block import CleanedBlock, Estimate, Gap, Samples, Series
from deepclean.core.channels import STATE_RATE
from deepclean.core.frame import CleanedFrame
from deepclean.core.output.products import State, render
from deepclean.core.time import NS
from deepclean.validate.whole import one_block

_TOLD = (
    State.WITNESSES_GOOD
    | State.IN_SPEC
    | State.CLEANED
    | State.STEADY
    | State.SETTLED
    | State.COMPLETE
    | State.AUTOMATIC
    | State.FOLLOWING
)
"""Bits that say why a frame differs from its replay. The other bits depend on the strain alone."""

_ROUNDING = 1e-6
"""The engine's rounding relative to the noise, if it computes the same in another way."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one channel of a frame from its replay.

    Args:
        channel: full name.
        instant: GPS nanoseconds of the first sample that differs.
        archived: value of this sample in the frame.
        replayed: value of this sample in the replay.
        largest: the largest difference in the second.
        samples: number of samples that differ.
    """

    channel: str
    instant: int
    archived: float
    replayed: float
    largest: float
    samples: int


@dataclass(frozen=True, slots=True)
class DifferentSecond:
    """A second that differs between the archive and the replay.

    Args:
        start: GPS seconds.
        absent: `archive` or `history`, if one of them has no such second.
        differences: the differences by channel.
        switched: the live run had another model version in force.
        late: the frame's own bit says that witnesses were missing, and the replay has them.
        lower: the live run had a lower gain.
        higher: the live run had a higher gain.
        unsettled: a gate's statistics were incomplete in the live run and are complete now.
        ends_low: the gain of the live run fell to 0 at the end, and the replay's does not.
        adapted: the gains that follow a drift differ, by their channels.
        operated: the frame's own bits say that an operator set something, and the replay's do not.
        accounted: the gains in the frame allow every sample, and no channel differs that they do
            not explain.
        accounted_beside: the same if the gains that follow a drift differ in a second beside it.
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
    adapted: bool = False
    operated: bool = False
    accounted: bool = False
    accounted_beside: bool = False

    @property
    def told(self) -> bool:
        """Whether versions, bits or gains in the frame differ from the replay's."""
        return any((self.switched, self.late, self.lower, self.higher, self.unsettled))


class Comparison:
    """Compares the seconds of one interferometer.

    Args:
        strain: full name of the strain channel.
        state: full name of the source's state vector, or None.
        products: the strain products that are compared.
        estimates: the couplings whose estimates are compared, each with its rate in Hz.
        subtracted: whether the sum of what was subtracted is compared.
    """

    def __init__(
        self,
        strain: str,
        state: str | None,
        products: tuple[str, ...],
        estimates: Mapping[str, int] = MappingProxyType({}),
        *,
        subtracted: bool = False,
    ) -> None:
        self._strain, self._state, self._products = strain, state, products
        self._estimates, self._subtracted = estimates, subtracted
        self._interferometer = strain.split(":", maxsplit=1)[0]

    def replayed(self, frame: CleanedFrame) -> dict[str, Series] | None:
        """Return the channels that a frame should have, or None where there is no strain."""
        block = one_block(frame)
        if block.cleaned is None:
            return None
        rendered = render(
            frame, self._strain, self._products, self._estimates, subtracted=self._subtracted
        )
        if self._state is not None and isinstance(block.source.state, Series):
            rendered[self._state] = block.source.state
        return rendered

    def second(
        self,
        block: CleanedBlock,
        expected: Mapping[str, Series] | None,
        archived: Mapping[str, Series | Gap],
    ) -> DifferentSecond | None:
        """Return the difference of a second from its replay, or None if they agree."""
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
        adapted = self._adapted(block, both)

        def allowed(adapted: bool) -> bool:
            return switched or (
                all(_allowed(block, gains, adapted, *both(name)) for name in names)
                and self._sum_allowed(block, gains, adapted, both)
                and all(
                    _noise_allowed(estimate, gains[name], adapted, *both(noise), *both(factor))
                    for name, estimate in block.estimates.items()
                    if name in self._estimates
                    for noise, factor in [channels.noise(self._interferometer, name)]
                )
            )

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
            adapted=adapted,
            operated=bool((off & (State.AUTOMATIC | State.FOLLOWING)).any()),
            accounted=plain and allowed(adapted),
            accounted_beside=plain and allowed(True),
        )

    def _sum_allowed(
        self,
        block: CleanedBlock,
        gains: Mapping[str, Samples],
        adapted: bool,
        both: Callable[[str], tuple[Samples, Samples]],
    ) -> bool:
        """Return whether the gains allow what was subtracted: the strain less that is a product."""
        if not self._subtracted:
            return True
        strain = block.source.strain
        assert isinstance(strain, Series)
        raw = strain.samples.astype(np.float64)
        held, now = both(channels.subtracted(self._strain))
        return _allowed(block, gains, adapted, raw - held, raw - now)

    def _adapted(self, block: CleanedBlock, both: Callable[[str], tuple[Samples, Samples]]) -> bool:
        """Return whether the gains that follow a drift are others in the replay."""
        following = [name for name, one in block.estimates.items() if one.knots is not None]
        told = [n for c in following for n in channels.adaptation(self._interferometer, c)]
        return any(_different(*both(name)).any() for name in told)


def _different(first: Samples, second: Samples) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a mask of the samples that differ. Not-a-number equals itself."""
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
    block: CleanedBlock,
    gains: Mapping[str, Samples],
    adapted: bool,
    archived: Samples,
    replayed: Samples,
) -> bool:
    """Return whether the gains allow all samples of a product that differ.

    Args:
        block: of the replay.
        gains: in the archived frame, by coupling.
        adapted: whether the gains that follow a drift differ: then each estimate may be another, up
            to its greatest sample.
        archived: samples of the product.
        replayed: the same of the replay.
    """
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
        if adapted and estimate.knots is not None:
            peak = np.abs(estimate.noise).max()
            low, high = low - peak, high + peak
        part = np.repeat(gains[coupling].astype(np.float64), count) * estimate.noise
        low += np.minimum(part, estimate.noise)
        high += np.maximum(part, estimate.noise)
        scale += float(np.abs(estimate.noise).max())
    slack = _ROUNDING * scale + np.finfo(np.float64).eps * np.abs(raw)
    between = (archived >= raw - high - slack) & (archived <= raw - low + slack)
    return bool(between[different].all())


def _noise_allowed(
    estimate: Estimate,
    gain: Samples,
    adapted: bool,
    noise: Samples,
    noise_now: Samples,
    factor: Samples,
    factor_now: Samples,
) -> bool:
    """Return whether a coupling's gain allows all samples of its estimate that differ.

    Args:
        estimate: of the replay.
        gain: in the archived frame, at 16 Hz.
        adapted: whether the gains that follow a drift differ (_allowed).
        noise: samples of the estimate in the archived frame.
        noise_now: the same of the replay.
        factor: the factor on them in the archived frame.
        factor_now: the same of the replay.
    """
    peak = float(np.abs(estimate.noise).max())
    slack = (_ROUNDING + (adapted and estimate.knots is not None)) * peak
    sizes = np.abs(noise.astype(np.float64) - noise_now.astype(np.float64))
    # Where nothing was subtracted the estimate may rest on input that was not there.
    other = _different(noise, noise_now) & (factor > 0) & ~(sizes <= slack)
    lowest = np.repeat(gain, len(factor) // len(gain))
    between = (factor >= lowest) & (factor <= 1)
    return not other.any() and bool(between[_different(factor, factor_now)].all())
