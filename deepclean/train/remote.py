"""Training data through gwpy: a data-find service, NDS2 or open data, as gwpy finds it.

What is fetched is held in memory and then read like any other source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from deepclean.core.block import Gap, Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, listed


class Fetched:
    """Channels that gwpy fetched; satisfies train.data.Source and edge.source.Recording.

    Args:
        series: by full channel name, all over one span. Not-a-number marks what is missing.
    """

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = dict(series)

    def channels(self, wanted: Collection[str] | None = None) -> dict[str, int]:
        """Return the rate in Hz of the wanted channels that are there."""
        return {
            name: series.rate
            for name, series in self._series.items()
            if wanted is None or name in wanted
        }

    def require(self, wanted: Collection[str]) -> dict[str, int]:
        """Return the rate in Hz of every wanted channel.

        Raises:
            InputError: some were not fetched.
        """
        absent = set(wanted) - set(self._series)
        if absent:
            raise InputError(
                f"not fetched: {listed(sorted(absent), self._series)}", channels=absent
            )
        return self.channels(wanted)

    def spans(self, channel: str | None = None) -> Sequence[Span]:
        """Return the stretch that was fetched of a channel."""
        held = [s.span for name, s in self._series.items() if channel in (None, name)]
        return held[:1]

    def read(self, wanted: Collection[str], span: Span) -> dict[str, Series | Gap]:
        """Return, by channel, its samples over the span, or a gap where some are missing."""
        return {name: _cut(self._series.get(name), span) for name in wanted}


def fetch(channels: Collection[str], span: Span, **options: Any) -> Fetched:
    """Fetch channels over a span with gwpy's `TimeSeriesDict.get`.

    Args:
        channels: full names.
        span: whole GPS seconds.
        options: `get`'s own, such as `source`, `frametype`, `host`, `allow_tape`.

    Raises:
        InputError: gwpy cannot get them, or a channel has a rate that is not whole.
    """
    from gwpy.timeseries import TimeSeriesDict

    start, end = span.start // NS, span.end // NS
    # Whatever the service, the network and the frame library raise has no common base.
    try:
        found = TimeSeriesDict.get(sorted(channels), start, end, pad=np.nan, **options)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"gwpy cannot get {span}: {type(error).__name__}: {reason}", channels=channels
        ) from error
    return Fetched({name: _series(name, found[name], span) for name in channels})


def _series(name: str, found: Any, span: Span) -> Series:
    rate = float(found.sample_rate.value)
    if not rate.is_integer():
        raise InputError(f"{name}: a rate of {rate} Hz is not whole", channels=[name])
    try:
        return Series(span, int(rate), np.ascontiguousarray(found.value))
    except ValueError as error:
        raise InputError(f"{name}: gwpy gave another span: {error}", channels=[name]) from error


def _cut(series: Series | None, span: Span) -> Series | Gap:
    if series is None or not series.span.covers(span):
        return Gap(span, "missing")
    part = series.cut(span)
    return part if np.isfinite(part.samples).all() else Gap(span, "missing")
