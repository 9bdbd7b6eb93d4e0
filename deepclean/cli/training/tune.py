"""`deepclean tune`: search for the best configuration of a coupling's model."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.history import submission
from deepclean.cli.history.submission import Scheduled
from deepclean.cli.models import options as stored
from deepclean.cli.terminal import completion, times
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import interruptible, same_command
from deepclean.cli.training.train import training_data
from deepclean.cluster.jobs import JobArray
from deepclean.config import Config
from deepclean.core.time import NS
from deepclean.errors import ConfigError, ExitStatus, WorkerError
from deepclean.remote.address import absolute
from deepclean.system.commands import program, side_by_side
from deepclean.tune.space import SearchSpace

if TYPE_CHECKING:
    from deepclean.train.data import TrainingData
    from deepclean.tune.study import StudyDirectory, StudyRequest

_Timeout = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="Begin no trial after so many seconds."),
]


def tune(
    config: options.ConfigOption,
    coupling: Annotated[
        str,
        typer.Argument(help="Coupling to search for.", autocompletion=completion.couplings),
    ],
    start: times.StartOption,
    end: times.EndOption,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: options.FetchOption = False,
    study: Annotated[
        Path | None,
        typer.Option(help="Directory of the search; default: tune-<coupling>. It is continued."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials to have in the end; default: tune.trials.")
    ] = None,
    timeout: _Timeout = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes that run trials, each one at a time."),
    ] = None,
    override: options.SetOption = None,
    scheduler: submission.SchedulerOption = None,
    plan_only: submission.PlanOnlyOption = False,
    retries: submission.RetriesOption = 3,
    submit: submission.SubmitOption = None,
) -> None:
    """Search for the witnesses, bands and settings whose model leaves the least noise.

    Each trial trains a model and cleans held-out data with it; the section `tune` says what is
    searched. A repeated command goes on where the search was. Nothing enters production: the
    command that trains the best is printed.
    """
    settings = options.prepare(config, override)
    stored.directory(settings, coupling)  # raises if there is no such coupling
    scheduled = submission.scheduled(scheduler, jobs, None, plan_only, retries, submit)
    span = times.whole_span(start, end)
    options.limit_threads(settings)
    from deepclean.tune.study import StudyRequest, identity, library

    library()  # raises before anything is read
    request = StudyRequest(
        coupling=coupling,
        start=span.start // NS,
        end=span.end // NS,
        strain=tuple(map(absolute, strain or ())),
        witnesses=tuple(map(absolute, witnesses or ())),
        fetch=fetch,
        configuration=identity(settings),
        given=config,
    )
    place = (study or Path(f"tune-{coupling}")).absolute()
    directory = _study(place, request, settings)
    wanted = trials or settings.tune.trials
    directory.want(wanted)
    if scheduled is not None:
        _submit(directory, scheduled, wanted, timeout)
        return
    goes_on = "the finished trials stay; the same command goes on:"
    with interruptible(lambda: f"{goes_on}\n  {same_command(span)}"):
        if (jobs or 1) == 1:
            _work(directory, 0, wanted, timeout)
        else:
            _work_side_by_side(directory, jobs or 1, wanted, timeout)
    raise typer.Exit(print_study(place))


def tune_worker(
    study: Annotated[Path, typer.Argument(help="Directory of a search.")],
    worker: Annotated[int, typer.Argument(help="Number of this process.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials to have in the end.")],
    timeout: _Timeout = None,
) -> None:
    """Run trials of a search; `deepclean tune` starts this command, here or on a cluster."""
    from deepclean.tune.study import CONFIG, StudyDirectory

    place = study.absolute()
    options.limit_threads(options.prepare(place / CONFIG, None))
    _work(StudyDirectory.open(place), worker, trials, timeout)


def print_study(place: Path) -> int:
    """Print what a search has found and write its report; return 1 if trials are missing, else 0.

    Raises:
        ConfigError: Optuna is not installed.
        InputError: the directory holds no search, or its data cannot be read.
        OutputError: the report cannot be written.
    """
    from deepclean.tune.report import result_of, write
    from deepclean.tune.study import StudyDirectory

    directory = StudyDirectory.open(place)
    wanted = directory.wanted()
    result = result_of(directory, _data(directory))
    page = write(result)
    print(f"{len(result.trials)} of {wanted} trials done")
    print(times.said(directory.request.span))
    best, unseen = result.best, result.confirmation
    if best is None:
        print("no trial has a model: see the report for the reasons")
    else:
        print(f"as configured: ASD ratio {result.as_is.ratio:.4f}")
        print(f"best, trial {best.number}: ASD ratio {best.value:.4f}")
        print(
            "too few data that no trial has seen"
            if unseen is None
            else f"on data that no trial has seen: {unseen.best:.4f}, as configured "
            f"{unseen.as_is:.4f}; better by {unseen.sigma:.1f} standard errors"
        )
        print(f"train it with\n  {result.command}")
    options.say(f"report: {page}")
    return ExitStatus.AGAIN if len(result.trials) < wanted else ExitStatus.DONE


def _study(place: Path, request: StudyRequest, settings: Config) -> StudyDirectory:
    """Return the search in a directory, which is begun if it is not there."""
    from deepclean.tune.judge import divide
    from deepclean.tune.study import STUDY, StudyDirectory

    if (place / STUDY).exists():
        directory = StudyDirectory.open(place)
        directory.require_same(request)
        return directory
    space = SearchSpace(settings, request.coupling)
    paths = list(request.strain) or None, list(request.witnesses) or None
    data = training_data(
        settings, request.coupling, request.span, *paths, request.fetch, space.witnesses
    )
    return StudyDirectory.create(place, request, divide(settings, data, space.witnesses), settings)


def _data(directory: StudyDirectory) -> TrainingData:
    """Return the data of a search."""
    request = directory.request
    paths = list(request.strain) or None, list(request.witnesses) or None
    return training_data(
        directory.config,
        request.coupling,
        request.span,
        *paths,
        request.fetch,
        directory.space.witnesses,
    )


def _work(directory: StudyDirectory, worker: int, wanted: int, timeout: float | None) -> None:
    """Run trials in this process."""
    from deepclean.tune.worker import work

    with _trials(directory, wanted) as say:
        work(directory, _data(directory), worker, wanted, timeout=timeout, say=say)


@contextmanager
def _trials(directory: StudyDirectory, wanted: int) -> Iterator[Callable[[str], None]]:
    """Show how many trials are done; yield what prints the line of a trial."""
    with progress("tune", wanted, "trials") as show:
        show.begin("tune", wanted, len(directory.finished(directory.study())))

        def say(text: str) -> None:
            print(text, flush=True)
            show.advance("trial " in text)

        yield say


def _work_side_by_side(
    directory: StudyDirectory, jobs: int, wanted: int, timeout: float | None
) -> None:
    """Run trials in several processes. Those that end early leave their trials to the others.

    Raises:
        ConfigError, WorkerError: all of them failed.
    """
    shared = [*program(), *_worker(directory, wanted, timeout)]
    commands = {str(number): [*shared, str(number)] for number in range(1, jobs + 1)}
    with _trials(directory, wanted) as say:
        ended = dict(
            side_by_side(commands, jobs, lambda name, line: say(f"process {name}  {line}"))
        )
    if all(status == 2 for status in ended.values()):
        raise ConfigError(f"{directory.path}: no process could run a trial; see above")
    if all(ended.values()):
        raise WorkerError(f"{directory.path}: all processes ended before their time; see above")


def _submit(
    directory: StudyDirectory, scheduled: Scheduled, wanted: int, timeout: float | None
) -> None:
    """Submit processes of a search."""
    scheduled.site()  # raises before anything is submitted
    submission.require_idle(directory.path)
    numbers = range(1, (scheduled.jobs or 1) + 1)
    array = JobArray(
        "tune",
        "worker",
        directory.path,
        tuple(_worker(directory, wanted, timeout)),
        {number: (str(number),) for number in numbers},
        directory.config.runtime.threads,
    )
    print(f"study: {directory.path}")
    submission.send(array, numbers, scheduled)
    print(f"how far it is: {shlex.join([*program(), *array.check])}")


def _worker(directory: StudyDirectory, wanted: int, timeout: float | None) -> list[str]:
    """Return the arguments of `deepclean` that run trials, without the process's number."""
    limit = [] if timeout is None else ["--timeout", str(timeout)]
    return ["tune-worker", "--trials", str(wanted), *limit, str(directory.path)]
