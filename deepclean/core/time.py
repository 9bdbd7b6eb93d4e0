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

    >>> index_at(NS // 2, 4096)
    2048
    >>> index_at(1, 4096)
    Traceback (most recent call last):
        ...
    ValueError: no sample at 4096 Hz stands at GPS 1 ns

    Args:
        instant: GPS nanoseconds.
        rate: samples per second.

    Raises:
        ValueError: no sample of that rate stands at that instant.
    """
    # Sample n at rate R stands at t = n / R seconds, so n = t R, and that must be a whole number.
    index, rest = divmod(instant * rate, NS)
    if rest:
        raise ValueError(f"no sample at {rate} Hz stands at GPS {instant} ns")
    return index


def index_from(instant: int, rate: int) -> int:
    """Return the index of the first sample at or after `instant`.

    >>> index_from(NS // 2, 4096), index_from(NS // 2 + 1, 4096), index_from(-1, 4096)
    (2048, 2049, 0)

    Args:
        instant: GPS nanoseconds.
        rate: samples per second.
    """
    # Integer division rounds down, so minus the quotient of minus the numerator rounds up.
    return -(-instant * rate // NS)


def seconds_to_ns(seconds: float | str) -> int:
    """Return whole nanoseconds for a duration or instant that a person wrote in seconds.

    The arithmetic is decimal, so `0.1` and `"1126259462.4"` mean what they say.

    >>> seconds_to_ns("1126259462.4"), seconds_to_ns(0.1)
    (1126259462400000000, 100000000)

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
    """Return `instant` (GPS nanoseconds) as decimal seconds without trailing zeros.

    >>> format_gps(1126259462_400000000), format_gps(-NS), format_gps(1)
    ('1126259462.4', '-1', '0.000000001')
    """
    # The sign is set apart because divmod rounds down: -0.5 s would become -1 s and +0.5 s.
    whole, rest = divmod(abs(instant), NS)
    sign = "-" if instant < 0 else ""
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open stretch of time `[start, end)` in GPS nanoseconds, never empty.

    >>> span = Span.of_seconds(1126259462, 4)
    >>> span.samples(16384), str(span)
    (65536, '[1126259462, 1126259466)')

    Args:
        start: GPS nanoseconds of the first instant inside.
        end: GPS nanoseconds of the first instant after it.

    Raises:
        ValueError: `end` is not after `start`.
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            first, last = format_gps(self.start), format_gps(self.end)
            raise ValueError(f"a span must end after it starts: [{first}, {last})")

    @classmethod
    def of_seconds(cls, start: int, duration: int) -> Self:
        """Return the span of `duration` whole seconds from whole GPS second `start`."""
        return cls(start * NS, (start + duration) * NS)

    @classmethod
    def of_samples(cls, first: int, count: int, rate: int) -> Self:
        """Return the span of `count` samples from index `first` at `rate` Hz.

        >>> Span.of_samples(4096, 2048, 4096)
        Span(start=1000000000, end=1500000000)

        Raises:
            ValueError: an end of the span is not a whole number of nanoseconds.
        """
        # A sample fills the time up to the next one, so the span ends where sample first + count
        # stands. At 16384 Hz only every 32nd sample stands at a whole nanosecond.
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

        >>> Span(NS // 2, NS).indices(16)
        (8, 16)

        Raises:
            ValueError: an end of the span falls between samples.
        """
        return index_at(self.start, rate), index_at(self.end, rate)

    def samples(self, rate: int) -> int:
        """Return the number of samples at `rate` Hz that this span holds.

        Raises:
            ValueError: an end of the span falls between samples.
        """
        count, rest = divmod((self.end - self.start) * rate, NS)
        if rest or self.start * rate % NS:
            self.indices(rate)  # says which end it is
        return count

    def overlap(self, other: Span) -> Span | None:
        """Return the span that both spans share, or None.

        >>> Span(0, 4).overlap(Span(3, 9))
        Span(start=3, end=4)
        >>> Span(0, 4).overlap(Span(4, 9)) is None
        True
        """
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None

    def covers(self, other: Span) -> bool:
        """Return whether `other` lies wholly inside this span."""
        return self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"[{format_gps(self.start)}, {format_gps(self.end)})"
