"""The seconds that a retraining trains on, and the held-out seconds that it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deepclean.core.output.segments import total_seconds, union
from deepclean.core.time import NS, Span
from deepclean.train.data import split

CHUNK = 512 * NS
"""Nanoseconds that are searched at a time."""


def newest(
    usable: Callable[[Span], list[Span]], within: Span, wanted: int, chunk: int = CHUNK
) -> list[Span]:
    """Return the newest usable stretches, in order of time, with any gaps between them.

    Args:
        usable: gives the usable stretches of a span, whole seconds, in order.
        within: the span that is searched, from its end backwards.
        wanted: seconds of data; fewer are returned if there are no more.
        chunk: nanoseconds that are searched at a time.
    """
    taken: list[Span] = []
    stop = within.end
    while stop > within.start and total_seconds(taken) < wanted:
        start = max(within.start, stop - chunk)
        taken = union(usable(Span(start, stop)), taken)
        stop = start
    return _last(taken, wanted)


def divide(
    spans: Sequence[Span], held_out: int, history: int, lookahead: int
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Return the spans to train on, and the newest spans that a model can be judged on.

    A model can be judged on a second if all data that the engine reads for it exist. Near a gap the
    verdict would depend on the gap. The data that the engine reads for the first held-out second,
    and as much again before them, are not trained on.

    Args:
        spans: whole seconds, in order.
        held_out: number of seconds to hold out.
        history: nanoseconds that the engine reads before a cleaned span.
        lookahead: nanoseconds that the engine reads after a cleaned span.

    Returns:
        Both lists, in order; nothing is held out if there are too few data.
    """
    before, after = -(-history // NS) * NS, -(-lookahead // NS) * NS
    whole = [Span(s.start + before, s.end - after) for s in spans if s.duration > before + after]
    if total_seconds(whole) < held_out:
        return tuple(spans), ()
    kept = _last(whole, held_out)
    latest = kept[0].start - before - after
    training = [Span(s.start, min(s.end, latest)) for s in spans if s.start < latest]
    return tuple(training), tuple(kept)


def _last(spans: Sequence[Span], wanted: int) -> list[Span]:
    """Return the last `wanted` seconds of spans, or all of them if there are fewer."""
    there = total_seconds(spans)
    return list(spans) if there <= wanted else split(spans, wanted / there)[1]
