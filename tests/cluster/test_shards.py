"""Which parts are cleaned in which shards: exact, over a month with gaps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepclean.cluster.plan import ReplayRequest, ShardLimits, finished, plan_shards
from deepclean.cluster.shards import bridged
from deepclean.core.output.segments import difference
from deepclean.core.time import NS, Span
from deepclean.errors import InputError
from deepclean.io.frame_channels import channels_of
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.run.parallel import WORTH
from tests.helpers import small_site as site
from tests.helpers.small_site import START

DAYS = 30
HISTORY = 82 * NS


def seconds(spans: Sequence[Span]) -> set[int]:
    """Return every whole second of some spans."""
    return {s for span in spans for s in range(span.start // NS, span.end // NS)}


@st.composite
def lists(draw: st.DrawFn) -> list[Span]:
    """Return spans in order of time, without overlap; some touch."""
    edges = draw(st.lists(st.integers(0, 60), unique=True, max_size=12).map(sorted))
    spans = [Span(a * NS, b * NS) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    cut = draw(st.integers(0, 60)) * NS
    return [
        piece
        for span in spans
        for piece in (
            [Span(span.start, cut), Span(cut, span.end)] if span.start < cut < span.end else [span]
        )
    ]


@given(lists(), lists(), st.integers(0, 10))
def test_bridges_hold_nothing_unwanted(wanted: list[Span], others: list[Span], most: int) -> None:
    unwanted = difference(others, wanted)
    joined = bridged(wanted, most * NS, unwanted)
    assert seconds(joined) >= seconds(wanted)
    assert not seconds(joined) & seconds(unwanted)
    between = difference(joined, wanted)
    assert all(gap.duration <= most * NS for gap in between)
    for one, following in pairwise(joined):
        gap = Span(one.end, following.start) if one.end < following.start else None
        assert gap is not None
        assert gap.duration > most * NS or seconds([gap]) & seconds(unwanted)


def touch(directory: Path, description: str, spans: Sequence[Span]) -> None:
    """Make empty files with the names of frames: an index, and nothing in it."""
    directory.mkdir(parents=True, exist_ok=True)
    for span in spans:
        name = f"H-{description}-{span.start // NS}-{span.duration // NS}.gwf"
        (directory / name).touch()


def month(generator: random.Random) -> list[Span]:
    """Return what the files of a month cover: lock stretches, and dropped frames in them."""
    found, start, end = [], START + 1, START + DAYS * 86400
    while start < end:
        length = generator.choice([1, 64, 200, 4096, 4096, 4096])
        found.append(Span.of_seconds(start, min(length, end - start)))
        gap = generator.choice([0] * 20 + [1, 1, 7, 81, 82, 83, 1000, 40_000])
        start += length + gap
    return found


@pytest.mark.parametrize(
    ("seed", "duration", "selected"), [(1, 1, True), (2, 64, False), (3, 4096, True)]
)
def test_a_month_with_gaps(tmp_path: Path, seed: int, duration: int, selected: bool) -> None:
    """Only names are there, but for the first second: planning reads nothing else."""
    generator = random.Random(seed)
    config = site.small_config(tmp_path)
    site.write_site(config, START, 1)
    files = month(generator)
    touch(config.input.strain_frames.directory, "H1_llhoft", files)
    output = tmp_path / "archive"
    touch(output, "H1_DEEPCLEAN", [f for f in files if generator.random() < 0.05])
    span = Span.of_seconds(START, DAYS * 86400)
    counting = None
    if selected:
        edges = sorted(generator.sample(range(START, START + DAYS * 86400), 130))
        counting = [
            Span(a * NS, b * NS) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b
        ]
    source = HistorySource(
        channels_of(config),
        History([config.input.strain_frames.directory], description="H1_llhoft"),
        History([config.input.witnesses[0].directory]),
    )
    asked = ReplayRequest(start=START, end=span.end // NS, duration=duration, output=output)
    plan = plan_shards(config, asked, source, counting, HISTORY, ShardLimits(20_000 * NS))

    there = seconds([Span.of_seconds(START, 1), *files])
    counted = there if counting is None else there & seconds(counting)
    done = seconds(finished(output, config))
    shards = list(plan.numbered.values())
    covered = seconds(shards)
    assert seconds(plan.wanted_spans) == counted
    assert covered & there - done == counted - done
    assert covered & there <= counted
    assert len(covered) == sum(shard.duration for shard in shards) // NS
    assert shards == sorted(shards)
    assert len(shards) > 50
    wanted = difference(plan.wanted_spans, finished(output, config))
    begins = {span.start for span in wanted}
    ends = {span.end for span in wanted}
    for shard in shards:
        assert shard.start in begins or shard.start % (duration * NS) == 0
        assert shard.end in ends or shard.end % (duration * NS) == 0
        assert shard.duration <= 1.25 * max(20_000 * NS, WORTH * HISTORY) + duration * NS
        assert shard.start in begins or shard.duration >= WORTH * HISTORY / 4
        # What a shard has beyond the data is shorter than the history that one more would read.
        holes = difference([shard], wanted)
        assert all(hole.duration <= HISTORY for hole in holes)


def test_span_without_strain_is_refused(tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    site.write_site(config, START, 2)
    history = History([config.input.strain_frames.directory])
    source = HistorySource(channels_of(config), history, history)
    asked = ReplayRequest(start=START + 100, end=START + 200, duration=1, output=tmp_path / "out")
    with pytest.raises(InputError, match="no strain in"):
        plan_shards(config, asked, source, None, 0, ShardLimits())
    asked = asked.model_copy(update={"start": START, "counting": "H1:GOOD:1"})
    with pytest.raises(InputError, match=r"that counts \(H1:GOOD:1\)"):
        plan_shards(config, asked, source, [Span.of_seconds(START + 50, 9)], 0, ShardLimits())
