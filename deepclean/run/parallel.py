"""Replay in several processes: the unfinished time is cut into shards, each cleaned on its own.

A sample depends only on the input near it, and a shard begins and ends at the edges of output
files. The files are therefore the same, byte for byte, for any number of processes. Nothing is
deleted, as in any replay: retention goes by the newest file, and shards do not finish in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import DeepCleanError, ModelError
from deepclean.factory import make_engine
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_model, resolve_device
from deepclean.models.model import Model
from deepclean.run import configurations
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.replay import SECONDS, Progress, ReplayOutput, ReplayResult, clean, unfinished
from deepclean.system import logs, malloc
from deepclean.system.processes import Failed, Tell, outcomes

LONGEST = 4096 * NS
"""Longest shard. The gate's history, which is read before each shard, is a fiftieth of it."""

WORTH = 4
"""Shortest shard, in units of the history that is read before it."""

_REPORT = 16 * NS
"""Nanoseconds of data between two progress reports of a worker. A second takes some 10 ms."""


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """The common part of all shards of a replay. It can be pickled.

    Args:
        config: the configuration.
        open_source: opens the data in any process.
        models: directory and hash of the models in force, by coupling.
        directory: directory of the frames.
        duration: nanoseconds of an output frame, whole seconds.
    """

    config: Config
    open_source: Callable[[], HistorySource]
    models: Mapping[str, tuple[Path, str]]
    directory: Path
    duration: int


@dataclass(frozen=True, slots=True)
class ParallelReplay:
    """The result of a replay in several processes.

    Args:
        replayed: the result as of a replay in one process, without failed shards.
        faults: messages about input that could not be read.
        failed: the shards that failed, each with its fault, in order of time.
    """

    replayed: ReplayResult
    faults: Sequence[str]
    failed: Sequence[tuple[Span, DeepCleanError]]


@dataclass(frozen=True, slots=True)
class _ShardOutcome:
    """The result of one shard."""

    written: int
    gaps: int
    outcomes: Counter[str]
    faults: Sequence[str]


def replay(
    config: Config,
    loaded: Mapping[str, Model],
    open_source: Callable[[], HistorySource],
    directory: Path,
    span: Span,
    processes: int,
    *,
    output: ReplayOutput = SECONDS,
    progress: Progress = lambda done: None,
) -> ParallelReplay:
    """Clean a span of history into frames, in several processes.

    Args:
        config: the configuration; each process has the configured number of threads.
        loaded: the models; every process loads the same ones.
        open_source: opens the data in any process; it can be pickled.
        directory: directory of the frames; frames that it holds are finished.
        span: whole seconds.
        processes: number of processes.
        output: the frames that are wanted.
        progress: told the nanoseconds of finished data.

    Raises:
        InputError, OutputError: as `replay.replay`, before the first shard. A fault of a shard does
            not affect the others and is part of the result.
    """
    open_source().check()
    # This sink sweeps temporaries before any process writes. The workers' sinks do not.
    parts = unfinished(config, span, output, sink_of(config, loaded, directory))
    configurations.keep(config, directory)
    history = make_engine(config, loaded).history
    shards = list(cut(parts, output.duration, processes, shortest=WORTH * history))
    models = {name: (model.path, model.hash) for name, model in loaded.items()}
    setup = partial(set_up, ReplayTask(config, open_source, models, directory, output.duration))
    skipped = span.duration - sum(part.duration for part in parts)
    progress(skipped)
    done, failed = [], []
    with closing(outcomes(setup, shards, processes, progress)) as ended:
        for number, outcome in ended:
            if not isinstance(outcome, Failed):
                done.append(outcome)
            elif isinstance(outcome.error, DeepCleanError):
                failed.append((shards[number], outcome.error))
            else:
                raise outcome.error
    replayed = ReplayResult(
        sum(each.written for each in done),
        skipped,
        sum(each.gaps for each in done),
        sum((each.outcomes for each in done), Counter[str]()),
    )
    faults = dict.fromkeys(fault for each in done for fault in each.faults)
    return ParallelReplay(replayed, list(faults), sorted(failed, key=lambda each: each[0].start))


def cut(
    parts: Sequence[Span], duration: int, processes: int, *, shortest: int, longest: int = LONGEST
) -> Iterable[Span]:
    """Yield the shards of the unfinished time, in order of time.

    The shards are about equally long, and their number is a multiple of the processes, which then
    end together. A short rest of a part is joined to the shard before it.

    Args:
        parts: the unfinished time, in order.
        duration: nanoseconds; shards within a part begin at multiples of it from GPS 0.
        processes: number of processes.
        shortest: shortest shard in nanoseconds, except at the ends of the parts.
        longest: longest shard in nanoseconds, unless `duration` is longer.
    """
    total = sum(part.duration for part in parts)
    rounds = -(-total // (processes * longest))
    length = max(-(-total // max(rounds * processes, 1)), shortest)
    length = -(-length // duration) * duration
    for part in parts:
        start = part.start
        while start < part.end:
            end = start // duration * duration + length
            if part.end - end < length // 4:
                end = part.end
            yield Span(start, end)
            start = end


def set_up(task: ReplayTask) -> Callable[[Span, Tell], _ShardOutcome]:
    """Set this process up for the shards of a replay; return the function that cleans one shard.

    Raises:
        ModelError: a model is not the one that the replay began with.
    """
    import torch

    config = task.config
    torch.set_num_threads(config.runtime.threads)
    malloc.retain()
    logs.configure(config.log.level, config.log.format)
    place = resolve_device(config.runtime.device)
    loaded = {}
    for name, (path, known) in task.models.items():
        loaded[name] = load_model(config, name, path, place)
        if loaded[name].hash != known:
            raise ModelError("is another model than when this replay began", path=path)
    source = task.open_source()
    sink = sink_of(config, loaded, task.directory, sweeps=False)

    def work(shard: Span, tell: Tell) -> _ShardOutcome:
        engine = make_engine(config, loaded)
        cleaning = FrameCleaner(config, engine, sink, duration=task.duration, strict=True)
        untold = 0

        def progress(done: int) -> None:
            nonlocal untold
            untold += done
            if untold >= _REPORT:
                tell(untold)
                untold = 0

        written = clean(
            cleaning, engine, source.frames(shard, engine.needs(shard), skip=True), progress
        )
        tell(untold)
        ledger = cleaning.ledger
        faults = [str(fault) for fault in source.faults]
        return _ShardOutcome(written, ledger.gaps.total(), ledger.written, faults)

    return work
