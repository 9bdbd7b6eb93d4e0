"""`deepclean train`: fit a coupling's network."""

from __future__ import annotations

from typing import Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli.options import (
    ConfigOption,
    EndOption,
    FetchOption,
    SetOption,
    StartOption,
    StrainPaths,
    WitnessPaths,
    histories,
    limit_threads,
    prepare,
    whole_span,
)


def train(
    config: ConfigOption,
    coupling: Annotated[str, typer.Argument(help="Coupling to train.", show_default=False)],
    start: StartOption,
    end: EndOption,
    strain: StrainPaths = None,
    witnesses: WitnessPaths = None,
    fetch: FetchOption = False,
    architecture: Annotated[
        str | None, typer.Option(help="Network, by name: autoencoder, wiener.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights.", show_default=False)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training of these settings.")
    ] = False,
    parent: Annotated[
        int | None,
        typer.Option("--from", help="Version to start from (fine-tuning).", show_default=False),
    ] = None,
    production: Annotated[
        bool, typer.Option("--production", help="Put the new version in force.")
    ] = False,
    override: SetOption = None,
) -> None:
    """Fit a coupling's network to a stretch of data and write it as a new version.

    Each epoch is validated by the engine itself, on data that is held out. The first version of a
    coupling is put in force; later ones with --production or `deepclean models promote`.
    """
    options = {"architecture": architecture, "epochs": epochs, "seed": seed}
    given = [f"training.{key}={value}" for key, value in options.items() if value is not None]
    settings = prepare(config, [*(override or []), *given])
    span = whole_span(start, end)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from deepclean.io.datafind import fetch as fetched
    from deepclean.io.source import ChannelHistory
    from deepclean.models import load as models
    from deepclean.models import store, versions
    from deepclean.models.manifest import Manifest
    from deepclean.train.data import TrainingData
    from deepclean.train.loop import Progress as Epoch
    from deepclean.train.run import train as fit

    limit_threads(settings)
    of_strain: ChannelHistory
    of_witnesses: ChannelHistory
    if fetch:
        channels = stored.channels(settings, coupling)
        of_strain = of_witnesses = fetched(channels, span, settings.strain.state_vector)
    else:
        of_strain, of_witnesses = histories(settings, strain, witnesses)
    directory = stored.directory(settings, coupling)
    start_from = None
    if parent is not None:
        place = directory / str(stored.number(directory, str(parent)))
        start_from = models.load(place, store=settings.models.directory)
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def report(epoch: Epoch) -> None:
            if epoch.asd_ratio is not None:
                console.print(
                    f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  ASD ratio "
                    f"{epoch.asd_ratio:.4f}"
                )
            bar.update(
                task,
                description=f"epoch {epoch.epoch} of {epoch.epochs}",
                total=epoch.epochs * epoch.steps,
                completed=epoch.epoch * epoch.steps + epoch.step % epoch.steps,
            )

        path = fit(
            settings,
            coupling,
            TrainingData(of_strain, of_witnesses, span),
            resume=resume,
            parent=start_from,
            progress=report,
        )
    manifest = Manifest.parse((path / "manifest.json").read_bytes(), path / "manifest.json")
    figures = ", ".join(f"{name} {value:.4g}" for name, value in manifest.validation.items())
    print(f"{path}: {figures}")
    if production or versions.read_pointer(directory, "production") is None:
        reason = "trained with --production" if production else "the first version"
        store.promote(directory, manifest.version, stored.fits(settings, coupling), reason)
        print(f"{coupling}: production is version {manifest.version}")
