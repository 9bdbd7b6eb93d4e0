"""Which shards of a plan are finished: their frames exist, or the strain holds nothing to clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deepclean.cluster.plan import ShardPlan, finished
from deepclean.config import Config
from deepclean.core.output.segments import difference, intersection
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, output_errors
from deepclean.io import gwf
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.system.atomic import publish

RETURNED = "returned"
"""Directory in the plan for the frames that shards transfer back; each shard has its own."""


@dataclass(frozen=True, slots=True)
class UnfinishedShard:
    """Time without frames.

    Args:
        number: of the shard; None for time that had frames when the plan was written.
        span: the whole shard, or the time without frames.
        missing: nanoseconds without frames.
    """

    number: int | None
    span: Span
    missing: int


def unfinished(plan: ShardPlan, config: Config, source: HistorySource) -> Iterator[UnfinishedShard]:
    """Yield what is not finished, in order of time.

    A second without a frame is finished if its strain cannot be read, as in any replay: then there
    is nothing to clean. Only seconds without a frame are read.

    Raises:
        OutputError: the output cannot be listed.
    """
    left = difference(plan.wanted_spans, finished(plan.request.output, config))
    for number, shard in plan.numbered.items():
        missing = intersection([shard], left)
        if _readable(missing, source):
            yield UnfinishedShard(number, shard, sum(part.duration for part in missing))
    for part in difference(left, plan.numbered.values()):
        if _readable([part], source):
            yield UnfinishedShard(None, part, part.duration)


def _readable(missing: Sequence[Span], source: HistorySource) -> bool:
    """Return whether any second of these spans has strain."""
    seconds = (Span(s, s + NS) for part in missing for s in range(part.start, part.end, NS))
    return any(source.has_strain(second) for second in seconds)


def gather(plan: ShardPlan, config: Config, directory: Path) -> int:
    """Move the frames that shards transferred back into the output; return their number.

    Each frame appears there complete. A damaged frame is left, and its shard stays unfinished.

    Raises:
        OutputError: the output cannot be written.
    """
    output, moved = plan.request.output, 0
    for path in sorted((directory / RETURNED).glob("*/*.gwf")):
        name = FrameName.parse(path.name)
        if name is None or name.description != config.output.description:
            continue
        with suppress(InputError), output_errors(path, "cannot be moved"):
            gwf.read(path, [], checksum=True)
            output.mkdir(parents=True, exist_ok=True)
            publish(output / path.name, path.read_bytes(), fsync=config.output.fsync)
            path.unlink()
            moved += 1
    return moved
