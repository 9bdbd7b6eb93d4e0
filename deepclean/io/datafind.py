"""History through gwpy: a data-find service, NDS2 or open data, as gwpy finds it.

`fetch` takes a whole span at once, into memory. `RemoteHistory` fetches what is read, piece by
piece.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from deepclean.core.block import Gap, Series, concatenate
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, listed
from deepclean.io.channels import Reading

PIECE = 128 * NS
"""Nanoseconds that `RemoteHistory` fetches at once, counted from GPS 0. A request takes about a
second, however much it is for, and this much of a site's witnesses fits into memory."""

_KEPT = 2
"""Pieces that are kept of every set of channels: a read may touch two."""


class RemoteData:
    """Channels that gwpy fetched or a program holds; satisfies io.source.ChannelHistory.

    Args:
        series: by full channel name, all over one span. Not-a-number marks what is missing.
    """

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = dict(series)
        self.faults: list[InputError] = []

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of every channel, or of those `wanted` that are there."""
        held = self._series.items()
        return {name: series.rate for name, series in held if wanted is None or name in wanted}

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        """Return the rate in Hz of every wanted channel.

        Raises:
            InputError: some channels are not in the data.
        """
        absent = set(wanted) - set(self._series)
        if absent:
            raise InputError(
                f"not in the data: {listed(sorted(absent), self._series)}", channels=absent
            )
        return self.channels(wanted)

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the stretch that is there of a channel."""
        held = [s.span for name, s in self._series.items() if channel in (None, name)]
        return held[:1]

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        """Return, by channel, its samples over the span, or a gap where some are missing."""
        return {name: _cut(self._series.get(name), span) for name in wanted}

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        """Return what `read` returns."""
        return Reading({name: [each] for name, each in self.read(wanted, span).items()})


