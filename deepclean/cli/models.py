"""`deepclean models`: what is in the model store. What changes it is in cli/models_change.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepclean.cli import models_change
from deepclean.cli import models_options as stored
from deepclean.cli import models_tables as tables
from deepclean.cli.models_options import AnyCoupling, CouplingArgument, JsonOption, VersionArgument
from deepclean.cli.options import ConfigOption, SetOption
from deepclean.config import load

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="The model store: its versions, and which of them are in force.", no_args_is_help=True
)
app.command("publish")(models_change.publish)
app.command("import")(models_change.import_)
app.command("promote")(models_change.promote)
app.command("clear-canary")(models_change.clear_canary)
app.command("rollback")(models_change.rollback)
app.command("prune")(models_change.prune)


@app.command("list")
def list_versions(
    config: ConfigOption,
    coupling: AnyCoupling = None,
    as_json: JsonOption = False,
    override: SetOption = None,
) -> None:
    """List the versions of every coupling of a configuration, or of one.

    What is damaged is listed as that, and makes the exit status 1.
    """
    settings = load(config, override or ())
    from deepclean.models import versions

    listed: list[dict[str, Any]] = []
    for name, directory in stored.directories(settings, coupling).items():
        present = [tables.row(directory / str(n)) for n in versions.versions(directory)]
        enabled = settings.couplings[name].enabled
        one = {"coupling": name, "enabled": enabled, **tables.pointers(directory)}
        listed.append({**one, "versions": present})
    if as_json:
        print(json.dumps(listed, indent=2))
    else:
        stored.console().print(_list(listed))
    if any(tables.is_damaged(one) for one in listed):
        raise typer.Exit(1)


def _list(listed: list[dict[str, Any]]) -> Table:
    """Return the versions of couplings as a table."""
    from rich.table import Table

    table = Table()
    for column in ("coupling", "version", "pointer", "network", "parent", "trained on (GPS)"):
        table.add_column(column)
    table.add_column("ASD ratio", justify="right")
    for one in listed:
        name = str(one["coupling"]) + ("" if one["enabled"] else " (disabled)")
        for row in one["versions"] or [None]:
            table.add_row(name, *tables.cells(row, one))
            name = ""
        for pointer in one["faults"]:
            table.add_row(name, "", pointer, *tables.DAMAGED)
    return table


@app.command("show")
def show(
    config: ConfigOption,
    coupling: CouplingArgument,
    version: VersionArgument = "production",
    as_json: JsonOption = False,
    override: SetOption = None,
) -> None:
    """Show a version's manifest, and what happened to it."""
    settings = load(config, override or ())
    from rich.table import Table

    from deepclean.models import log as model_log
    from deepclean.models import rejections, versions

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
    console = stored.console()
    console.print(f"{directory / str(number)}", style="bold", soft_wrap=True)
    console.print(table)
    if made:
        console.print(tables.history(made))


@app.command("log")
def log(
    config: ConfigOption,
    coupling: CouplingArgument,
    as_json: JsonOption = False,
    override: SetOption = None,
) -> None:
    """Print who changed what in a coupling's store, when and why."""
    settings = load(config, override or ())
    from deepclean.models import log as model_log

    made = model_log.read(stored.directory(settings, coupling)).changes
    if as_json:
        print(json.dumps([change.facts() for change in made], indent=2))
        return
    stored.console().print(tables.history(made))


@app.command("diff")
def diff(
    config: ConfigOption,
    coupling: CouplingArgument,
    one: VersionArgument,
    other: VersionArgument,
    as_json: JsonOption = False,
    override: SetOption = None,
) -> None:
    """Compare two versions: their manifests, validation figures, weights and output."""
    settings = load(config, override or ())
    from dataclasses import asdict

    from rich.table import Table

    from deepclean.models import diff as difference

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
    console = stored.console()
    console.print(table)
    weights = "of other shapes" if found.weights is None else f"{found.weights:.3g} of their norm"
    output = "not comparable" if found.output is None else f"{found.output:.3g} of its rms"
    console.print(f"weights apart: {weights}; output for the golden input apart: {output}")


@app.command("verify")
def verify(
    config: ConfigOption,
    coupling: AnyCoupling = None,
    version: Annotated[
        str | None,
        typer.Argument(help="Version; default: all, and the pointers.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    override: SetOption = None,
) -> None:
    """Check hashes, golden outputs, file modes, symlinks and owners; status 2 if one is wrong."""
    settings = load(config, override or ())
    from deepclean.models import verify as checks
    from deepclean.models import versions

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
        console = stored.console()
        for result in results:
            of = result["version"]
            console.print(
                f"{result['coupling']} {'pointers and log' if of is None else f'version {of}'}: ",
                end="",
            )
            good = not result["faults"]
            console.print("good" if good else "BAD", style="green" if good else "red")
            for fault in result["faults"]:
                console.print(f"  {fault}", soft_wrap=True, markup=False)
    if any(result["faults"] for result in results):
        raise typer.Exit(2)
