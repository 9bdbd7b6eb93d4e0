"""`deepclean models`: the content of the model store. `models_change` has what changes it."""

from __future__ import annotations

import json
from dataclasses import asdict
from shlex import quote
from typing import Annotated, Any

import typer

from deepclean.cli import options
from deepclean.cli.models import change as models_change
from deepclean.cli.models import options as stored
from deepclean.cli.models import tables
from deepclean.cli.models.options import AnyCoupling, CouplingArgument, VersionArgument
from deepclean.config import load
from deepclean.errors import ExitStatus
from deepclean.models.store import log as model_log
from deepclean.models.store import rejections, versions

app = typer.Typer(
    help="The model store: its versions, and the versions in force.", no_args_is_help=True
)
app.command("publish")(models_change.publish)
app.command("import")(models_change.import_)
app.command("promote")(models_change.promote)
app.command("clear-canary")(models_change.clear_canary)
app.command("rollback")(models_change.rollback)
app.command("prune")(models_change.prune)
app.command("push")(models_change.push)
app.command("pull")(models_change.pull)


@app.command("list")
def list_versions(
    config: options.ConfigOption,
    coupling: AnyCoupling = None,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """List the versions of every coupling of a configuration, or of one coupling.

    A damaged version or pointer is marked as damaged, and the exit status is then 1.
    """
    settings = load(config, override or ())
    listed: list[dict[str, Any]] = []
    for name, directory in stored.directories(settings, coupling).items():
        present = [tables.row(directory / str(n)) for n in versions.versions(directory)]
        enabled = settings.couplings[name].enabled
        one = {"coupling": name, "enabled": enabled, **tables.pointers(directory)}
        listed.append({**one, "versions": present})
    if as_json:
        print(json.dumps(listed, indent=2))
    else:
        options.print_table(tables.version_list(listed))
    damaged = [str(one["coupling"]) for one in listed if tables.is_damaged(one)]
    if damaged and not as_json:
        for name in damaged:
            print(f"damaged: deepclean models verify -c {quote(str(config))} {quote(name)}")
    if damaged:
        raise typer.Exit(ExitStatus.AGAIN)


@app.command("show")
def show(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    version: VersionArgument = "production",
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Show a version's manifest, and the changes that concern it."""
    settings = load(config, override or ())
    from rich.table import Table

    directory = stored.directory(settings, coupling)
    number = stored.number(directory, version)
    rejected = rejections.read(directory, number)
    manifest = tables.manifest_of(directory / str(number))
    pointers = [p for p in versions.POINTERS if versions.read_pointer(directory, p) == number]
    made = [c for c in model_log.read(directory).changes if number in (c.before, c.after)]
    if as_json:
        facts: dict[str, Any] = manifest.model_dump(mode="json")
        facts |= {"pointers": pointers, "changes": [change.facts() for change in made]}
        facts["rejected"] = rejected
        print(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, box=None)
    for name, value in tables.lines(manifest, pointers, rejected):
        table.add_row(name, tables.plain(value))
    console = options.console()
    console.print(f"{directory / str(number)}", style="bold", soft_wrap=True)
    options.print_lines(table)
    if made:
        options.print_table(tables.history(made))


@app.command("log")
def log(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Print the log of a coupling's store: each change with its time, author and reason."""
    settings = load(config, override or ())
    made = model_log.read(stored.directory(settings, coupling)).changes
    if as_json:
        print(json.dumps([change.facts() for change in made], indent=2))
        return
    options.print_table(tables.history(made))


@app.command("diff")
def diff(
    config: options.ConfigOption,
    coupling: CouplingArgument,
    one: VersionArgument,
    other: VersionArgument,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Compare two versions: their manifests, validation figures, weights and output."""
    settings = load(config, override or ())
    from rich.table import Table

    from deepclean.models import packaged
    from deepclean.models.store import diff as difference

    packaged.admit(settings.models.architectures)
    directory = stored.directory(settings, coupling)
    numbers = [stored.number(directory, text) for text in (one, other)]
    first, second = (directory / str(number) for number in numbers)
    found = difference.compare(first, second, settings.models.directory)
    if as_json:
        print(json.dumps({"versions": numbers, **asdict(found)}, indent=2))
        return
    table = Table("", *(str(number) for number in numbers))
    for name, figures in found.validation.items():
        table.add_row(name, *("-" if figure is None else f"{figure:.6g}" for figure in figures))
    for name, values in found.fields.items():
        table.add_row(name, *(tables.short(value) for value in values))
    options.print_table(table)
    weights = "of other shapes" if found.weights is None else f"{found.weights:.3g} of their norm"
    output = "not comparable" if found.output is None else f"{found.output:.3g} of its rms"
    options.say(f"difference of the weights: {weights}; of the golden output: {output}")


@app.command("verify")
def verify(
    config: options.ConfigOption,
    coupling: AnyCoupling = None,
    version: Annotated[
        str | None, typer.Argument(help="Version; default: all versions and the pointers.")
    ] = None,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Check hashes, golden outputs, file modes, symlinks and owners. Status 2: a check failed."""
    settings = load(config, override or ())
    from deepclean.models import packaged
    from deepclean.models.store import verify as checks

    packaged.admit(settings.models.architectures)
    store = settings.models.directory
    results: list[dict[str, Any]] = []
    for name, directory in stored.directories(settings, coupling).items():
        if version is None:
            numbers = list(versions.versions(directory))
            if directory.is_dir():
                faults = checks.coupling(directory, store)
                results.append({"coupling": name, "version": None, "faults": faults})
        else:
            numbers = [stored.number(directory, version)]
        for number in numbers:
            faults = checks.version(directory / str(number), store)
            results.append({"coupling": name, "version": number, "faults": faults})
    if as_json:
        print(json.dumps(results, indent=2))
    else:
        console = options.console()
        for result in results:
            number = result["version"]
            what = "pointers and log" if number is None else f"version {number}"
            console.print(f"{result['coupling']} {what}: ", end="")
            good = not result["faults"]
            console.print("good" if good else "BAD", style="green" if good else "red")
            for fault in result["faults"]:
                options.say(f"  {fault}")
    if any(result["faults"] for result in results):
        raise typer.Exit(ExitStatus.PERSON)
