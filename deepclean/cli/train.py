"""`deepclean train`: fit a coupling's model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli import options
from deepclean.config import Config
from deepclean.errors import ModelError, output_errors
from deepclean.models import versions

if TYPE_CHECKING:
    from deepclean.models.model import Model
    from deepclean.train import Progress, TrainingResult


def train(
    config: options.ConfigOption,
    coupling: Annotated[str, typer.Argument(help="Coupling to train.")],
    start: options.StartOption,
    end: options.EndOption,
    strain: options.StrainPaths = None,
    witnesses: options.WitnessPaths = None,
    fetch: options.FetchOption = False,
    architecture: Annotated[
        str | None,
        typer.Option(help="Kind of model: closed_form, hybrid, autoencoder, wiener."),
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
) -> None:
    """Fit a coupling's model to a span of data and write it as a new version.

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
    settings = options.prepare(config, [*(override or []), *given])
    span = options.whole_span(start, end)
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

    from deepclean.io.datafind import fetch as fetched
    from deepclean.models import files as models
    from deepclean.train import TrainingData, run_training

    options.limit_threads(settings)
    if fetch:
        channels = stored.channels(settings, coupling)
        held = fetched(channels, span, settings.strain.state_vector)
        data = TrainingData(held, held, span)
    else:
        data = TrainingData(*options.histories(settings, strain, witnesses), span)
    directory = stored.directory(settings, coupling)
    start_from = None
    if parent is not None:
        place = directory / str(stored.number(directory, str(parent)))
        start_from = models.load(place, store=settings.models.directory)
    in_force = _in_production(settings, coupling)
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

        made = run_training(
            settings,
            coupling,
            data,
            resume=resume,
            parent=start_from,
            production=in_force,
            progress=report,
        )
    _show(coupling, made)
    if figure is not None and made.picture is not None:
        with output_errors(figure, "the picture could not be written"):
            figure.write_bytes(made.picture.read_bytes())
    _put_in_force(settings, coupling, int(made.path.name), made, wanted=production)


def _in_production(config: Config, coupling: str) -> Model | None:
    """Return the model that the daemon would run, or None; say so where it cannot be run."""
    from deepclean.models import files as models

    store = config.models.directory
    directory = stored.directory(config, coupling)
    number = versions.read_pointer(directory, "production", store)
    if number is None:
        return None
    try:
        model = models.load(directory / str(number), store=store)
        model.require(config.couplings[coupling].witnesses, config.engine.rate)
    except ModelError as error:
        print(f"{coupling}: version {number}, in production, cannot be run: {error}")
        return None
    return model


def _show(coupling: str, made: TrainingResult) -> None:
    """Print what a training made."""
    from deepclean.train.judging.objection import gate_in_words
    from deepclean.train.judging.table import table

    print(f"{made.path}: ASD ratio over {made.figures.get('seconds', 0):.0f} s held out")
    print(table(made.rows))
    gate = gate_in_words(made.figures)
    if gate:
        print(f"gate: {gate}")
    if made.picture is not None:
        print(f"picture: {made.picture}")
    for note in made.notes:
        print(f"{coupling}: {note}")


def _put_in_force(
    config: Config, coupling: str, version: int, made: TrainingResult, *, wanted: bool
) -> None:
    """Put a version in force where that is wanted, or it is the first, and nothing speaks against.

    Raises:
        Exit: something does.
    """
    from deepclean.models import store
    from deepclean.train.judging.objection import objection

    directory = stored.directory(config, coupling)
    present = versions.read_pointer(directory, "production")
    why = objection(made.figures)
    if present is not None and not wanted:
        print(f"{coupling}: production is still version {present}")
        print(
            f"{coupling}: version {version} {f'could not replace it: {why}' if why else 'beats it'}"
        )
        return
    if why:
        print(f"{coupling}: version {version} is not put in force: {why}")
        raise typer.Exit(3)
    reason = "trained with --production" if wanted else "the first version"
    store.promote(directory, version, stored.fits(config, coupling), reason)
    print(f"{coupling}: production is version {version}")
