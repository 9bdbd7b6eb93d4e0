"""What of a plan is done: frames are there, or the strain has nothing that could be cleaned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepclean.cluster import shards as parts
from deepclean.cluster.plan import ShardPlan, finished
from deepclean.config import Config
from deepclean.core.block import Series
from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io import gwf
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.system.atomic import publish

RETURNED = "returned"
"""Where in the plan the frames of shards lie that were transferred back, a directory each."""


@dataclass(frozen=True, slots=True)
class UnfinishedShards:
    """What is not all done.

    Args:
        number: of the shard; None for what was there when the plan was made.
        span: of the shard, or of what is not there.
        missing: nanoseconds without a frame.
    """

    number: int | None
    span: Span
    missing: int


def unfinished(
    plan: ShardPlan, config: Config, source: HistorySource
) -> Iterator[UnfinishedShards]:
    """Yield what is not all done, in order of time.

    A second without a frame is done where its strain cannot be read, as in any replay: then there
    is nothing to be cleaned. Only seconds without a frame are read.

    Raises:
        OutputError: the output cannot be listed.
    """
    left = list(parts.without(plan.wanted_spans, finished(plan.asked.output, config)))
    for number, shard in plan.numbered.items():
        missing = list(parts.shared([shard], left))
        if _readable(missing, config, source):
            yield UnfinishedShards(number, shard, sum(part.duration for part in missing))
    shards = list(plan.numbered.values())
    for part in parts.without(left, shards):
        if _readable([part], config, source):
            yield UnfinishedShards(None, part, part.duration)


def _readable(missing: Sequence[Span], config: Config, source: HistorySource) -> bool:
    """Return whether a second of these spans has strain."""
    channel = config.strain.channel
    seconds = (Span(s, s + NS) for part in missing for s in range(part.start, part.end, NS))
    return any(isinstance(source.strain.read([channel], s)[channel], Series) for s in seconds)


def gather(plan: ShardPlan, config: Config, directory: Path) -> int:
    """Move the frames that shards sent back into the output; return how many.

    Each appears there whole. One that came back damaged stays away, and its shard unfinished.

    Raises:
        OutputError: the output cannot be written.
    """
    output, moved = plan.asked.output, 0
    for path in sorted((directory / RETURNED).glob("*/*.gwf")):
        name = FrameName.parse(path.name)
        if name is None or name.description != config.output.description or not _sound(path):
            continue
        try:
            output.mkdir(parents=True, exist_ok=True)
            publish(output / path.name, path.read_bytes(), fsync=config.output.fsync)
            path.unlink()
        except OSError as error:
            raise OutputError(
                f"cannot be moved: {error.strerror}", path=path, errno=error.errno
            ) from error
        moved += 1
    return moved


def _sound(path: Path) -> bool:
    try:
        gwf.read(path, [], checksum=True)
    except InputError:
        return False
    return True
