"""`deepclean replay`: clean history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.history import cluster, submission
from deepclean.cli.history.cluster import ReplayInput, SubmitRequest, submit_replay
from deepclean.cli.terminal import times
from deepclean.cli.terminal.progress import CommandProgress, progress
from deepclean.cli.terminal.resume import interruptible, same_command
from deepclean.config import Config
from deepclean.core.reasons import CLEANED
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, ExitStatus, InputError, OutputError, output_errors
from deepclean.io.t050017 import FrameName
from deepclean.remote.address import address_of
from deepclean.remote.output import RemoteFrames
from deepclean.system import lock, malloc, processes
from deepclean.system.gc import uncollected

if TYPE_CHECKING:
    from deepclean.models.model import Model
    from deepclean.run.parallel import ParallelReplay
    from deepclean.run.replay import ReplayResult

_BUSY = "writes here already; choose another directory (--output)"

LONGEST_FILE = 4096
"""Longest output file in seconds: the length of the files of strain that are published. A file of
two products at 16384 Hz is then 1 GB, and takes several times that in memory while it is made."""


def replay(
    config: options.ConfigOption,
    start: times.StartOption,
    end: times.EndOption,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the cleaned frames, also at an address such as s3://bucket/place; "
            "default: the configured output."
        ),
    ] = None,
    duration: Annotated[
        int,
        typer.Option(
            min=1,
            max=LONGEST_FILE,
            help="Seconds per output file. Files begin at multiples of it from GPS 0. All of a "
            "file is held in memory until it is written: some MB a second.",
        ),
    ] = 1,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: options.FetchOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of processes, each with the threads and the memory of one run; with "
            "--scheduler, number of shards at a time. It does not change the result. Default: 1; "
            "with --scheduler, as many as the scheduler runs.",
        ),
    ] = None,
    models_of: Annotated[
        Path | None,
        typer.Option(
            "--models-of",
            metavar="RECORD",
            help="Use the models of an earlier run, each from the time at which that run used it, "
            "and what operators set in it. "
            "RECORD is the record of the run (.<description>.models.jsonl beside its frames). "
            "Trials are repeated; the store is not changed.",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Clean also what is finished, and replace the frames that are there.",
        ),
    ] = False,
    override: options.SetOption = None,
    scheduler: cluster.SchedulerOption = None,
    plan: cluster.PlanOption = None,
    plan_only: submission.PlanOnlyOption = False,
    shard: cluster.ShardOption = None,
    segments: cluster.SegmentsOption = None,
    flag: cluster.FlagOption = None,
    retries: submission.RetriesOption = 3,
    submit: submission.SubmitOption = None,
    pinned: cluster.PinnedOption = None,
) -> None:
    """Clean a span of history. Finished frames are skipped, so a repeated call resumes.

    Finished frames that were made with another configuration or another model are refused; with
    --overwrite they are replaced. Nothing is deleted from the output, whatever retention is
    configured. A directory in which a daemon or another replay writes is refused.

    With --jobs, a part that cannot be cleaned is named, and the other parts are cleaned all the
    same. With --scheduler, the span is cut into shards for HTCondor or Slurm; `deepclean shards`
    lists the unfinished ones.

    Exit status 3: there is no strain in the span.
    """
    settings = options.prepare(config, override)
    directory = output or settings.output.directory
    wanted = ReplayInput(
        settings, times.whole_span(start, end), directory, duration, strain, witnesses, fetch
    )
    _refuse_together(scheduler, jobs, models_of, pinned, overwrite)
    description = settings.output.description
    if not address_of(directory) and (writer := lock.holder(lock.path_in(directory, description))):
        raise OutputError(f"{writer} {_BUSY}", path=directory)
    if scheduler is not None:
        options.limit_threads(settings)
        scheduled = submission.Scheduled(
            scheduler, jobs, plan, plan_only, retries, tuple(submit or ())
        )
        submit_replay(wanted, SubmitRequest(scheduled, shard, segments, flag))
        return
    if plan or plan_only or shard or segments or flag or submit:
        raise ConfigError(
            "--plan, --plan-only, --shard, --segments, --flag and --submit go with --scheduler"
        )
    again = "begins anew" if overwrite else "goes on where this one stopped"
    with interruptible(lambda: f"the same command {again}:\n  {same_command(wanted.span)}"):
        done = _send(wanted, partial(_clean, jobs or 1, models_of, pinned, overwrite))
    for unread in done.faults:
        typer.echo(f"deepclean: {unread}", err=True)
    options.say(summary(done.replayed, directory))
    print(times.said(wanted.span))
    statuses = [options.print_fault(why, f"not all done: {part}: ") for part, why in done.failed]
    if not statuses and done.replayed.gaps * NS == wanted.span.duration:
        options.print_fault(_nothing_found(wanted))
        statuses = [ExitStatus.VERDICT]
    if statuses:
        raise typer.Exit(max(statuses))


def summary(done: ReplayResult, directory: Path) -> str:
    """Return what a replay did, in one line: how much is cleaned, and why the rest is not."""
    raw = {reason: n for reason, n in sorted(done.outcomes.items()) if reason != CLEANED and n}
    listed = ", ".join(f"{number} {reason}" for reason, number in raw.items())
    left = f", {sum(raw.values())} s not ({listed})" if raw else ""
    where = address_of(directory) or directory
    return (
        f"{done.written} frames written to {where}: {done.outcomes[CLEANED]} s cleaned{left}; "
        f"{done.skipped // NS} s were there, {done.gaps} s without strain"
    )


def _nothing_found(wanted: ReplayInput) -> InputError:
    """Return the fault of a span without strain, which says where there is some."""
    channel = wanted.config.strain.channel
    there = wanted.open_source().strain.spans(channel)
    ends = f"files of it cover {Span(there[0].start, there[-1].end)}" if there else "no file has it"
    return InputError(f"no strain in {wanted.span}: of {channel} {ends}", channels=[channel])


@contextmanager
def _output_lock(wanted: ReplayInput, *, shared: bool) -> Iterator[None]:
    """Hold the lock on the output, unless the shards of a plan share the output."""
    if shared:
        yield
        return
    with output_errors(wanted.output, "the output directory cannot be used"):
        wanted.output.mkdir(parents=True, exist_ok=True)
    with lock.locked(lock.path_in(wanted.output, wanted.config.output.description), _BUSY):
        yield


def _send(
    wanted: ReplayInput,
    clean: Callable[[ReplayInput, RemoteFrames | None], ParallelReplay],
) -> ParallelReplay:
    """Clean into the output directory; where that is an address, through a spool."""
    address = address_of(wanted.output)
    if address is None:
        return clean(wanted, None)
    with RemoteFrames(address, wanted.config.output.description, wanted.span) as frames:
        return clean(replace(wanted, output=frames.directory), frames)


def _clean(
    jobs: int,
    models_of: Path | None,
    pinned: Path | None,
    overwrite: bool,
    wanted: ReplayInput,
    remote: RemoteFrames | None,
) -> ParallelReplay:
    """Clean the span with the models in force, or with those that an option names."""
    wanted.open_source().require()  # before anything is made, and before libraries are imported
    if jobs > 1:
        processes.prepare("deepclean.worker")
    with uncollected():
        from deepclean.cluster.pins import load_pinned
        from deepclean.factory import make_engine
        from deepclean.models.loading import load_models
        from deepclean.rollout.recorded import RunModels
        from deepclean.run import parallel
        from deepclean.run import replay as serial
        from deepclean.run.cleaner import sink_of

    span, directory = wanted.span, wanted.output
    options.limit_threads(wanted.config)
    recorded = None
    if models_of is not None:
        recorded = RunModels(wanted.config, models_of, directory, span)
        loaded = recorded.loaded
    elif pinned is not None:
        loaded = load_pinned(wanted.config, pinned)
    else:
        loaded = load_models(wanted.config)
    config = wanted.decided(loaded)
    elsewhere = _elsewhere(remote, config, loaded, overwrite, models_of is not None)
    frames = serial.ReplayOutput(wanted.duration * NS, overwrite, elsewhere)
    shared = pinned is not None
    with _output_lock(wanted, shared=shared), _seconds(span) as show:
        count = _count(show)
        if jobs > 1:
            return parallel.replay(
                *(config, loaded, wanted.open_source, directory, span, jobs),
                output=frames,
                progress=count,
            )
        malloc.retain()
        source = wanted.open_source()
        done = serial.replay(
            config,
            lambda: make_engine(config, loaded),
            source,
            # A named directory: nothing in it is deleted. Temporaries may be other shards'.
            sink_of(config, loaded, directory, sweeps=pinned is None),
            span,
            output=frames,
            progress=count,
            updates=None if recorded is None else recorded.updates,
        )
        return parallel.ParallelReplay(done, [str(each) for each in source.faults], [])


def _elsewhere(
    remote: RemoteFrames | None,
    config: Config,
    loaded: Mapping[str, Model],
    overwrite: bool,
    recorded: bool,
) -> tuple[FrameName, ...]:
    """Return the frames that are finished at the output's address, made as these will be.

    Raises:
        InputError: they were made otherwise.
    """
    if remote is None:
        return ()
    from deepclean.run.cleaner import made_from

    record = made_from(config, loaded)
    if overwrite:
        remote.note(record)
    else:
        names = {"deepclean"} | {key for key in record if recorded and key.startswith("model ")}
        remote.require_same(record, names)
    return tuple(remote.finished())


def _refuse_together(
    scheduler: str | None,
    jobs: int | None,
    models_of: Path | None,
    pinned: Path | None,
    overwrite: bool,
) -> None:
    """Raise ConfigError if options exclude one another."""
    if jobs is not None and jobs > 1 and models_of is not None:
        raise ConfigError(
            f"--models-of with --jobs {jobs}: trials run in one process, because each decision on "
            "a model depends on all data before it; use --jobs 1"
        )
    if overwrite and scheduler is not None:
        raise ConfigError("--overwrite with --scheduler: choose an empty directory (--output)")
    if scheduler is not None and models_of is not None:
        raise ConfigError("--models-of with --scheduler: trials run in one process")
    if pinned is not None and (scheduler is not None or models_of is not None or jobs):
        raise ConfigError("--pinned is for one shard: without --scheduler, --models-of or --jobs")


def _seconds(span: Span) -> AbstractContextManager[CommandProgress]:
    return progress("replay", span.duration // NS, "s")


def _count(shown: CommandProgress) -> Callable[[int], None]:
    """Return what is told the nanoseconds of data that are done, first those that were there."""
    told = False

    def count(done: int) -> None:
        nonlocal told
        if told:
            shown.advance(done / NS)
        else:
            shown.begin(shown.what, shown.total, done / NS)
        told = True

    return count
