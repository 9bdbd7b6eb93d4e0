"""Integer time: GPS nanoseconds for instants, sample indices from GPS 0 for streams.

An instant is a whole number of nanoseconds since GPS 0. A sample of a stream at an integer rate
`R` Hz has an index `n` counted from GPS 0 and stands at `n / R` seconds. Converting between the
two is exact or raises: no float second ever enters index arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Self

NS = 1_000_000_000
"""Nanoseconds in a second."""


def index_at(instant: int, rate: int) -> int:
    """Return the index of the sample that stands exactly at `instant`.

    Args:
        instant: GPS nanoseconds.
        rate: samples per second.

    Raises:
        ValueError: no sample of that rate stands at that instant.
    """
    index, rest = divmod(instant * rate, NS)
    if rest:
        raise ValueError(f"no sample at {rate} Hz stands at GPS {instant} ns")
    return index


def index_from(instant: int, rate: int) -> int:
    """Return the index of the first sample at or after `instant` (GPS nanoseconds)."""
    return -(-instant * rate // NS)


def seconds_to_ns(seconds: float | str) -> int:
    """Return whole nanoseconds for a duration or instant that a person wrote in seconds.

    Decimal arithmetic, so that `0.1` and `"1126259462.4"` mean what they say.

    Raises:
        ValueError: not a number, or finer than a nanosecond.
    """
    try:
        scaled = Context(traps=[InvalidOperation, Inexact]).multiply(Decimal(str(seconds)), NS)
    except ArithmeticError as error:
        raise ValueError(f"not a time in seconds: {seconds!r}") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"not a whole number of nanoseconds: {seconds!r}")
    return int(scaled)


def format_gps(instant: int) -> str:
    """Return `instant` (GPS nanoseconds) as seconds without trailing zeros: `1126259462.4`."""
    whole, rest = divmod(abs(instant), NS)
    sign = "-" if instant < 0 else ""
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open stretch of time `[start, end)` in GPS nanoseconds, never empty.

    Raises:
        ValueError: `end` is not after `start`.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a span must end after it starts: [{self.start}, {self.end})")

    @classmethod
    def of_seconds(cls, start: int, duration: int) -> Self:
        """Return the span of `duration` whole seconds from whole GPS second `start`."""
        return cls(start * NS, (start + duration) * NS)

    @classmethod
    def of_samples(cls, first: int, count: int, rate: int) -> Self:
        """Return the span of `count` samples from index `first` at `rate` Hz.

        Raises:
            ValueError: an end of it is not a whole number of nanoseconds.
        """
        start, start_rest = divmod(first * NS, rate)
        end, end_rest = divmod((first + count) * NS, rate)
        if start_rest or end_rest:
            raise ValueError(f"{count} samples at {rate} Hz from {first}: not whole nanoseconds")
        return cls(start, end)

    @property
    def duration(self) -> int:
        """Length in nanoseconds."""
        return self.end - self.start

    def indices(self, rate: int) -> tuple[int, int]:
        """Return the half-open index range of this span's samples at `rate` Hz.

        Raises:
            ValueError: an end of the span falls between samples.
        """
        return index_at(self.start, rate), index_at(self.end, rate)

    def samples(self, rate: int) -> int:
        """Return how many samples at `rate` Hz this span holds (exact, or ValueError)."""
        first, last = self.indices(rate)
        return last - first

    def overlap(self, other: Span) -> Span | None:
        """Return what both spans share, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def covers(self, other: Span) -> bool:
        """Return whether `other` lies wholly inside this span."""
        return self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"[{format_gps(self.start)}, {format_gps(self.end)})"
