"""What a network is trained on: the site's own data, wherever it lies, and which of it is fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Block, Gap, Series
from deepclean.core.state_vector import READY
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, listed
from deepclean.io.source import ChannelHistory

PIECE = 64
"""Seconds that are read at a time."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Where a training takes its data from.

    Args:
        strain: holds the strain and its state vector.
        witnesses: holds the witnesses; often the same.
        span: the part to be used; None for all.
    """

    strain: ChannelHistory
    witnesses: ChannelHistory
    span: Span | None = None


class SiteData:
    """The data of one coupling, read in blocks of whole GPS seconds.

    A second is fit for training where every channel has finite samples and, if the source has the
    state vector, the detector is analysis-ready throughout it.

    Args:
        data: the sources.
        strain: full name of the strain channel.
        witnesses: full names, in the order of the network's input.
        state: full name of the state vector; None where there is none.

    Attributes:
        rates: Hz, of the strain and the witnesses.

    Raises:
        InputError: a channel is not there; names them all with the nearest that are.
    """

    def __init__(
        self, data: TrainingData, strain: str, witnesses: Sequence[str], state: str | None
    ) -> None:
        self._data = data
        self.strain, self.witnesses = strain, tuple(witnesses)
        found = {**data.witnesses.channels(witnesses), **data.strain.channels([strain])}
        absent = [name for name in (strain, *witnesses) if name not in found]
        if absent:
            raise _absent(absent, {**data.witnesses.channels(), **data.strain.channels()})
        self.rates = {name: found[name] for name in (strain, *witnesses)}
        self._state = state if state and data.strain.channels([state]) else None

    def usable(self) -> list[Span]:
        """Return the stretches that are fit for training, whole seconds, none touching the next.

        Raises:
            InputError: there are none.
        """
        merged = self.usable_in(self._data.span)
        if not merged:
            asked = f" in {self._data.span}" if self._data.span else ""
            raise InputError(
                f"no analysis-ready data{asked} with all {len(self.witnesses)} witnesses",
                channels=(self.strain,),
            )
        return merged

    def usable_in(self, limit: Span | None) -> list[Span]:
        """Return the same of a span, or of everything; none where there are none."""
        merged: list[Span] = []
        for piece in self._pieces(limit):
            for span in self._fit(piece):
                if merged and merged[-1].end == span.start:
                    merged[-1] = Span(merged[-1].start, span.end)
                else:
                    merged.append(span)
        return merged

    def read(self, span: Span) -> Block | None:
        """Return the data over a span of whole seconds, or None where it is not all fit."""
        wanted = [self.strain] if self._state is None else [self.strain, self._state]
        held = self._data.strain.read(wanted, span)
        strain, state = held[self.strain], held.get(self._state or "")
        if not (_finite(strain) and (state is None or _ready(state))):
            return None
        witnesses = self._data.witnesses.read(self.witnesses, span)
        if not all(_finite(series) for series in witnesses.values()):
            return None
        return Block(span, strain, witnesses, state)

    def _pieces(self, limit: Span | None) -> Iterator[Span]:
        """Yield the stretches that the sources say they have, in pieces."""
        shared = _whole_seconds(self._data.strain.spans(self.strain), limit)
        for witness in self.witnesses:
            spans = self._data.witnesses.spans(witness)
            shared = [both for one in shared for two in spans if (both := one.overlap(two))]
        for span in _whole_seconds(shared, None):
            for start in range(span.start, span.end, PIECE * NS):
                yield Span(start, min(start + PIECE * NS, span.end))

    def _fit(self, span: Span) -> Iterator[Span]:
        """Yield the parts of a span that are fit, by halving it."""
        if self.read(span) is not None:
            yield span
        elif span.duration > NS:
            middle = span.start + span.duration // NS // 2 * NS
            yield from self._fit(Span(span.start, middle))
            yield from self._fit(Span(middle, span.end))


def split(spans: Sequence[Span], fraction: float) -> tuple[list[Span], list[Span]]:
    """Return what comes first, for training, and the last `fraction` of it all, for validation.

    Args:
        spans: whole seconds, in order.
        fraction: of their total duration, rounded to a whole second.
    """
    seconds = sum(span.duration for span in spans) // NS
    left = (seconds - round(fraction * seconds)) * NS
    training: list[Span] = []
    validation: list[Span] = []
    for span in spans:
        cut = min(max(left, 0), span.duration) + span.start
        if cut > span.start:
            training.append(Span(span.start, cut))
        if cut < span.end:
            validation.append(Span(cut, span.end))
        left -= span.duration
    return training, validation


def _whole_seconds(spans: Sequence[Span], limit: Span | None) -> list[Span]:
    """Return the whole GPS seconds in `spans`, within `limit` where there is one."""
    inside = []
    for span in spans:
        part = span if limit is None else span.overlap(limit)
        if part is not None:
            start, end = -(-part.start // NS) * NS, part.end // NS * NS
            if start < end:
                inside.append(Span(start, end))
    return inside


def _finite(channel: Series | Gap) -> bool:
    return isinstance(channel, Series) and bool(np.isfinite(channel.samples).all())


def _ready(state: Series | Gap) -> bool:
    """Return whether the state vector says analysis-ready at every sample."""
    if not isinstance(state, Series) or not np.isfinite(state.samples).all():
        return False
    bits = np.asarray(state.samples).astype(np.int64)
    return bool(((bits & READY) == READY).all())


def _absent(absent: Sequence[str], there: Mapping[str, int]) -> InputError:
    return InputError(f"the data has no channel {listed(absent, there)}", channels=absent)
