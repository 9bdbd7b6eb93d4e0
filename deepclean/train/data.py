"""The training data of a network: the site's own data, and the selection of fit seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepclean.core.block import Block, Gap, Series
from deepclean.core.output.segments import (
    difference,
    intersection,
    total_seconds,
    union,
    whole_seconds,
)
from deepclean.core.output.state_vector import READY
from deepclean.core.time import NS, Span
from deepclean.core.witness_checks import WitnessSettings
from deepclean.errors import InputError, listed
from deepclean.io.source import ChannelHistory, without_state
from deepclean.train.fitness import WitnessFitness

PIECE = 64
"""Number of seconds that are read at a time."""

MOSTLY = 0.5
"""Share of the time in which a witness fails, above which the others are used without it."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The sources of a training.

    Args:
        strain: source of the strain and its state vector.
        witnesses: source of the witnesses; often the same.
        span: the span that is used; None for all of it.
    """

    strain: ChannelHistory
    witnesses: ChannelHistory
    span: Span | None = None


class SiteData:
    """The data of one coupling, read in blocks of whole GPS seconds.

    A second is fit for training if every channel has finite samples, no witness is frozen or
    clipped, and the state vector, where the source has one, says analysis-ready throughout. A
    witness that fails in most of the time does not count: it is *unusable*, reads as zeros, and all
    others are used without it.

    Args:
        data: the sources.
        strain: full name of the strain channel.
        witnesses: full names, in the order of the network's input.
        state: full name of the state vector; None if there is none.
        checks: when a witness is frozen or clipped; None: never.
        without: witnesses that nothing depends on: they are not read and count as unusable.

    Attributes:
        rates: samples per second of the strain and the witnesses.
        unusable: by witness that is, the share of the time in which it fails; known from `usable`
            on.
        failed: by witness, the seconds of ready strain in which `complete_in` found it to fail.

    Raises:
        InputError: channels are missing; the message names all of them, with the nearest names. Or
            the state vector is: without it no time is ready, in training as in a run.
    """

    def __init__(
        self,
        data: TrainingData,
        strain: str,
        witnesses: Sequence[str],
        state: str | None,
        checks: WitnessSettings | None = None,
        without: Collection[str] = (),
    ) -> None:
        self._data, self._checks = data, checks or WitnessSettings(None, {})
        self._without = dict.fromkeys(without, 1.0)
        self.unusable: dict[str, float] = dict(self._without)
        self.failed: Counter[str] = Counter()
        self._read = [name for name in witnesses if name not in without]
        self.strain, self.witnesses = strain, tuple(witnesses)
        found = {**data.witnesses.channels(witnesses), **data.strain.channels([strain])}
        if strain in found:
            found = dict.fromkeys(without, found[strain]) | found
        absent = [name for name in (strain, *witnesses) if name not in found]
        if absent:
            raise _absent(absent, {**data.witnesses.channels(), **data.strain.channels()})
        self.rates = {name: found[name] for name in (strain, *witnesses)}
        if state and not data.strain.channels([state]):
            raise InputError(without_state(state), channels=[state])
        self._state = state

    def usable(self) -> list[Span]:
        """Return the stretches that are fit for training, whole seconds, none touching the next.

        Raises:
            InputError: there are none.
        """
        usable, unusable = self._fit_and_unusable(self._data.span)
        self.unusable = self._without | unusable
        if not usable:
            asked = f" in {self._data.span}" if self._data.span else ""
            raise InputError(
                f"no analysis-ready data{asked} with all {len(self.witnesses)} witnesses",
                channels=(self.strain,),
            )
        return usable

    def usable_in(self, limit: Span | None) -> list[Span]:
        """Return the fit stretches of a span, or of all the data; the list may be empty."""
        return self._fit_and_unusable(limit)[0]

    def complete_in(self, limit: Span) -> list[Span]:
        """Return the stretches of a span in which no witness that is read fails.

        They are a function of the data in the span alone.
        """
        strain, bad = self._ready_and_bad(limit)
        failed = {name: total_seconds(intersection(strain, spans)) for name, spans in bad.items()}
        self.failed.update({name: seconds for name, seconds in failed.items() if seconds})
        return difference(strain, union(*bad.values()))

    def _ready_and_bad(self, limit: Span | None) -> tuple[list[Span], dict[str, list[Span]]]:
        """Return where the strain is ready, and where in it each witness is bad."""
        checks = WitnessFitness(self._data.witnesses, self._checks)
        strain: list[Span] = []
        bad: dict[str, list[Span]] = {name: [] for name in self._read}
        for ready in (span for piece in self._pieces(limit) for span in self._ready_in(piece)):
            strain.append(ready)
            for name, spans in checks.bad(self._read, ready).items():
                bad[name] += spans
        return strain, bad

    def _fit_and_unusable(self, limit: Span | None) -> tuple[list[Span], dict[str, float]]:
        """Return the fit stretches, and the witnesses that fail in most of the time."""
        strain, bad = self._ready_and_bad(limit)
        # Where no witness is there, none is at fault.
        there = difference(strain, intersection(*bad.values()))
        seconds = total_seconds(there)
        failing = {name: total_seconds(intersection(there, spans)) for name, spans in bad.items()}
        unusable = {
            name: failed / seconds for name, failed in failing.items() if failed > MOSTLY * seconds
        }
        counted = [spans for name, spans in bad.items() if name not in unusable]
        return difference(there, union(*counted)), unusable

    def read(self, span: Span) -> Block | None:
        """Return the data over a span of whole seconds, or None if any second is not fit."""
        wanted = [self.strain] if self._state is None else [self.strain, self._state]
        held = self._data.strain.read(wanted, span)
        strain, state = held[self.strain], held.get(self._state or "")
        if not (_finite(strain) and (state is None or _ready(state))):
            return None
        witnesses = self._data.witnesses.read(
            [name for name in self.witnesses if name not in self.unusable], span
        )
        if not all(_finite(series) for series in witnesses.values()):
            return None
        for name in self.unusable:
            nothing = np.zeros(span.samples(self.rates[name]), dtype=np.float32)
            witnesses[name] = Series(span, self.rates[name], nothing)
        return Block(span, strain, witnesses, state)

    def _pieces(self, limit: Span | None) -> Iterator[Span]:
        """Yield the time for which the source has files of the strain, in pieces."""
        held = [] if limit is None else [[limit]]
        for span in whole_seconds(intersection(self._data.strain.spans(self.strain), *held)):
            yield from pieces(span)

    def _ready_in(self, span: Span) -> Iterator[Span]:
        """Yield the parts of a span in which the strain is finite and ready, by bisection."""
        wanted = [self.strain] if self._state is None else [self.strain, self._state]
        held = self._data.strain.read(wanted, span)
        state = held.get(self._state or "")
        if _finite(held[self.strain]) and (state is None or _ready(state)):
            yield span
        elif span.duration > NS:
            middle = span.start + span.duration // NS // 2 * NS
            yield from self._ready_in(Span(span.start, middle))
            yield from self._ready_in(Span(middle, span.end))


def pieces(span: Span) -> Iterator[Span]:
    """Yield a span in pieces of at most `PIECE` seconds."""
    for start in range(span.start, span.end, PIECE * NS):
        yield Span(start, min(start + PIECE * NS, span.end))


def split(spans: Sequence[Span], fraction: float) -> tuple[list[Span], list[Span]]:
    """Return the first part of some spans, for training, and the last part, for validation.

    Args:
        spans: whole seconds, in order.
        fraction: share of the last part in the total duration, rounded to a whole second.
    """
    seconds = total_seconds(spans)
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


def _finite(channel: Series | Gap) -> bool:
    return isinstance(channel, Series) and bool(np.isfinite(channel.samples).all())


def _ready(state: Series | Gap) -> bool:
    """Return whether every sample of the state vector says analysis-ready."""
    if not isinstance(state, Series) or not np.isfinite(state.samples).all():
        return False
    bits = np.asarray(state.samples).astype(np.int64)
    return bool(((bits & READY) == READY).all())


def _absent(absent: Sequence[str], there: Mapping[str, int]) -> InputError:
    return InputError(
        f"the data has no channel {listed(absent, there)} (a trend of less than one sample per "
        "second is not read)",
        channels=absent,
    )
