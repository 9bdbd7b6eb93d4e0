"""`deepclean train` of several couplings, and trainings on a pool or a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from deepclean.cli import options
from deepclean.cli.history import submission
from deepclean.cli.history.submission import Scheduled
from deepclean.cli.models import options as stored
from deepclean.cli.models.tables import manifest_of
from deepclean.cli.terminal.progress import progress
from deepclean.config import Config
from deepclean.errors import ConfigError, ExitStatus, ModelError
from deepclean.models.store import versions
from deepclean.remote.address import absolute
from deepclean.system.commands import program, side_by_side

OURS = frozenset("couplings every jobs scheduler plan plan_only retries submit outcome".split())
"""Options of `deepclean train` that its call for one coupling does not get."""

_WORDS: Mapping[int, str] = {
    ExitStatus.DONE: "trained",
    ExitStatus.VERDICT: "not in force",
    ExitStatus.AGAIN: "failed, may be repeated",
    ExitStatus.PERSON: "failed",
}


def chosen(config: Config, named: Sequence[str] | None, every: bool) -> list[str]:
    """Return the couplings that are to be trained, each once.

    Raises:
        ConfigError: none is named, or one is unknown.
    """
    if bool(named) == every:
        raise ConfigError("name the couplings to train, or give --all for all that are enabled")
    names = list(config.enabled_couplings) if every else list(dict.fromkeys(named or ()))
    for name in names:
        stored.directory(config, name)  # raises if there is no such coupling
    if not names:
        raise ConfigError("no coupling is enabled")
    return names


def train_many(
    context: typer.Context,
    config: Config,
    names: Sequence[str],
    jobs: int | None,
    scheduled: Scheduled | None,
) -> int:
    """Train couplings, each in a process of its own, here or by a scheduler.

    Args:
        context: of the command, whose other options each training gets.
        config: the configuration.
        names: the couplings.
        jobs: how many are trained at a time.
        scheduled: the options of a submission; None to train here.

    Returns:
        The exit status: 2 if a person is needed for any coupling; else 1 if a repetition may help
        any; else 3 if any version is not put in force; else 0.

    Raises:
        ConfigError: options exclude one another, or the scheduler refuses.
        OutputError: the plan cannot be written.
    """
    from deepclean.cluster.trainings import outcome

    if context.params.get("parent") is not None and len(names) > 1:
        raise ConfigError("--from names a version of one coupling: train that one by itself")
    if scheduled is not None:
        _submit(context, config, names, scheduled)
        return ExitStatus.DONE
    shared = ["train", *forwarded(context, OURS)]
    with TemporaryDirectory(prefix="deepclean-train-") as place:
        files = {name: Path(place) / name for name in names}
        commands = {
            name: [*program(), *shared, name, "--outcome", str(files[name])] for name in names
        }
        width = max(map(len, names))
        statuses: dict[str, int] = {}
        with progress("train", len(names), "couplings") as show:
            for name, status in side_by_side(
                commands, jobs or 1, lambda name, line: print(f"{name:{width}s}  {line}")
            ):
                statuses[name] = status
                show.advance()
        found = {name: outcome(path) for name, path in files.items()}
    words = {name: _WORDS.get(statuses[name], "killed") for name in names}
    _print_table(config, words, {n: path for n, path in found.items() if path is not None})
    return combined(statuses.values())


def combined(statuses: Collection[int]) -> int:
    """Return the exit status of several trainings from theirs."""
    if ExitStatus.PERSON in statuses:
        return ExitStatus.PERSON
    ended = (ExitStatus.DONE, ExitStatus.VERDICT)
    return ExitStatus.AGAIN if any(s not in ended for s in statuses) else max(statuses)


def forwarded(context: typer.Context, without: Collection[str]) -> list[str]:
    """Return the options of a command as words that give them to another call; paths absolute.

    Args:
        context: of the command.
        without: names of parameters that are left out.
    """
    words: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in without or value is None or value == parameter.default:
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, bool):
                words.append((parameter.opts if each else parameter.secondary_opts)[-1])
            else:
                text = str(absolute(each) if isinstance(each, Path) else each)
                words += [parameter.opts[-1], text]
    return words


def _submit(
    context: typer.Context, config: Config, names: Sequence[str], scheduled: Scheduled
) -> None:
    """Write the plan of some trainings, or continue it, and submit what is not trained."""
    from deepclean.cluster import trainings
    from deepclean.cluster.trainings import TrainingPlan

    scheduled.site()  # raises before anything is written
    arguments = forwarded(context, OURS | {"config", "override"})
    plan = TrainingPlan(
        couplings=tuple(names), arguments=tuple(arguments), configuration=config.hash
    )
    store = config.models.directory
    span = f"{context.params['start']}-{context.params['end']}"
    directory = (scheduled.plan or store.with_name(f"{store.name}-plan") / span).absolute()
    if (directory / trainings.PLAN).exists():
        trainings.require_same(TrainingPlan.read(directory), plan, directory)
        submission.require_idle(directory)
    else:
        trainings.write(plan, directory, config)
    done = trainings.trained(plan, directory)
    todo = [number for number, name in plan.numbered.items() if name not in done]
    print(f"{len(todo)} of {len(names)} couplings to be trained")
    if not todo:
        return
    print(f"plan: {directory}")
    submission.send(plan.job_array(directory, config), todo, scheduled)
    print(f"how far it is: {shlex.join([*program(), 'shards', str(directory)])}")


def print_trainings(directory: Path) -> int:
    """Print which couplings of a plan are trained; return 1 if one is not, else 0.

    Raises:
        InputError: the plan cannot be read.
        ConfigError: its configuration cannot be used.
    """
    from deepclean.cluster.plan import CONFIG
    from deepclean.cluster.trainings import TrainingPlan, trained

    plan = TrainingPlan.read(directory)
    config = options.prepare(directory / CONFIG, None)
    done = trained(plan, directory)
    _print_table(
        config, {n: "trained" if n in done else "not trained" for n in plan.couplings}, done
    )
    for number, name in plan.numbered.items():
        if name not in done:
            own = plan.job_array(directory, config).own[number]
            command = shlex.join([*program(), *plan.command(directory), *own])
            print(f"not trained: {name}; alone:\n  cd {shlex.quote(str(directory))} && {command}")
    print(f"{len(done)} of {len(plan.couplings)} couplings trained")
    return ExitStatus.AGAIN if len(done) < len(plan.couplings) else ExitStatus.DONE


def _print_table(config: Config, words: Mapping[str, str], made: Mapping[str, Path]) -> None:
    """Print a line for each coupling.

    Args:
        config: the configuration.
        words: what came of it, by coupling.
        made: directory of the new version, by coupling.
    """
    from rich.table import Table

    table = Table()
    for heading in ("coupling", "outcome", "version", "ASD ratio", "in force"):
        table.add_column(heading)
    for name, said in words.items():
        table.add_row(name, said, *_cells(config, name, made.get(name)))
    options.print_table(table)


def _cells(config: Config, name: str, path: Path | None) -> tuple[str, str, str]:
    """Return a new version's number, its ASD ratio, and whether it is in force."""
    if path is None:
        return "", "", ""
    try:
        ratio = manifest_of(path).validation.get("asd_ratio")
        production = versions.read_pointer(stored.directory(config, name), "production")
    except ModelError as error:
        return path.name, str(error), ""
    number = "not finite" if ratio is None else f"{ratio:.4f}"
    return path.name, number, "yes" if production == int(path.name) else "no"
