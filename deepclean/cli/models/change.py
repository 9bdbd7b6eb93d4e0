"""The commands of `deepclean models` that change the store. Every change is logged."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli import options
from deepclean.cli.models import options as stored
from deepclean.cli.models.options import AnyCoupling, CouplingArgument, VersionArgument, WhyOption
from deepclean.cli.models.tables import manifest_of
from deepclean.config import Config, load
from deepclean.errors import ConfigError, ModelError
from deepclean.models.content import read_version
from deepclean.models.manifest import MANIFEST

if TYPE_CHECKING:
    from deepclean.models.store.remote import RemoteStore, Transfer


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
    if not (directory / MANIFEST).exists() and (directory / "model.pt").exists():
        command = (
            f"deepclean models import -c {quote(str(config))} {quote(str(directory))} COUPLING"
        )
        raise ModelError(f"a training directory of deepcleanv2: use `{command}`", path=directory)
    manifest_of(directory)  # raises where there is no model at all, before torch is imported
    from deepclean.models import packaged
    from deepclean.models.store import changes as store

    packaged.admit(settings.models.architectures)
    _, manifest, _ = read_version(directory)
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
    if (directory / MANIFEST).exists():
        command = f"deepclean models publish -c {quote(str(config))} {quote(str(directory))}"
        raise ModelError(
            f"a directory of our format: use `{command}`",
            path=directory,
        )
    from deepclean.models import import_v2
    from deepclean.models.store import changes as store

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
    number = stored.number(directory, version)
    from deepclean.models.store import changes as store

    check = stored.fits(settings, coupling)
    pointer = "canary" if canary else "production"
    change = store.set_canary if canary else store.promote
    before = change(directory, number, check, why)
    was = f", it was {before}" if before not in (None, number) else ""
    print(f"{coupling}: {pointer} is version {number}{was}")


def push(
    config: options.ConfigOption, coupling: AnyCoupling = None, override: options.SetOption = None
) -> None:
    """Send versions and pointers to the store elsewhere that models.remote names.

    A version that is there with other content is refused: versions never change.
    """
    for name, elsewhere in _elsewhere(config, coupling, override):
        _print_transfer(name, "sent to", elsewhere.address, elsewhere.push())


def pull(
    config: options.ConfigOption, coupling: AnyCoupling = None, override: options.SetOption = None
) -> None:
    """Fetch versions from the store elsewhere that models.remote names, and follow its pointers.

    A version is verified and loaded before it appears. A pointer is followed where it changed since
    the last call, so that a promotion here is not undone.
    """
    from deepclean.models import loading

    settings = load(config, override or ())
    for name, elsewhere in _elsewhere(config, coupling, override):
        done = loading.pull(settings, name, elsewhere)
        _print_transfer(name, "fetched from", elsewhere.address, done)


def clear_canary(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    why: WhyOption = "",
    override: options.SetOption = None,
) -> None:
    """Remove the canary pointer. The version stays in the store."""
    settings = load(config, override or ())
    directory = stored.directory(settings, coupling)
    from deepclean.models.store import changes as store

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
    from deepclean.models.store import changes as store

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
    from deepclean.models.store import changes as store

    any_goes = False
    for name, directory in stored.directories(settings, coupling).items():
        superfluous = store.superfluous(directory, keep)
        gone = store.prune(directory, keep, why) if yes and superfluous else superfluous
        any_goes = any_goes or bool(gone)
        numbers = ", ".join(map(str, gone)) or "nothing"
        print(f"{name}: {numbers} {'removed' if yes else 'would be removed'}")
    if any_goes and not yes:
        print("nothing was removed; repeat with --yes")


def _elsewhere(
    path: Path, coupling: str | None, override: list[str] | None
) -> list[tuple[str, RemoteStore]]:
    """Return the stores elsewhere of one coupling or of all.

    Raises:
        ConfigError: the configuration names none.
    """
    settings = load(path, override or ())
    from deepclean.models.loading import remote_store

    found = [(n, remote_store(settings, n)) for n in stored.directories(settings, coupling)]
    if settings.models.remote is None:
        raise ConfigError("models.remote: names no address, as s3://bucket/models", path)
    return [(name, elsewhere) for name, elsewhere in found if elsewhere is not None]


def _print_transfer(coupling: str, what: str, address: str, done: Transfer) -> None:
    numbers = ", ".join(map(str, done.versions)) or "no new version"
    print(f"{coupling}: {numbers} {what} {address}")
    for pointer, number in done.pointers.items():
        print(f"{coupling}: {pointer} is {'none' if number is None else f'version {number}'}")


def _published(file: Path, config: Config, coupling: str, path: Path) -> None:
    """Print the new version, and how it is put in force or why it cannot be."""
    options.say(f"{coupling}: version {path.name} is {path}")
    try:
        stored.fits(config, coupling)(path)
    except ModelError as error:
        options.say(f"this version cannot be put in force with this configuration: {error}")
    else:
        command = f"deepclean models promote -c {quote(str(file))} {quote(coupling)} {path.name}"
        print(f"not in force; `{command}` does that")
