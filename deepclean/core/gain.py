"""How much of an estimate is subtracted: one gain per coupling, in [0, 1].

The gain is 0 wherever the estimate rests on anything that is missing, and rises and falls over a
raised-cosine ramp beside that. It is a function of the distance to the nearest invalid sample on
either side, so it has a finite memory, no state, and is the same however the stream was cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np

from deepclean.core.block import Float64
from deepclean.core.time import NS, Span


class InvalidSpans:
    """A set of time (GPS nanoseconds) in which an estimate is not valid, and why.

    Kept as disjoint spans for the gain, and with their reasons for the account.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._causes: dict[str, list[tuple[int, int]]] = {}

    def add(self, start: int, end: int, reason: str = "") -> None:
        """Add `[start, end)`, merging it with whatever it touches."""
        if end <= start:
            return
        spans = self._causes.setdefault(reason, [])
        if spans and start <= spans[-1][1] and end >= spans[-1][0]:
            start_before, end_before = spans.pop()
            spans.append((min(start, start_before), max(end, end_before)))
        else:
            spans.append((start, end))
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def drop_before(self, instant: int) -> None:
        """Forget the spans that end at or before `instant`."""
        count = bisect_right(self._ends, instant)
        del self._starts[:count], self._ends[:count]
        for reason, spans in list(self._causes.items()):
            kept = [span for span in spans if span[1] > instant]
            if kept:
                self._causes[reason] = kept
            else:
                del self._causes[reason]

    def reasons(self, start: int, end: int) -> tuple[str, ...]:
        """Return why an estimate is not valid somewhere in `[start, end)`, sorted."""
        return tuple(
            sorted(
                reason
                for reason, spans in self._causes.items()
                if any(low < end and high > start for low, high in spans)
            )
        )

    def overlapping(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the spans that share time with `[start, end)`, in order."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        return list(zip(self._starts[low:high], self._ends[low:high], strict=True))

    def copy(self) -> InvalidSpans:
        """Return an independent copy."""
        twin = InvalidSpans()
        twin._starts, twin._ends = self._starts.copy(), self._ends.copy()
        twin._causes = {reason: spans.copy() for reason, spans in self._causes.items()}
        return twin


def gain_over(
    span: Span, rate: int, invalid: InvalidSpans, ramp: int, rise: int | None = None
) -> Float64:
    """Return the gain of one coupling over `span`.

    Args:
        span: where; its samples at `rate` are returned.
        rate: the strain's rate in Hz.
        invalid: where the estimate is not valid; known at least `ramp` samples beyond the span.
        ramp: length of the raised-cosine ramp, in samples. With `d` the distance to the nearest
            invalid sample the gain is `sin(pi/2 * min(d / ramp, 1)) ** 2`.
        rise: length of the ramp after what is not valid, in samples; None: as before it.

    Returns:
        Shape `(n,)`, float64: exactly 0 on an invalid sample, exactly 1 beyond the ramps.
    """
    return gain_at(*span.indices(rate), rate, invalid, ramp, rise)


def gain_at(
    first: int, stop: int, rate: int, invalid: InvalidSpans, ramp: int, rise: int | None = None
) -> Float64:
    """Return the gain at the samples `[first, stop)` at `rate`; the rest as `gain_over`."""
    gain = np.ones(stop - first)
    rise = ramp if rise is None else rise
    reach = -(-max(ramp, rise) * NS // rate) + NS // rate + 1
    near = (first * NS // rate - reach, -(-stop * NS // rate) + reach)
    for start, end in invalid.overlapping(*near):
        low, high = start * rate // NS, -(-end * rate // NS)
        if ramp and rise:
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
