"""`deepclean train`: fit the models of couplings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.history import submission
from deepclean.cli.models import options as stored
from deepclean.cli.terminal import completion, times
from deepclean.cli.terminal.progress import progress
from deepclean.cli.terminal.resume import begins_anew, interruptible, same_command
from deepclean.cli.training import train_many
from deepclean.config import Config, load
from deepclean.core.time import Span, format_gps
from deepclean.errors import ExitStatus, ModelError, output_errors
from deepclean.models.store import versions
from deepclean.system.atomic import publish

if TYPE_CHECKING:
    from rich.table import Table

    from deepclean.models.model import Model
    from deepclean.train import Progress, TrainingData, TrainingResult
    from deepclean.train.judging.table import Row


def train(
    context: typer.Context,
    config: options.ConfigOption,
    start: times.StartOption,
    end: times.EndOption,
    couplings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COUPLING...",
            help="Couplings to train.",
            autocompletion=completion.couplings,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Train all enabled couplings.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of couplings that are trained at a time, each in a process of its own. "
            "Default: 1; with --scheduler, as many as the scheduler runs.",
        ),
    ] = None,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: options.FetchOption = False,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Kind of model: closed_form, hybrid, autoencoder, wiener, or "
            "PACKAGE:NAME of another package."
        ),
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Train a network on top of the closed form.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Largest number of epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the initial weights.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training of these settings.")
    ] = False,
    parent: Annotated[
        int | None, typer.Option("--from", help="Version to start from (fine-tuning).")
    ] = None,
    production: Annotated[
        bool, typer.Option("--production", help="Put the new version in force.")
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(help="Copy of the picture that lies beside the model, a PNG file."),
    ] = None,
    override: options.SetOption = None,
    outcome: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the new version's directory to this file."),
    ] = None,
    scheduler: submission.SchedulerOption = None,
    plan: submission.PlanOption = None,
    plan_only: submission.PlanOnlyOption = False,
    retries: submission.RetriesOption = 3,
    submit: submission.SubmitOption = None,
) -> None:
    """Fit a coupling's model to a span of data and write it as a new version.

    Several couplings are trained by a process each, --jobs at a time. One that fails does not keep
    the others from their turn; a table at the end says what came of each.

    The engine judges it on held-out data, beside the version in production. The first version of a
    coupling is put in force; later versions are put in force by --production or `deepclean models
    promote`. Exit status 3: the version is not put in force, because it does not beat no cleaning
    and production beyond chance, or because the site's gate would keep it out.
    """
    if network and architecture not in (None, "hybrid"):
        raise typer.BadParameter(f"--network trains a hybrid, --architecture says {architecture}")
    kind = "hybrid" if network else architecture
    chosen = {"architecture": kind, "epochs": epochs, "seed": seed}
    given = [f"training.{key}={value}" for key, value in chosen.items() if value is not None]
    settings = _settings(config, override or [], given)
    span = times.whole_span(start, end)
    # Times such as `now` mean the same in the calls that this one makes, and in its plans.
    context.params |= {"start": format_gps(span.start), "end": format_gps(span.end)}
    names = train_many.chosen(settings, couplings, every)
    scheduled = submission.scheduled(scheduler, jobs, plan, plan_only, retries, submit)
    if scheduled is not None or len(names) > 1:
        with interruptible(lambda: _goes_on(span)):
            raise typer.Exit(train_many.train_many(context, settings, names, jobs, scheduled))
    coupling = names[0]
    # What is not there is said before the libraries that train are imported, which takes seconds.
    found = None if fetch else options.histories(settings, strain, witnesses)

    from deepclean.models.loading import load_version
    from deepclean.train import TrainingData, run_training

    options.limit_threads(settings)
    data = (
        training_data(settings, coupling, span, strain, witnesses, fetch)
        if found is None
        else TrainingData(*found, span)
    )
    directory = stored.directory(settings, coupling)
    start_from = None
    if parent is not None:
        place = directory / str(stored.number(directory, str(parent)))
        start_from = load_version(settings, place)
    in_force = _in_production(settings, coupling)
    epochs_began = False

    def how() -> str:
        return _goes_on(span) if epochs_began else begins_anew(span)

    # As one of several trainings it has an outcome, and the command that called it says the rest.
    said = interruptible(how) if outcome is None else nullcontext()
    with said, progress("reading", unit="batches") as show:

        def report(epoch: Progress) -> None:
            nonlocal epochs_began
            what, total = f"epoch {epoch.epoch} of {epoch.epochs}", epoch.epochs * epoch.steps
            done = epoch.epoch * epoch.steps + epoch.step % epoch.steps
            if not epochs_began:
                show.begin(what, total, done)
                epochs_began = True
            if epoch.asd_ratio is not None:
                show.say(
                    f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  ASD ratio "
                    f"{epoch.asd_ratio:.4f}"
                )
            show.reach(done, total, what)

        made = run_training(
            settings,
            coupling,
            data,
            resume=resume,
            parent=start_from,
            production=in_force,
            progress=report,
        )
    if outcome is not None:
        context.call_on_close(partial(publish, outcome, f"{made.path.absolute()}\n".encode()))
    _show(coupling, made, span)
    if figure is not None and made.picture is not None:
        with output_errors(figure, "the picture could not be written"):
            figure.write_bytes(made.picture.read_bytes())
    context.call_on_close(partial(stored.send, settings, coupling))
    _put_in_force(settings, coupling, made, wanted=production, compared=in_force is not None)


def _settings(path: Path, override: list[str], given: list[str]) -> Config:
    """Return the configuration, and set the process up for it (options.prepare).

    Where the command names another architecture than the file, the options of the file's do not go
    with it.

    Args:
        path: of the configuration file.
        override: what `--set` gives.
        given: what the other options of the command give.
    """
    wanted = next((each.partition("=")[2] for each in given if "architecture=" in each), None)
    none = "training.architecture_options={}"
    if wanted is not None and wanted != load(path).training.architecture:
        override = [none, *override]
    return options.prepare(path, [*override, *given])


def _in_production(config: Config, coupling: str) -> Model | None:
    """Return the model that the daemon would run, or None; say so where it cannot be run."""
    from deepclean.models.loading import load_version

    store = config.models.directory
    directory = stored.directory(config, coupling)
    number = versions.read_pointer(directory, "production", store)
    if number is None:
        return None
    try:
        model = load_version(config, directory / str(number))
        model.require(config.couplings[coupling].witnesses, config.engine.rate)
    except ModelError as error:
        options.say(f"{coupling}: version {number}, in production, cannot be run: {error}")
        return None
    return model


def _goes_on(span: Span) -> str:
    return f"the same command with --resume goes on from here:\n  {same_command(span, '--resume')}"


def _show(coupling: str, made: TrainingResult, span: Span) -> None:
    """Print what a training made."""
    from deepclean.train.judging.objection import gate_in_words

    options.say(f"{made.path}: ASD ratio over {made.figures.get('seconds', 0):.0f} s held out")
    options.print_table(_table(made.rows))
    options.say(times.said(span))
    gain = made.figures.get("network_gain_sigma")
    if gain is not None:
        options.say(f"network: {gain:.1f} standard errors beyond the closed form on held-out data")
    gate = gate_in_words(made.figures)
    if gate:
        options.say(f"gate: {gate}")
    if made.picture is not None:
        options.say(f"picture: {made.picture}")
    for note in made.notes:
        options.say(f"{coupling}: {note}")


def _table(rows: Sequence[Row]) -> Table:
    """Return the table of what was tried."""
    from rich.table import Table

    from deepclean.train.judging.table import HEAD

    table = Table(*HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row.cells())
    return table


def _put_in_force(
    config: Config, coupling: str, made: TrainingResult, *, wanted: bool, compared: bool
) -> None:
    """Put a version in force where that is wanted, or it is the first, and nothing speaks against.

    Args:
        config: the configuration.
        coupling: a name in it.
        made: the new version.
        wanted: it replaces one that is in production.
        compared: the version in production can be run, and was judged on the same data.

    Raises:
        Exit: something does.
    """
    from deepclean.models.store import changes as store
    from deepclean.train.judging.objection import objection

    directory, version = stored.directory(config, coupling), int(made.path.name)
    present = versions.read_pointer(directory, "production")
    why = objection(made.figures)
    if present is not None and not wanted:
        cannot = "" if compared else ", which cannot be run with this configuration"
        options.say(f"{coupling}: production is still version {present}{cannot}")
        if why:
            options.say(f"{coupling}: version {version} could not replace it: {why}")
        elif compared:
            options.say(f"{coupling}: version {version} beats it")
        else:
            promote = f"deepclean models promote -c CONFIG {shlex.quote(coupling)} {version}"
            options.say(f"{coupling}: put version {version} in force:")
            print(f"  {options.with_file(promote)}")
        return
    if why:
        options.say(f"{coupling}: version {version} is not put in force: {why}")
        raise typer.Exit(ExitStatus.VERDICT)
    reason = "trained with --production" if wanted else "the first version"
    store.promote(directory, version, stored.fits(config, coupling), reason)
    options.say(f"{coupling}: production is version {version}")


def training_data(
    config: Config,
    coupling: str,
    span: Span,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    fetch: bool,
    channels: Sequence[str] | None = None,
) -> TrainingData:
    """Return the data of a coupling's training that the options or the configuration name.

    Args:
        config: the configuration.
        coupling: a name in it.
        span: the span that is used.
        strain: directories and files; None for the configured ones.
        witnesses: directories and files; None for the configured ones.
        fetch: whether the data come through gwpy instead.
        channels: witnesses that are fetched; None for the coupling's.

    Raises:
        ConfigError: no input is named.
        InputError: there are no files, or the data service has no such channels.
    """
    from deepclean.io.datafind import fetch as fetched
    from deepclean.train import TrainingData

    if fetch:
        wanted = [*stored.channels(config, coupling), *(channels or ())]
        held = fetched(list(dict.fromkeys(wanted)), span, config.strain.state_vector)
        return TrainingData(held, held, span)
    return TrainingData(*options.histories(config, strain, witnesses), span)