class RemoteHistory:
    """A span of history that is fetched as it is read; satisfies io.source.ChannelHistory.

    It can be made in any process. Each process fetches what it reads: to fetch a shared span once
    would take memory for all of it, and once more in every process.

    Args:
        span: the stretch to be read, whole seconds; what is before or after it can be had too.
        state: the channel of bits among what is read, if there is one.
        options: the options of `fetch`.
    """

    def __init__(self, span: Span, state: str | None = None, **options: Any) -> None:
        self._span = span
        self._faults: dict[tuple[frozenset[str], int], InputError] = {}
        faults = self._faults

        @lru_cache(_KEPT)
        def piece(names: frozenset[str], number: int) -> RemoteData:
            try:
                return fetch(names, _piece_span(number), state, **options)
            except InputError as fault:
                faults[names, number] = fault
                return RemoteData({})

        self._piece = piece

    @property
    def faults(self) -> list[InputError]:
        """The faults met so far, one for each piece and set of channels."""
        return list(self._faults.values())

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of those wanted channels that can be had at the span's start."""
        return self._piece(frozenset(wanted or ()), self._span.start // PIECE).channels()

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        """Return the rate in Hz of every wanted channel, at the start of the span.

        Raises:
            InputError: they cannot be had there.
        """
        rates = self.channels(wanted)
        fault = self._faults.get((frozenset(wanted), self._span.start // PIECE))
        if fault is not None:
            raise fault
        return {name: rates[name] for name in wanted}

    def spans(self, channel: str | None = None) -> list[Span]:
        """Return the span: whether a service has all of it, only a read can tell."""
        return [self._span]

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        """Return, by channel, its samples over the span, or a gap where some are missing.

        What cannot be fetched is missing, and noted in `faults`.
        """
        names = frozenset(wanted)
        parts = [self._piece(names, number).read(wanted, part) for number, part in _pieces(span)]
        return {name: _joined([part[name] for part in parts], span) for name in wanted}

    def pieces(self, wanted: Collection[str], span: Span) -> Reading:
        """Return what `read` returns."""
        return Reading({name: [each] for name, each in self.read(wanted, span).items()})


def fetch(
    channels: Collection[str], span: Span, state: str | None = None, **options: Any
) -> RemoteData:
    """Fetch channels over a span with gwpy's `TimeSeriesDict.get`.

    Args:
        channels: full names.
        span: whole GPS seconds.
        state: the channel that holds bits; where it is missing, no bit is set.
        options: options of `get`, such as `source`, `frametype`, `host`, `allow_tape`.

    Raises:
        InputError: gwpy cannot get them, or a channel has a rate that is not a whole number of Hz.
    """
    from gwpy.timeseries import TimeSeriesDict

    start, end = span.start // NS, span.end // NS
    series = {}
    for names, pad in (({*channels} - {state}, np.nan), ({*channels} & {state}, 0)):
        if not names:
            continue
        # Whatever the service, the network and the frame library raise has no common base.
        try:
            # Integers cannot hold the not-a-number that marks what is missing: no data is made up.
            with np.errstate(invalid="raise"):
                found = TimeSeriesDict.get(sorted(names), start, end, pad=pad, **options)
        except Exception as error:
            said = "; ".join(dict.fromkeys(_reasons(error)))
            raise InputError(f"gwpy cannot get {span}: {said}", channels=sorted(names)) from error
        absent = sorted(names - set(found))
        if absent:
            raise InputError(f"gwpy has nothing of {', '.join(absent)} in {span}", channels=absent)
        series.update({name: _series(name, found[name], span) for name in sorted(names)})
    return RemoteData(series)


def from_gwpy(data: Mapping[str, Any]) -> RemoteData:
    """Return what a TimeSeriesDict holds, by full channel name.

    Raises:
        InputError: it is no dict of gwpy's series by channel name, or a channel has a rate that is
            not a whole number of Hz.
    """
    from gwpy.timeseries import TimeSeriesBase

    wanted = "a TimeSeriesDict, or a dict of gwpy's series by full channel name, is wanted"
    if not isinstance(data, Mapping):
        raise InputError(f"{wanted}, not a {type(data).__name__}")
    series = {}
    for name, found in data.items():
        if not isinstance(found, TimeSeriesBase):
            raise InputError(f"{name}: {wanted}, not a {type(found).__name__}")
        rate = _rate(name, found)
        first = round(float(found.t0.value) * rate)
        span = Span(first * NS // rate, (first + len(found)) * NS // rate)
        series[name] = _series(name, found, span)
    return RemoteData(series)


def _reasons(error: Exception) -> Iterator[str]:
    """Yield one message for each source that gwpy tried."""
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _reasons(each)
        return
    notes = getattr(error, "__notes__", ())
    yield " ".join(f"{type(error).__name__}: {error} {' '.join(notes)}".split())


def _series(name: str, found: Any, span: Span) -> Series:
    rate = _rate(name, found)
    try:
        return Series(span, rate, np.ascontiguousarray(found.value))
    except ValueError as error:
        raise InputError(f"{name}: gwpy gave another span: {error}", channels=[name]) from error


def _rate(name: str, found: Any) -> int:
    rate = float(found.sample_rate.value)
    if not rate.is_integer():
        raise InputError(f"{name}: a rate of {rate} Hz is not whole", channels=[name])
    return int(rate)


def _cut(series: Series | None, span: Span) -> Series | Gap:
    if series is None or not series.span.covers(span):
        return Gap(span, "missing")
    part = series.cut(span)
    return part if np.isfinite(part.samples).all() else Gap(span, "missing")


def _piece_span(number: int) -> Span:
    return Span(number * PIECE, (number + 1) * PIECE)


def _pieces(span: Span) -> Iterator[tuple[int, Span]]:
    """Yield the numbers of the pieces that a span touches, and the part of it in each."""
    for number in range(span.start // PIECE, -(-span.end // PIECE)):
        part = span.overlap(_piece_span(number))
        assert part is not None
        yield number, part


def _joined(parts: Sequence[Series | Gap], span: Span) -> Series | Gap:
    series = [part for part in parts if isinstance(part, Series)]
    if len(series) < len(parts):
        return Gap(span, "missing")
    try:
        return concatenate(series)
    except ValueError:  # the rate changes
        return Gap(span, "corrupt")
