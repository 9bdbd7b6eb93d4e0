"""Which seconds a retraining sees, and which it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deepclean.core.time import NS, Span
from deepclean.train.data import split

CHUNK = 512 * NS
"""Nanoseconds that are looked through at a time."""


def seconds(spans: Sequence[Span]) -> int:
    """Return how many whole seconds spans hold together."""
    return sum(span.duration for span in spans) // NS


def newest(usable: Callable[[Span], list[Span]], within: Span, wanted: int) -> list[Span]:
    """Return the newest usable stretches, in order of time; gaps between them do not matter.

    Args:
        usable: gives the usable stretches of a span, whole seconds, in order.
        within: where to look, from its end backwards.
        wanted: seconds of data; fewer are returned where there are no more.
    """
    taken: list[Span] = []
    stop = within.end
    while stop > within.start and seconds(taken) < wanted:
        start = max(within.start, stop - CHUNK)
        found = usable(Span(start, stop))
        if taken and found and found[-1].end == taken[0].start:
            found[-1] = Span(found[-1].start, taken.pop(0).end)
        taken = found + taken
        stop = start
    return _last(taken, wanted)


def divide(
    spans: Sequence[Span], held_out: int, history: int, lookahead: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return what is trained on, and the newest seconds that can be judged by, which are held out.

    A second is fit to be judged by where all that the engine reads for it is there: near a gap it
    would be the data that is judged, not the model. What it reads for the first of them, and what
    lies as far before that, is not trained on.

    Args:
        spans: whole seconds, in order.
        held_out: seconds.
        history: nanoseconds that the engine reads before what it cleans.
        lookahead: likewise, after it.

    Returns:
        Both, in order; nothing held out where so much is not there.
    """
    before, after = -(-history // NS) * NS, -(-lookahead // NS) * NS
    whole = [Span(s.start + before, s.end - after) for s in spans if s.duration > before + after]
    if seconds(whole) < held_out:
        return tuple(spans), ()
    kept = _last(whole, held_out)
    latest = kept[0].start - before - after
    training = [Span(s.start, min(s.end, latest)) for s in spans if s.start < latest]
    return tuple(training), tuple(kept)


def _last(spans: Sequence[Span], wanted: int) -> list[Span]:
    """Return the last so many seconds of spans, or all of them where there are no more."""
    there = seconds(spans)
    return list(spans) if there <= wanted else split(spans, wanted / there)[1]
