"""Records with stretches that are bad, cut at random: the bits must not depend on the cuts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from hypothesis import strategies as st

from deepclean.core.block import CleanedBlock
from deepclean.core.engine.engine import Engine
from deepclean.core.time import Span
from tests.helpers.builders import SIXTEENTH, Record, changed, clean, same_bits, strain_of

Bad = tuple[str, int, int]
"""What is bad, from what sixteenth of a second, and for how many."""

lengths = st.lists(
    st.one_of(st.integers(1, 16), st.integers(1, 64).map(lambda s: 16 * s)), min_size=2, max_size=8
)
"""Of blocks, in sixteenths of a second."""


def stretches(names: Collection[str], last: int) -> st.SearchStrategy[list[Bad]]:
    """Return stretches of some witnesses and the strain, from 8 s to `last` seconds."""
    channels = st.sampled_from([*names, "strain"])
    one = st.tuples(channels, st.integers(8 * 16, last * 16), st.integers(1, 40))
    return st.lists(one, min_size=1, max_size=4)


def assert_cuts_do_not_matter(
    engine: Callable[[], Engine],
    data: Record,
    bad: Sequence[Bad],
    cuts: Sequence[int],
    lost: bool,
    name: str = "60Hz",
) -> None:
    """Clean a record with bad stretches in pieces, and by the second: the bits are the same.

    Args:
        engine: makes one.
        data: the record.
        bad: of it; the samples are not finite there.
        cuts: lengths of the pieces, sixteenths of a second.
        lost: whether one of the pieces never comes.
        name: of the coupling.
    """
    for channel, start, count in bad:
        begin = data.span.start + start * SIXTEENTH
        span = Span(begin, min(begin + count * SIXTEENTH, data.span.end))
        if channel == "strain":
            data = Record(data.span, changed(data.strain, span, np.nan), data.witnesses)
        else:
            data = data.replaced(**{channel: changed(data.witnesses[channel], span, np.nan)})
    blocks = data.blocks(cuts)
    if lost and len(blocks) > 2:
        del blocks[len(blocks) // 2]  # and a stretch in which nothing comes
    spans = [block.span for block in blocks]
    kept = [one for one in data.blocks((1,)) if any(span.covers(one.span) for span in spans)]
    pieces, whole = (clean(engine(), given) for given in (blocks, kept))
    (gain, taken), (other_gain, other_taken) = (_subtracted(each, name) for each in (pieces, whole))
    assert same_bits(gain, other_gain)
    assert same_bits(taken, other_taken)
    assert same_bits(strain_of(pieces), strain_of(whole))


def _subtracted(blocks: Sequence[CleanedBlock], name: str) -> tuple[np.ndarray, np.ndarray]:
    gain, noise = (
        np.concatenate([getattr(block.estimates[name], part) for block in blocks])
        for part in ("gain", "noise")
    )
    return gain, gain * noise
