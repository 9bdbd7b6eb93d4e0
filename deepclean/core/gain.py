"""The gain of an estimate: the factor in [0, 1] under which it is subtracted.

The gain is 0 wherever the estimate rests on missing or bad data, and it falls and rises over a
raised-cosine ramp before and after that. It is a function of the distance to the nearest invalid
sample on either side, so it has a finite memory, no state, and is the same however the stream was
cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span


class InvalidSpans:
    """The spans of time (GPS nanoseconds) in which an estimate is not valid, with the reasons.

    They are kept twice: as disjoint spans for the gain, and by reason for the account.

    >>> invalid = InvalidSpans()
    >>> invalid.add(0, 10, "missing")
    >>> invalid.add(5, 20, "frozen")
    >>> invalid.add(30, 40, "missing")
    >>> invalid.overlapping(0, 100), invalid.overlapping(20, 30)
    ([(0, 20), (30, 40)], [])
    >>> invalid.reasons(15, 100)
    ('frozen', 'missing')
    >>> invalid.drop_before(20)
    >>> invalid.overlapping(0, 100)
    [(30, 40)]
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._causes: dict[str, list[tuple[int, int]]] = {}

    def add(self, start: int, end: int, reason: str = "") -> None:
        """Add the span `[start, end)`. It is merged with every span that it touches."""
        if end <= start:
            return
        spans = self._causes.setdefault(reason, [])
        if spans and start <= spans[-1][1] and end >= spans[-1][0]:
            start_before, end_before = spans.pop()
            spans.append((min(start, start_before), max(end, end_before)))
        else:
            spans.append((start, end))
        # Both lists ascend, so the spans that touch [start, end) are consecutive: from the first
        # that ends at or after `start` to the last that starts at or before `end`.
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def drop_before(self, instant: int) -> None:
        """Drop the spans that end at or before `instant` (GPS nanoseconds)."""
        if not self._causes:
            return
        count = bisect_right(self._ends, instant)
        del self._starts[:count], self._ends[:count]
        for reason, spans in list(self._causes.items()):
            kept = [span for span in spans if span[1] > instant]
            if kept:
                self._causes[reason] = kept
            else:
                del self._causes[reason]

    def reasons(self, start: int, end: int) -> tuple[str, ...]:
        """Return the reasons, sorted, for which the estimate is invalid within `[start, end)`."""
        return tuple(
            sorted(
                reason
                for reason, spans in self._causes.items()
                if any(low < end and high > start for low, high in spans)
            )
        )

    def by_reason(self, start: int, end: int) -> list[tuple[str, int, int]]:
        """Return the spans of each reason within `[start, end)`, cut to it, by reason.

        >>> invalid = InvalidSpans()
        >>> invalid.add(0, 10, "missing")
        >>> invalid.by_reason(5, 20)
        [('missing', 5, 10)]
        """
        return [
            (reason, max(low, start), min(high, end))
            for reason, spans in sorted(self._causes.items())
            for low, high in spans
            if low < end and high > start
        ]

    def overlapping(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the disjoint spans that share time with `[start, end)`, in order."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high:
            return []
        return list(zip(self._starts[low:high], self._ends[low:high], strict=True))

    def copy(self) -> InvalidSpans:
        """Return an independent copy."""
        twin = InvalidSpans()
        twin._starts, twin._ends = self._starts.copy(), self._ends.copy()
        twin._causes = {reason: spans.copy() for reason, spans in self._causes.items()}
        return twin


@lru_cache(maxsize=8)
def _ones(count: int) -> Float64:
    """Return the gain of 1 over so many samples, the same array each time."""
    ones = np.ones(count)
    ones.flags.writeable = False
    return ones


def is_one(gain: Float64) -> bool:
    """Return whether a gain is 1 throughout."""
    return gain is _ones(len(gain)) or bool((gain == 1).all())


def gain_over(
    span: Span, rate: int, invalid: InvalidSpans, ramp: int, rise: int | None = None
) -> Float64:
    """Return the gain of one coupling over `span`.

    Args:
        span: the span whose samples at `rate` are returned.
        rate: the strain's rate in Hz.
        invalid: the spans in which the estimate is invalid, known at least `ramp` samples beyond
            the span.
        ramp: length of the raised-cosine ramp, in samples. With `d` the distance to the nearest
            invalid sample the gain is `sin(pi/2 * min(d / ramp, 1)) ** 2`.
        rise: length of the ramp after an invalid span, in samples; None: as before it.

    Returns:
        Shape `(n,)`, float64: exactly 0 on an invalid sample, exactly 1 beyond the ramps. Not to
        be changed: a gain of 1 throughout is one array for all.
    """
    return gain_at(*span.indices(rate), rate, invalid, ramp, rise)


def gain_at(
    first: int, stop: int, rate: int, invalid: InvalidSpans, ramp: int, rise: int | None = None
) -> Float64:
    """Return the gain of one coupling at the samples `[first, stop)`.

    A bad sample at index 8 of a stream at 16 Hz, with ramps of 4 samples:

    >>> invalid = InvalidSpans()
    >>> invalid.add(NS // 2, NS // 2 + 1)
    >>> gain_at(3, 14, 16, invalid, ramp=4).round(2).tolist()
    [1.0, 1.0, 0.85, 0.5, 0.15, 0.0, 0.15, 0.5, 0.85, 1.0, 1.0]

    Args:
        first: index of the first sample.
        stop: index after the last.
        rate: samples per second.
        invalid: as in `gain_over`.
        ramp: as in `gain_over`.
        rise: as in `gain_over`.

    Returns:
        Shape `(stop - first,)`, float64; not to be changed, as in `gain_over`.
    """
    # sin^2(pi d / (2 ramp)) = (1 - cos(pi d / ramp)) / 2, the raised cosine: value and slope are
    # continuous at both ends, so the strain gets no step and no kink, and the leakage out of the
    # band falls as the cube of the distance in frequency.
    rise = ramp if rise is None else rise
    # Spans farther away than a ramp do not matter: the ramp in nanoseconds, rounded up, and a
    # sample and a nanosecond for the rounding of a span's ends to samples.
    reach = -(-max(ramp, rise) * NS // rate) + NS // rate + 1
    near = (first * NS // rate - reach, -(-stop * NS // rate) + reach)
    spans = invalid.overlapping(*near)
    if not spans:
        return _ones(stop - first)
    gain = np.ones(stop - first)
    for start, end in spans:
        # A sample fills the time up to the next one, so those that share time with the span are
        # [low, high): its start is rounded down, its end up.
        low, high = start * rate // NS, -(-end * rate // NS)
        if ramp and rise:
            # The nearest invalid sample is `low` for those before it, `high - 1` for those after,
            # so the distance is 1 at least. Near two spans the lower gain counts.
            before = np.arange(max(first, low - ramp), min(stop, low))
            after = np.arange(max(first, high), min(stop, high + rise))
            for indices, distance in (
                (before, (low - before) / ramp),
                (after, (after - (high - 1)) / rise),
            ):
                if len(indices):
                    part = slice(indices[0] - first, indices[-1] + 1 - first)
                    shape = np.sin(0.5 * np.pi * np.minimum(distance, 1.0)) ** 2
                    gain[part] = np.minimum(gain[part], shape)
        gain[max(low - first, 0) : max(high - first, 0)] = 0.0
    return gain
