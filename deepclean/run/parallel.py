"""Replay in several processes: what is still to be done in shards, each cleaned on its own.

A sample depends on the input near it and on nothing else, and a shard begins and ends where a
joined file does, so the files are the same, byte for byte, whatever the number of processes.
Nothing is deleted, as in any replay: retention goes by the newest file, and shards are not done
in the order of time.
"""

from __future__ import annotations

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
from deepclean.models.load import Model
from deepclean.models.loading import load_model, resolve_device
from deepclean.run.cleaner import FrameCleaner, sink_of
from deepclean.run.replay import Progress, ReplayResult, clean, unfinished
from deepclean.system import logs, malloc
from deepclean.system.processes import Failed, Tell, outcomes

LONGEST = 4096 * NS
"""Of a shard: the gate's history, which is read before each, is a fiftieth of it."""

WORTH = 4
"""A shard is at least so many times as long as the history that is read before it."""

_TOLD = 16 * NS
"""Of data, between two reports of a process: a second of it takes some 10 ms."""


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """What all shards of a replay share; can be pickled.

    Args:
        config: what to clean.
        open_source: opens the data in whatever process.
        models: directory and hash of the models in force, by coupling.
        directory: where the frames go.
        duration: nanoseconds of an output frame, whole seconds.
    """

    config: Config
    open_source: Callable[[], HistorySource]
    models: Mapping[str, tuple[Path, str]]
    directory: Path
    duration: int


@dataclass(frozen=True, slots=True)
class ParallelReplay:
    """What a replay in several processes did.

    Args:
        replayed: as of a replay in one; without what a failed shard did.
        faults: what could not be read of the input.
        failed: shards that are not all done, each with the reason, in order of time.
    """

    replayed: ReplayResult
    faults: Sequence[str]
    failed: Sequence[tuple[Span, DeepCleanError]]


@dataclass(frozen=True, slots=True)
class _ShardOutcome:
    """What became of one shard."""

    written: int
    gaps: int
    faults: Sequence[str]


def replay(
    config: Config,
    loaded: Mapping[str, Model],
    open_source: Callable[[], HistorySource],
    directory: Path,
    span: Span,
    processes: int,
    *,
    duration: int = NS,
    progress: Progress = lambda done: None,
) -> ParallelReplay:
    """Clean a span of history into frames, in several processes.

    Args:
        config: what to clean; each process has the number of threads that it says.
        loaded: the models; every process loads the same ones.
        open_source: opens the data in whatever process; can be pickled.
        directory: where the frames go; what it holds of the span is taken as finished.
        span: whole seconds.
        processes: how many work at a time.
        duration: nanoseconds of an output frame, whole seconds.
        progress: told how the work gets on.

    Raises:
        InputError, OutputError: as replay.replay, before a shard is begun. What a shard raises
            does not concern the others, and is told in the result.
    """
    open_source().check()
    # Sweeps before any process writes; none of them does it again.
    parts = unfinished(span, duration, sink_of(config, loaded, directory))
    history = make_engine(config, loaded).history
    shards = list(cut(parts, duration, processes, shortest=WORTH * history))
    models = {name: (model.path, model.hash) for name, model in loaded.items()}
    setup = partial(begin, ReplayTask(config, open_source, models, directory, duration))
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
    replayed = ReplayResult(sum(each.written for each in done), skipped, sum(e.gaps for e in done))
    faults = dict.fromkeys(fault for each in done for fault in each.faults)
    return ParallelReplay(replayed, list(faults), sorted(failed, key=lambda each: each[0].start))


def cut(
    parts: Sequence[Span], duration: int, processes: int, *, shortest: int, longest: int = LONGEST
) -> Iterable[Span]:
    """Yield the shards of what is to be done, in order of time.

    About equally long, and as many as all processes do in whole rounds, so that they end together.
    A last bit of a part goes with the shard before it.

    Args:
        parts: to be cut, in order of time.
        duration: shards within a part begin at its multiples from GPS 0, nanoseconds.
        processes: that share the work.
        shortest: nanoseconds; but for the ends of the parts.
        longest: nanoseconds; but for a duration that is longer.
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


def begin(task: ReplayTask) -> Callable[[Span, Tell], _ShardOutcome]:
    """Set this process up for a replay's shards; return what does one of them.

    Raises:
        ModelError: a model is not the one that the replay began with.
    """
    import torch

    config = task.config
    torch.set_num_threads(config.runtime.threads)
    malloc.keep()
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
            if untold >= _TOLD:
                tell(untold)
                untold = 0

        written = clean(cleaning, engine, source.frames(shard, engine.needs(shard)), progress)
        tell(untold)
        return _ShardOutcome(written, cleaning.ledger.gaps.total(), [str(f) for f in source.faults])

    return work
