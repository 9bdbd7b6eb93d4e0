"""`deepclean replay`: clean history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.cluster import (
    FlagOption,
    PinnedOption,
    PlanOnlyOption,
    PlanOption,
    RetriesOption,
    SchedulerOption,
    SegmentsOption,
    ShardOption,
    SubmitOption,
)
from deepclean.cli.cluster import replay as scale_out
from deepclean.cli.options import (
    ConfigOption,
    EndOption,
    FetchOption,
    SetOption,
    StartOption,
    StrainPaths,
    WitnessPaths,
    fault,
    history_source,
    limit_threads,
    prepare,
    whole_span,
)
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.system.gc import uncollected

if TYPE_CHECKING:
    from deepclean.config import Config
    from deepclean.io.source import HistorySource
    from deepclean.models.load import Model
    from deepclean.run.parallel import ParallelReplay


def replay(
    config: ConfigOption,
    start: StartOption,
    end: EndOption,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the cleaned frames; default: the configuration's."),
    ] = None,
    duration: Annotated[
        int, typer.Option(min=1, help="Seconds per output file, cut at its multiples from GPS 0.")
    ] = 1,
    strain: StrainPaths = None,
    witnesses: WitnessPaths = None,
    fetch: FetchOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes, each with the threads and the memory of one run; with --scheduler "
            "shards at a time. Their number changes nothing of the result. Default: 1; with "
            "--scheduler as many as it gives.",
            show_default=False,
        ),
    ] = None,
    models_of: Annotated[
        Path | None,
        typer.Option(
            "--models-of",
            metavar="RECORD",
            help="Use the models that a run had, each from where on it had it: the record of that "
            "run (.<description>.models.jsonl beside its frames). Trials are held again; the "
            "store is not changed.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
    scheduler: SchedulerOption = None,
    plan: PlanOption = None,
    plan_only: PlanOnlyOption = False,
    shard: ShardOption = None,
    segments: SegmentsOption = None,
    flag: FlagOption = None,
    retries: RetriesOption = 3,
    submit: SubmitOption = None,
    pinned: PinnedOption = None,
) -> None:
    """Clean a stretch of history; finished frames are skipped, so repeating resumes.

    Nothing is deleted from the output, whatever retention is configured. With --jobs, a part that
    cannot be cleaned is named, and the others are done all the same. With --scheduler, shards of
    it are handed to HTCondor or Slurm; `deepclean shards` says how far they are.
    """
    settings = prepare(config, override)
    span = whole_span(start, end)
    directory = output or settings.output.directory
    run = _Replay(settings, span, directory, duration, strain, witnesses, fetch)
    _refuse_together(scheduler, jobs, models_of, pinned)
    if scheduler is not None:
        limit_threads(settings)
        scale_out(
            run.decided(),  # once for all shards
            span,
            directory,
            duration,
            scheduler,
            strain=strain,
            witnesses=witnesses,
            fetch=fetch,
            jobs=jobs,
            place=plan,
            plan_only=plan_only,
            shard=shard,
            segments=segments,
            flag=flag,
            retries=retries,
            given=submit or [],
        )
        return
    if plan or plan_only or shard or segments or flag or submit:
        raise ConfigError(
            "--plan, --plan-only, --shard, --segments, --flag and --submit go with --scheduler"
        )
    bulk = run.clean(jobs or 1, models_of, pinned)
    for unread in bulk.faults:
        typer.echo(f"deepclean: {unread}", err=True)
    done = bulk.replayed
    print(
        f"{done.written} frames written to {directory}, {done.skipped // NS} s were there, "
        f"{done.gaps} s without strain"
    )
    statuses = [fault(error, of=f"not all done: {shard}: ") for shard, error in bulk.failed]
    if statuses:
        raise typer.Exit(max(statuses))


@dataclass(frozen=True, slots=True)
class _Replay:
    """What is to be replayed here."""

    settings: Config
    span: Span
    directory: Path
    duration: int
    strain: list[Path] | None
    witnesses: list[Path] | None
    fetch: bool

    def clean(self, jobs: int, models_of: Path | None, pinned: Path | None) -> ParallelReplay:
        """Clean it in so many processes, with the models that are in force or those named."""
        if jobs > 1:
            from deepclean.system.processes import prepare as prepare_workers

            prepare_workers("deepclean.worker")
        with uncollected():
            from deepclean.cluster.pins import load_pinned
            from deepclean.factory import make_engine
            from deepclean.models.loading import load_models
            from deepclean.rollout.recorded import RunModels
            from deepclean.run.cleaner import sink_of
            from deepclean.run.parallel import ParallelReplay
            from deepclean.run.parallel import replay as in_bulk
            from deepclean.run.replay import replay as clean
            from deepclean.system import malloc

        span, directory, nanoseconds = self.span, self.directory, self.duration * NS
        limit_threads(self.settings)
        past = None if models_of is None else RunModels(self.settings, models_of, directory, span)
        if past is not None:
            loaded = past.loaded
        elif pinned is not None:
            loaded = load_pinned(self.settings, pinned)
        else:
            loaded = load_models(self.settings)
        settings = self.decided(loaded)
        with _bar(span) as progress:
            if jobs > 1:
                return in_bulk(
                    settings,
                    loaded,
                    self.open_source,
                    directory,
                    span,
                    jobs,
                    duration=nanoseconds,
                    progress=progress,
                )
            malloc.keep()
            source = self.open_source()
            done = clean(
                settings,
                lambda: make_engine(settings, loaded),
                source,
                # Named, so that nothing is deleted; other shards' temporaries are theirs.
                sink_of(settings, loaded, directory, sweeps=pinned is None),
                span,
                duration=nanoseconds,
                progress=progress,
                updates=None if past is None else past.updates,
            )
            return ParallelReplay(done, [str(each) for each in source.faults], [])

    @property
    def open_source(self) -> Callable[[], HistorySource]:
        """Opens the data in whatever process."""
        given = (self.settings, self.span, self.strain, self.witnesses, self.fetch)
        return partial(history_source, *given)

    def decided(self, loaded: Mapping[str, Model] | None = None) -> Config:
        """Return the configuration with `wait: auto` decided, on the start of the span."""
        if self.settings.wait != "auto":
            return self.settings
        from deepclean.models.loading import load_models
        from deepclean.run.lookahead import decided

        models = load_models(self.settings) if loaded is None else loaded
        return decided(self.settings, models, self.open_source(), self.span)


def _refuse_together(
    scheduler: str | None, jobs: int | None, models_of: Path | None, pinned: Path | None
) -> None:
    """Raise ConfigError where options exclude one another."""
    if jobs is not None and jobs > 1 and models_of is not None:
        raise ConfigError(
            f"--models-of with --jobs {jobs}: trials are held in one process, for what is decided "
            "on a model rests on all that was before; --jobs 1, please"
        )
    if scheduler is not None and models_of is not None:
        raise ConfigError("--models-of with --scheduler: trials are held in one process")
    if pinned is not None and (scheduler is not None or models_of is not None or jobs):
        raise ConfigError("--pinned is for one shard: without --scheduler, --models-of or --jobs")


@contextmanager
def _bar(span: Span) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error; yield what moves it on by nanoseconds of data."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    said = TextColumn("{task.fields[done]} of {task.fields[all]} s")
    columns = (said, BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replay", total=span.duration, done=0, all=span.duration // NS)

        def advance(done: int) -> None:
            bar.advance(task, done)
            bar.update(task, done=int(bar.tasks[0].completed) // NS)

        yield advance
