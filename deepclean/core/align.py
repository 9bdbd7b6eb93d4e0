"""Pair strain with witnesses by their time stamps, never by the order in which they arrived.

Channels arrive in pieces of unequal length, from files that may overlap or leave holes. `fill` says
which samples a channel has over a span; `blocks` cuts the span into the blocks that the engine
takes, so that in each block a channel has all its samples or is a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from deepclean.core import reasons
from deepclean.core.block import Block, Gap, Series, concatenate
from deepclean.core.channels import STATE_RATE
from deepclean.core.time import NS, Span

Piece = Series | Gap
"""Some samples of a channel, or a stretch of time without them."""

Key = tuple[str, str]
"""The role of a channel in a block, and the name of a witness."""


def fill(pieces: Iterable[Piece], span: Span) -> list[Piece]:
    """Return pieces that fill a span in order of time.

    At each instant the samples come from the first piece that has them. Where none has, the reason
    is that of the first gap that was given there, or `missing`.

    >>> import numpy as np
    >>> late = Series(Span(NS, 3 * NS), 2, np.arange(4))
    >>> for piece in fill([Gap(Span(0, 2 * NS), "invalid"), late], Span(0, 4 * NS)):
    ...     print(piece.span, piece.samples if isinstance(piece, Series) else piece.reason)
    [0, 1) invalid
    [1, 3) [0 1 2 3]
    [3, 4) missing

    Raises:
        ValueError: samples are to be taken from an instant on at which none stands.
    """
    parts = [(piece, part) for piece in pieces if (part := piece.span.overlap(span)) is not None]
    first = next(((piece, part) for piece, part in parts if isinstance(piece, Series)), None)
    if first is not None and first[1] == span:
        return [_cut(first[0], span)]
    edges = sorted({span.start, span.end, *(e for _, p in parts for e in (p.start, p.end))})
    # No piece begins or ends between two neighbouring edges: it covers the cell or misses it. The
    # pieces of one file do not overlap, so only few are open over a cell.
    filled: list[Piece] = []
    waiting = sorted(enumerate(parts), key=lambda each: each[1][1].start, reverse=True)
    active: list[tuple[int, tuple[Piece, Span]]] = []
    for low, high in pairwise(edges):
        while waiting and waiting[-1][1][1].start <= low:
            active.append(waiting.pop())
        active = sorted(each for each in active if each[1][1].end > low)
        filled.append(_first([piece for _, (piece, _) in active], Span(low, high)))
    return joined(filled)


def whole(pieces: Sequence[Piece], span: Span) -> Piece:
    """Return the pieces that fill a span as one: samples at one rate throughout, or a gap.

    The gap has the reason of the first part without samples; `witness_rate` where the rate changes.
    """
    series = [piece for piece in pieces if isinstance(piece, Series)]
    if len(series) < len(pieces):
        return Gap(span, next(piece.reason for piece in pieces if isinstance(piece, Gap)))
    if len({each.rate for each in series}) > 1:
        return Gap(span, reasons.BAD_RATE)
    return concatenate(series)


def blocks(
    span: Span,
    strain: Sequence[Piece],
    witnesses: Mapping[str, Sequence[Piece]],
    state: Sequence[Piece] | None = None,
) -> list[Block]:
    """Cut a span into blocks, each of one second or of a part of one.

    A second is divided where a channel begins or ends within it, if every channel has a sample
    there, those of the output too. If one has none there, a channel that has only a part of the
    second has nothing of it.

    >>> import numpy as np
    >>> span = Span(0, 2 * NS)
    >>> mains = fill([Series(Span(NS // 2, 2 * NS), 4, np.zeros(6))], span)
    >>> for block in blocks(span, [Series(span, 64, np.zeros(128))], {"H1:MAINS": mains}):
    ...     print(block.span, type(block.witnesses["H1:MAINS"]).__name__)
    [0, 0.5) Gap
    [0.5, 1) Series
    [1, 2) Series

    Args:
        span: of the blocks.
        strain: pieces that fill the span (`fill`).
        witnesses: such pieces by channel.
        state: such pieces of the source's state vector; None where the site has none.

    Returns:
        The blocks in order; together they fill the span.
    """
    channels = {("witness", name): pieces for name, pieces in witnesses.items()}
    channels["strain", ""] = strain
    if state is not None:
        channels["state", ""] = state
    made = []
    seconds = {span.start, *range(span.start // NS * NS + NS, span.end, NS), span.end}
    cursors = dict.fromkeys(channels, 0)
    for low, high in pairwise(sorted(seconds)):
        second = Span(low, high)
        parts = {key: _within(pieces, cursors, key, second) for key, pieces in channels.items()}
        for cell, cut in _cells(parts, second):
            made.append(
                Block(
                    cell,
                    cut["strain", ""],
                    {name: cut["witness", name] for name in witnesses},
                    cut.get(("state", "")),
                )
            )
    return made


def _within(
    pieces: Sequence[Piece], cursors: dict[Key, int], key: Key, second: Span
) -> list[Piece]:
    """Return the pieces of a channel over a second; the seconds are asked for in order of time."""
    while pieces[cursors[key]].span.end <= second.start:
        cursors[key] += 1
    found: list[Piece] = []
    for piece in pieces[cursors[key] :]:
        shared = piece.span.overlap(second)
        if shared is None:
            break
        found.append(_cut(piece, shared))
    return found


def _cells(
    parts: Mapping[Key, list[Piece]], second: Span
) -> Iterable[tuple[Span, dict[Key, Piece]]]:
    """Yield the parts of a second that no channel's edge divides, with every channel over each."""
    if all(len(pieces) == 1 for pieces in parts.values()):
        yield second, {key: pieces[0] for key, pieces in parts.items()}
        return
    edges = sorted({edge for pieces in parts.values() for p in pieces for edge in _ends(p)})
    rates = {p.rate for pieces in parts.values() for p in pieces if isinstance(p, Series)}
    rates.add(STATE_RATE)
    if any(edge * rate % NS for edge in edges for rate in rates):
        yield second, {key: whole(pieces, second) for key, pieces in parts.items()}
        return
    for low, high in pairwise(edges):
        cell = Span(low, high)
        yield (
            cell,
            {
                key: next(_cut(p, cell) for p in pieces if p.span.covers(cell))
                for key, pieces in parts.items()
            },
        )


def _ends(piece: Piece) -> tuple[int, int]:
    return piece.span.start, piece.span.end


def _first(pieces: Sequence[Piece], cell: Span) -> Piece:
    """Return the samples of the first piece that has them, or the first gap; all cover the cell."""
    for piece in pieces:
        if isinstance(piece, Series):
            return _cut(piece, cell)
    return Gap(cell, pieces[0].reason if pieces and isinstance(pieces[0], Gap) else reasons.MISSING)


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Return pieces in order of time with those joined that continue one another.

    They continue one another at the same rate and dtype, or for the same reason.
    """
    groups: list[list[Piece]] = []
    for piece in pieces:
        before = groups[-1][-1] if groups else None
        if before and before.span.end == piece.span.start and _kind(before) == _kind(piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [_join(group) for group in groups]


def _kind(piece: Piece) -> tuple[int | str, object]:
    if isinstance(piece, Series):
        return piece.rate, piece.samples.dtype
    return piece.reason, None


def _join(group: Sequence[Piece]) -> Piece:
    if isinstance(group[0], Gap):
        return Gap(Span(group[0].span.start, group[-1].span.end), group[0].reason)
    return concatenate([piece for piece in group if isinstance(piece, Series)])


def _cut(piece: Piece, span: Span) -> Piece:
    if piece.span == span:
        return piece
    return Gap(span, piece.reason) if isinstance(piece, Gap) else piece.cut(span)
