"""Reading a span with gaps: the parts in which a channel has samples, to the second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deepclean.core.block import Block, Float64, Gap, Series, concatenate
from deepclean.core.output.state_vector import not_ready
from deepclean.core.time import NS, Span
from deepclean.io.source import ChannelHistory


def readable(
    source: ChannelHistory, names: Sequence[str], span: Span
) -> dict[str, list[Series | Gap]]:
    """Return, by channel, the samples and the gaps of a span in order, to the second."""
    held = source.read(names, span)
    found: dict[str, list[Series | Gap]] = {name: [held[name]] for name in names}
    lacking = [name for name in names if isinstance(held[name], Gap)]
    if lacking and span.duration > NS:
        middle = span.start + span.duration // NS // 2 * NS
        first = readable(source, lacking, Span(span.start, middle))
        second = readable(source, lacking, Span(middle, span.end))
        found |= {name: first[name] + second[name] for name in lacking}
    return found


def joined(parts: Sequence[Series | Gap]) -> list[Series]:
    """Return the samples among some parts, with consecutive samples concatenated."""
    groups: list[list[Series]] = []
    for part in parts:
        if isinstance(part, Gap):
            continue
        last = groups[-1][-1] if groups else None
        if last is not None and (last.span.end, last.rate) == (part.span.start, part.rate):
            groups[-1].append(part)
        else:
            groups.append([part])
    return [concatenate(group) for group in groups]


def unusable(parts: Sequence[Series | Gap]) -> Iterator[tuple[int, str]]:
    """Yield the seconds (GPS nanoseconds) without finite strain, each with the reason."""
    for part in parts:
        for second in range(part.span.start, part.span.end, NS):
            if isinstance(part, Gap):
                yield second, part.reason
            elif not np.isfinite(part.cut(Span(second, second + NS)).samples).all():
                yield second, "not_finite"


def unready(parts: Sequence[Series | Gap]) -> Iterator[int]:
    """Yield the seconds (GPS nanoseconds) in which the strain is not ready for analysis."""
    for part in parts:
        for second in range(part.span.start, part.span.end, NS):
            span = Span(second, second + NS)
            state = Gap(span, part.reason) if isinstance(part, Gap) else part.cut(span)
            if not_ready(Block(span, Gap(span, "not_read"), state=state)):
                yield second


def whole(parts: Sequence[Series], span: Span) -> Float64 | None:
    """Return the samples over a span as float64, or None if any is missing or not finite."""
    covering = next((part for part in parts if part.span.covers(span)), None)
    if covering is None:
        return None
    samples = covering.cut(span).samples
    if np.iscomplexobj(samples):
        return None
    real = np.asarray(samples, dtype=np.float64)
    return real if np.isfinite(real).all() else None
