"""`deepclean train`: fit the models of couplings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli import options, submission, train_many
from deepclean.config import Config
from deepclean.core.time import Span
from deepclean.models import versions
from deepclean.models.manifest import Manifest
from deepclean.system.atomic import publish

if TYPE_CHECKING:
    from deepclean.train.data import TrainingData


def train(
    context: typer.Context,
    config: options.ConfigOption,
    start: options.StartOption,
    end: options.EndOption,
    couplings: Annotated[
        list[str] | None, typer.Argument(metavar="COUPLING...", help="Couplings to train.")
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
        str | None, typer.Option(help="Name of the network: autoencoder, wiener.")
    ] = None,
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
    """Fit a coupling's network to a span of data and write it as a new version.

    Several couplings are trained by a process each, --jobs at a time. One that fails does not keep
    the others from their turn; a table at the end says what came of each.

    The engine validates each epoch on held-out data. The first version of a coupling is put in
    force; later versions are put in force by --production or `deepclean models promote`.
    """
    chosen = {"architecture": architecture, "epochs": epochs, "seed": seed}
    given = [f"training.{key}={value}" for key, value in chosen.items() if value is not None]
    settings = options.prepare(config, [*(override or []), *given])
    span = options.whole_span(start, end)
    names = train_many.chosen(settings, couplings, every)
    scheduled = submission.scheduled(scheduler, jobs, plan, plan_only, retries, submit)
    if scheduled is not None or len(names) > 1:
        raise typer.Exit(train_many.train_many(context, settings, names, jobs, scheduled))
    coupling = names[0]
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    from deepclean.models import files as models
    from deepclean.models import store
    from deepclean.train.loop import Progress
    from deepclean.train.run import train as fit
    from deepclean.train.validation import objection

    options.limit_threads(settings)
    data = training_data(settings, coupling, span, strain, witnesses, fetch)
    directory = stored.directory(settings, coupling)
    start_from = None
    if parent is not None:
        place = directory / str(stored.number(directory, str(parent)))
        start_from = models.load(place, store=settings.models.directory)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with options.progress_bar(*columns) as bar:
        task = bar.add_task("reading", total=None)

        def report(epoch: Progress) -> None:
            if epoch.asd_ratio is not None:
                bar.console.print(
                    f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  ASD ratio "
                    f"{epoch.asd_ratio:.4f}"
                )
            bar.update(
                task,
                description=f"epoch {epoch.epoch} of {epoch.epochs}",
                total=epoch.epochs * epoch.steps,
                completed=epoch.epoch * epoch.steps + epoch.step % epoch.steps,
            )

        path = fit(settings, coupling, data, resume=resume, parent=start_from, progress=report)
    if outcome is not None:
        context.call_on_close(partial(publish, outcome, f"{path.absolute()}\n".encode()))
    manifest = Manifest.parse((path / "manifest.json").read_bytes(), path / "manifest.json")
    figures = ", ".join(f"{name} {value:.4g}" for name, value in manifest.validation.items())
    print(f"{path}: {figures}")
    first = versions.read_pointer(directory, "production") is None
    why = objection(manifest.validation) if production or first else ""
    if why:
        print(f"{coupling}: version {manifest.version} is not put in force: {why}")
        raise typer.Exit(3)
    if production or first:
        reason = "trained with --production" if production else "the first version"
        store.promote(directory, manifest.version, stored.fits(settings, coupling), reason)
        print(f"{coupling}: production is version {manifest.version}")


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
    from deepclean.train.data import TrainingData

    if fetch:
        wanted = [*stored.channels(config, coupling), *(channels or ())]
        held = fetched(list(dict.fromkeys(wanted)), span, config.strain.state_vector)
        return TrainingData(held, held, span)
    return TrainingData(*options.histories(config, strain, witnesses), span)
