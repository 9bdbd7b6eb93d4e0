"""A span in shards, each cleaned with the history that it needs, in one process or several.

A shard lies between multiples of 512 s from GPS 0 and its result depends on nothing else, so the
number of processes changes no bit of a report.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepclean.config import Config
from deepclean.core.block import Float64
from deepclean.core.engine.engine import Engine
from deepclean.core.engine.frames import Assembler
from deepclean.core.frame import CleanedFrame, InputFrame
from deepclean.core.time import NS, Span
from deepclean.errors import ModelError
from deepclean.factory import make_engine
from deepclean.io.source import HistorySource
from deepclean.models.load import Model
from deepclean.models.loading import load_models
from deepclean.system.processes import Failed, Job, Result, Tell, outcomes
from deepclean.validate.cells import WIDTH
from deepclean.validate.measure import LEAD, Bands, Meter
from deepclean.validate.shard_result import Sampling, ShardResult

SHARD = 512 * NS
"""Longest stretch of one task; the gate's history is an eighth of it."""

_LOWEST = 10.0
"""Hz from which the range is integrated."""

OpenSource = Callable[[], HistorySource]


@dataclass(frozen=True, slots=True)
class ValidationRun:
    """A configuration to be validated, and where its data is.

    Args:
        name: in the report.
        config: resolved.
        open_source: opens the data in whatever process; can be pickled.
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
            change: what is done to each second before it is cleaned.

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
    """Return the shards over the time that is asked for: what lies between two is not read."""
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
        counting: the time that is asked for.
        sampling: how much is kept.
    """
    engine = opened.engine()
    bands = Bands(engine, opened.config.gate.guard)
    witnesses = {coupling.name: coupling.witnesses for coupling in engine.versions.production}
    meter = Meter(shard, bands, witnesses, sampling, sensemon)
    for frame in opened.cleaned(Span(shard.start - LEAD, shard.end)):
        (block,) = frame.blocks
        meter.push(block, any(span.covers(block.span) for span in counting))
    part = meter.finish()
    part.unread.update(map(str, opened.source.faults))
    return part


def sensemon(power: Float64) -> float:
    """Return the range in Mpc for binary neutron stars, at a power density in steps of half a Hz.

    gwpy's `sensemon_range`: signal-to-noise ratio 8, averaged over sky and orientation
    (LIGO-T030276).
    """
    from gwpy.astro import sensemon_range
    from gwpy.frequencyseries import FrequencySeries

    first = int(_LOWEST / WIDTH)
    if len(power) <= first + 1 or not power[first:].all():
        return float(np.nan)
    series = FrequencySeries(power, f0=0, df=WIDTH, unit="1/Hz")
    return float(sensemon_range(series, fmin=_LOWEST).value)


_opened: dict[int, OpenRun] = {}
_runs: Sequence[ValidationRun] = ()


def in_processes(
    runs: Sequence[ValidationRun],
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    processes: int,
) -> Iterator[Result]:
    """Yield the results of jobs in their order.

    Args:
        runs: what `opened` gives to the work.
        work: a function of a module; it finds its run by `opened(number)`.
        jobs: its arguments, to be pickled.
        processes: how many work at a time; 1: this one.

    Raises:
        DeepCleanError: the first that a job raised.
    """
    if processes == 1 or len(jobs) == 1:
        _begin(runs)
        try:
            yield from map(work, jobs)
        finally:
            _begin(())
        return
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    held: dict[int, Result] = {}
    wanted = 0
    setup = partial(_serve, tuple(runs), work)
    with closing(outcomes(setup, jobs, processes)) as ended:
        for number, outcome in ended:
            if isinstance(outcome, Failed):
                raise outcome.error
            held[number] = outcome
            while wanted in held:
                yield held.pop(wanted)
                wanted += 1


def opened(number: int) -> OpenRun:
    """Return a run in a process that works, opened once."""
    if number not in _opened:
        _opened[number] = OpenRun(_runs[number])
    return _opened[number]


def _serve(
    runs: Sequence[ValidationRun], work: Callable[[Job], Result]
) -> Callable[[Job, Tell], Result]:
    """Set a process of its own up; return what does a job there."""
    _begin(runs)
    return lambda job, tell: work(job)


def _begin(runs: Sequence[ValidationRun]) -> None:
    """Set a process up."""
    global _runs  # noqa: PLW0603  (what a pool's initializer leaves for its work)
    import torch

    torch.set_num_threads(1)
    _runs = runs
    _opened.clear()
