"""`deepclean train`: fit a coupling's network."""

from __future__ import annotations

from typing import Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli import options
from deepclean.models import versions
from deepclean.models.manifest import Manifest


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
        typer.Option(help="Name of the model: autoencoder, closed_form, hybrid, wiener."),
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
    override: options.SetOption = None,
) -> None:
    """Fit a coupling's network to a span of data and write it as a new version.

    A network is judged on held-out data after each epoch. The first version of a coupling is put in
    force; later versions are put in force by --production or `deepclean models promote`.
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
    from deepclean.models import store
    from deepclean.train.data import TrainingData
    from deepclean.train.loop import Progress
    from deepclean.train.run import train as fit
    from deepclean.train.validation import objection

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
