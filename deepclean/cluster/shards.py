"""How the time that is to be cleaned is cut into shards: integer arithmetic on spans."""

from __future__ import annotations

from collections.abc import Sequence

from deepclean.core.output.segments import difference, union
from deepclean.core.time import Span
from deepclean.run import parallel


def bridged(parts: Sequence[Span], longest: int, unwanted: Sequence[Span]) -> list[Span]:
    """Return the parts joined across the gaps that hold no data and are short.

    A shard reads its history before it begins. Two parts whose gap is shorter than that history
    are cleaned faster in one shard, and the files are the same.

    Args:
        parts: what is to be cleaned.
        longest: the longest gap that is bridged, nanoseconds.
        unwanted: data that is not to be cleaned; no returned span holds any of it.
    """
    if not parts:
        return []
    gaps = difference([Span(parts[0].start, parts[-1].end)], parts)
    free = set(difference(gaps, unwanted))
    return union(parts, (gap for gap in gaps if gap.duration <= longest and gap in free))


def shards(
    parts: Sequence[Span],
    unwanted: Sequence[Span],
    *,
    history: int,
    duration: int,
    longest: int,
    together: int,
) -> list[Span]:
    """Return the shards of the parts that are to be cleaned, in order of time.

    Args:
        parts: what is to be cleaned, in order of time, without overlap.
        unwanted: data that is not to be cleaned.
        history: nanoseconds that an engine reads before a shard.
        duration: nanoseconds of a file; within a part, shards begin at multiples of it from GPS 0.
        longest: the longest shard in nanoseconds (see `parallel.cut`).
        together: how many shards run at a time; the number of shards is a multiple of it.
    """
    joined = bridged(parts, history, unwanted)
    shortest = parallel.WORTH * history
    return list(parallel.cut(joined, duration, together, shortest=shortest, longest=longest))
