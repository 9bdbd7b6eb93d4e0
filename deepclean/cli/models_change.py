"""The commands of `deepclean models` that change the store. Every change is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepclean.cli import models_options as stored
from deepclean.cli import options
from deepclean.cli.models_options import AnyCoupling, CouplingArgument, VersionArgument, WhyOption
from deepclean.config import Config, load
from deepclean.errors import ModelError
from deepclean.models.manifest import MANIFEST


def publish(
    config: options.ConfigOption,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Model directory.")],
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Copy a model directory into the store as the next version of its coupling.

    The model is checked first. The version appears complete or not at all, and it is not put in
    force.
    """
    settings = load(config, override or ())
    from deepclean.models import files as models
    from deepclean.models import packaged, store

    packaged.admit(settings.models.architectures)
    if not (directory / MANIFEST).exists() and (directory / "model.pt").exists():
        raise ModelError(
            "a training directory of deepcleanv2: use `deepclean models import`", path=directory
        )
    _, manifest, _ = models.read(directory)
    if manifest.interferometer != settings.interferometer:
        raise ModelError(
            f"is for {manifest.interferometer}, the configuration for {settings.interferometer}",
            path=directory,
        )
    stored.directory(settings, manifest.coupling)  # raises if the coupling is unknown
    path = store.publish(settings.models.directory, directory, why)
    _published(config, settings, manifest.coupling, path)


def import_(
    config: options.ConfigOption,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Training directory of deepcleanv2.")
    ],
    coupling: CouplingArgument,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ",
            min=1,
            help="Rate at which the network runs; default: data.sample_rate of its config.yaml.",
        ),
    ] = None,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Import a training directory of deepcleanv2 into the store, as a version without TorchScript.

    This works for the published network. Another network runs unchanged: name its directory as the
    coupling's model.
    """
    settings = load(config, override or ())
    stored.directory(settings, coupling)
    from deepclean.models import import_v2, store

    if (directory / MANIFEST).exists():
        raise ModelError(
            "a directory of our format: use `deepclean models publish`", path=directory
        )
    content, manifest = import_v2.read(
        directory, settings.interferometer, coupling, settings.strain.rate, rate
    )
    path = store.add(settings.models.directory, content, manifest, why, what="import")
    _published(config, settings, coupling, path)


def promote(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    version: VersionArgument,
    canary: Annotated[
        bool, typer.Option("--canary", help="Make the version the canary, beside production.")
    ] = False,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Put a version in force. The version is loaded and checked first.

    `promote COUPLING canary` makes the canary production.
    """
    settings = load(config, override or ())
    directory = stored.directory(settings, coupling)
    from deepclean.models import store

    number, check = stored.number(directory, version), stored.fits(settings, coupling)
    pointer = "canary" if canary else "production"
    change = store.set_canary if canary else store.promote
    before = change(directory, number, check, why)
    was = f", it was {before}" if before not in (None, number) else ""
    print(f"{coupling}: {pointer} is version {number}{was}")


def clear_canary(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Remove the canary pointer. The version stays in the store."""
    settings = load(config, override or ())
    directory = stored.directory(settings, coupling)
    from deepclean.models import store

    before = store.set_canary(directory, None, lambda _: None, why)
    print(f"{coupling}: {f'no canary; it was {before}' if before else 'there was no canary'}")


def rollback(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Put the former production version in force again. A second call goes back one more version.

    The log says which version that is. The version is loaded and checked first.
    """
    settings = load(config, override or ())
    directory = stored.directory(settings, coupling)
    from deepclean.models import store

    before, after = store.rollback(directory, stored.fits(settings, coupling), why)
    print(f"{coupling}: production is version {after} again, it was {before}")


def prune(
    config: options.ConfigOption,
    coupling: AnyCoupling = None,
    keep: Annotated[
        int, typer.Option(min=1, help="Number of newest versions that stay, for each coupling.")
    ] = 10,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Remove the versions; without this option they are only listed."
        ),
    ] = False,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Remove old versions, except those in force and those that a rollback goes back to."""
    settings = load(config, override or ())
    from deepclean.models import store

    any_goes = False
    for name, directory in stored.directories(settings, coupling).items():
        superfluous = store.superfluous(directory, keep)
        gone = store.prune(directory, keep, why) if yes and superfluous else superfluous
        any_goes = any_goes or bool(gone)
        numbers = ", ".join(map(str, gone)) or "nothing"
        print(f"{name}: {numbers} {'removed' if yes else 'would be removed'}")
    if any_goes and not yes:
        print("nothing was removed; repeat with --yes")


def _published(file: Path, config: Config, coupling: str, path: Path) -> None:
    """Print the new version, and how it is put in force or why it cannot be."""
    print(f"{coupling}: version {path.name} is {path}")
    try:
        stored.fits(config, coupling)(path)
    except ModelError as error:
        print(f"this version cannot be put in force with this configuration: {error}")
    else:
        command = f"deepclean models promote -c {file} {coupling} {path.name}"
        print(f"not in force; `{command}` does that")
