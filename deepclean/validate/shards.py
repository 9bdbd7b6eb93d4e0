"""A span in shards, each cleaned with the history that it needs, in one process or several.

A shard lies between multiples of 512 s from GPS 0, and its result depends on nothing else. The
number of processes therefore changes no bit of a report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from deepclean.config import Config
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.frames import Assembler
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import ModelError
from deepclean.factory import make_engine
from deepclean.io.source import HistorySource
from deepclean.models.loading import load_models
from deepclean.models.model import Model
from deepclean.system.processes import Failed, Job, Result, Tell, outcomes
from deepclean.validate.measure import LEAD, CouplingBins, Meter
from deepclean.validate.ranges import sensemon
from deepclean.validate.shard_result import Sampling, ShardResult
from deepclean.validate.whole import one_block

SHARD = 512 * NS
"""Longest shard. The gate's history, which is read before each shard, is an eighth of it."""

OpenSource = Callable[[], HistorySource]


@dataclass(frozen=True, slots=True)
class ValidationRun:
    """A configuration to be validated, and its data.

    Args:
        name: in the report.
        config: the resolved configuration.
        open_source: opens the data in any process; it can be pickled.
    """

    name: str
    config: Config
    open_source: OpenSource


class OpenRun:
    """A run whose data and models are open in this process."""

    def __init__(self, run: ValidationRun) -> None:
        self.run, self.config = run, run.config
        self.source = run.open_source()
        self.source.check()
        self.models: Mapping[str, Model] = load_models(run.config)

    def engine(self) -> Engine:
        """Return a fresh engine."""
        return make_engine(self.config, self.models)

    def cleaned(
        self, span: Span, change: Callable[[InputFrame], InputFrame] = lambda frame: frame
    ) -> Iterator[CleanedFrame]:
        """Yield the seconds of a span as a long run would give them.

        Args:
            span: whole seconds.
            change: applied to each second before it is cleaned.

        Raises:
            ModelError: a network failed.
        """
        engine = self.engine()
        assembler = Assembler(engine)
        for frame in self.source.frames(span, engine.needs(span)):
            done = assembler.push(change(frame))
            for version, error in engine.model_errors.items():
                raise ModelError(f"the network of {version} failed: {error}") from error
            yield from (cleaned for cleaned in done if cleaned.source.wanted)
        yield from (cleaned for cleaned in assembler.release() if cleaned.source.wanted)


def shards(counting: Sequence[Span]) -> list[Span]:
    """Return the shards of the requested time. Time between two shards is not read."""
    found: dict[int, Span] = {}
    for span in counting:
        for number in range(span.start // SHARD, -(-span.end // SHARD)):
            part = span.overlap(Span(number * SHARD, (number + 1) * SHARD))
            assert part is not None
            held = found.get(number)
            found[number] = part if held is None else Span(held.start, part.end)
    return [found[number] for number in sorted(found)]


def measure(
    opened: OpenRun, shard: Span, counting: Sequence[Span], sampling: Sampling
) -> ShardResult:
    """Clean a shard and measure it.

    Args:
        opened: the run.
        shard: whole seconds.
        counting: the requested time.
        sampling: how much is kept.
    """
    engine = opened.engine()
    bands = CouplingBins(engine, opened.config.gate.guard)
    witnesses = {coupling.name: coupling.witnesses for coupling in engine.versions.production}
    meter = Meter(shard, bands, witnesses, sampling, sensemon)
    for frame in opened.cleaned(Span(shard.start - LEAD, shard.end)):
        block = one_block(frame)
        meter.push(block, any(span.covers(block.span) for span in counting))
    result = meter.finish()
    result.unread.update(map(str, opened.source.faults))
    return result


_opened: dict[int, OpenRun] = {}
_runs: Sequence[ValidationRun] = ()


def in_processes(
    runs: Sequence[ValidationRun],
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    processes: int,
) -> Iterator[Result]:
    """Yield the results of jobs in the order of the jobs.

    Args:
        runs: the runs that `opened` opens.
        work: a function of a module; it gets its run from `opened(number)`.
        jobs: the arguments of the function; they are pickled.
        processes: number of processes; 1 means this process.

    Raises:
        DeepCleanError: the first one that a job raised.
    """
    if processes == 1 or len(jobs) == 1:
        _set_up(runs)
        try:
            yield from map(work, jobs)
        finally:
            _set_up(())
        return
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    held: dict[int, Result] = {}
    wanted = 0
    setup = partial(_worker, tuple(runs), work)
    with closing(outcomes(setup, jobs, processes)) as ended:
        for number, outcome in ended:
            if isinstance(outcome, Failed):
                raise outcome.error
            held[number] = outcome
            while wanted in held:
                yield held.pop(wanted)
                wanted += 1


def opened(number: int) -> OpenRun:
    """Return a run, opened once in each process."""
    if number not in _opened:
        _opened[number] = OpenRun(_runs[number])
    return _opened[number]


def _worker(
    runs: Sequence[ValidationRun], work: Callable[[Job], Result]
) -> Callable[[Job, Tell], Result]:
    """Set a worker process up; return the function that does a job in it."""
    _set_up(runs)
    return lambda job, tell: work(job)


def _set_up(runs: Sequence[ValidationRun]) -> None:
    global _runs  # noqa: PLW0603  (a worker's setup is separate from its jobs)
    import torch

    torch.set_num_threads(1)
    _runs = runs
    _opened.clear()
