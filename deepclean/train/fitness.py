"""The seconds in which a witness cannot be believed: absent, not finite, frozen or clipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deepclean.core.block import Gap, Series
from deepclean.core.output.segments import union
from deepclean.core.time import NS, Span
from deepclean.core.witness_checks import ConstantRun, WitnessSettings, clipped, frozen
from deepclean.io.source import ChannelHistory


class WitnessFitness:
    """Finds the bad seconds of witnesses, by the engine's own checks, over pieces in order of time.

    Args:
        source: of the witnesses.
        settings: when a witness is frozen or clipped.
    """

    def __init__(self, source: ChannelHistory, settings: WitnessSettings) -> None:
        self._source, self._settings = source, settings
        self._held: dict[str, ConstantRun] = {}

    def bad(self, names: Sequence[str], span: Span) -> dict[str, list[Span]]:
        """Return the bad whole seconds of each witness.

        A run of equal samples is bad from its beginning, which may lie before the span.

        Args:
            names: of the witnesses.
            span: whole seconds, after all those that were asked for before.
        """
        read = self._source.read(names, span)
        return {name: union(self._of(name, read[name])) for name in names}

    def _of(self, name: str, channel: Series | Gap) -> Iterator[Span]:
        span = channel.span
        if isinstance(channel, Series):
            yield from self._unbelievable(name, channel)
        elif span.duration <= NS:
            yield span
        else:
            middle = span.start + span.duration // NS // 2 * NS
            for half in (Span(span.start, middle), Span(middle, span.end)):
                yield from self._of(name, self._source.read([name], half)[name])

    def _unbelievable(self, name: str, series: Series) -> Iterator[Span]:
        """Yield the bad seconds of samples."""
        first, _ = series.span.indices(series.rate)
        seconds = np.isfinite(series.samples).reshape(-1, series.rate).all(axis=1)
        for second in np.flatnonzero(~seconds):
            start = series.span.start + int(second) * NS
            yield Span(start, start + NS)
        runs, limit = [], self._settings.limits.get(name)
        if limit is not None:
            runs += clipped(series.samples, first, limit)
        duration = self._settings.frozen
        if duration is not None:
            found, self._held[name] = frozen(
                series.samples, first, series.rate, duration, self._held.get(name)
            )
            begun = -(-duration * series.rate // NS)
            runs += [(low - begun, high) for low, high in found]
        for low, high in runs:
            # Outwards to whole seconds.
            start, end = low // series.rate, -(-high // series.rate)
            yield Span(start * NS, end * NS)
