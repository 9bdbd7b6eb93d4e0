"""The pages docs/reference-*.md: as the code says today, with an entry for everything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

from deepclean.cli import app
from deepclean.config import Config
from deepclean.control.reload import LIVE
from deepclean.core import reasons
from deepclean.core.output.products import State
from deepclean.errors import OF_COMMANDS, ExitStatus
from deepclean.io import gwf
from scripts import reference
from scripts.reference import configuration, frames, monitoring
from scripts.reference.commands import commands, parameters
from tests.helpers import small_site as site
from tests.helpers.commands import Run
from tests.helpers.metrics_run import made
from tests.helpers.pages import ROOT

CLI = ROOT / "deepclean" / "cli"
TEXT = {name: (ROOT / "docs" / name).read_text() for name in reference.PAGES}


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_is_up_to_date(name: str) -> None:
    assert reference.PAGES[name]() == TEXT[name], "run scripts/draw_reference"


def test_no_entry_is_empty() -> None:
    """The column that says what a thing is has a text in every row."""
    for name, text in TEXT.items():
        tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        assert tables, name
        for head, _, *rows in ([line.split(" | ") for line in t.splitlines()] for t in tables):
            columns = [cell.strip("| ") for cell in head]
            said = next(
                columns.index(c) for c in columns if re.match("meaning|what|cause|answer", c)
            )
            assert all(len(row[said].strip("| ")) > 5 for row in rows), f"{name}: {rows}"


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field of a tree of models; `<name>` stands for names of mappings."""
    for name, field in model.model_fields.items():
        yield (*path, name)
        for inner, step in sections(field.annotation):
            below = (*path, f"{name}[]") if step == "[]" else (*path, name, *step.split())
            yield from fields(inner, below)


def sections(kind: Any, step: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the models that a type is made of, and how one gets to them."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, step
    name = getattr(getattr(kind, "__origin__", None), "__name__", "")
    for inner in get_args(kind):
        yield from sections(inner, {"Mapping": "<name>", "tuple": "[]"}.get(name, step))


def test_every_key_has_an_entry() -> None:
    found = {".".join(path) for path in fields(Config)}
    assert len(found) > 130
    entries = {key.name: key for key in configuration.entries()}
    assert found <= entries.keys()
    assert entries.keys() - found == {"extends", "couplings.<name>.band"}
    text = TEXT["reference-configuration.md"]
    for key in entries.values():
        where = f"## `{key.name}" if key.section else f"\n| `{key.path[-1]}` |"
        assert where in text, key.name
        assert key.about, key.name


def test_live_keys_are_marked() -> None:
    entries = {key.name for key in configuration.entries()}
    assert set(LIVE) <= entries
    assert TEXT["reference-configuration.md"].count("*Live.*") == len(LIVE)


def test_every_command_and_option_has_an_entry() -> None:
    text = TEXT["reference-commands.md"]
    tree: Any = get_command(app)
    names = [
        f"{name} {inner}" if inner else name
        for name, each in tree.commands.items()
        for inner in getattr(each, "commands", None) or [""]
        if not each.hidden
    ]
    assert names == list(commands())
    for name, command in commands().items():
        section = re.split(rf"^## deepclean {name}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
        for option in (each for each in command.params if not each.hidden):
            for opt in option.opts if option.param_type_name == "option" else ():
                assert opt in section, f"{name} {opt}"
        assert all(said for _, said in parameters(command)), name


def test_every_exit_status_has_an_entry() -> None:
    text = TEXT["reference-commands.md"].partition("## Exit statuses")[2]
    for status in ExitStatus:
        assert f"| `{int(status)}` | {status.about}" in text
    for name, status in OF_COMMANDS:
        assert name in commands()
        assert f"| `{name}` | `{int(status)}` |" in text


def test_statuses_that_commands_give_are_in_the_table() -> None:
    """No command ends with a bare number, and those that may give a verdict say what it means."""
    verdicts = set()
    for path in CLI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit":
                assert not any(isinstance(a, ast.Constant) for a in node.args), path.name
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "ExitStatus.VERDICT":
                verdicts.add(path.stem.removesuffix("_many"))
    assert verdicts == {name for name, status in OF_COMMANDS if status is ExitStatus.VERDICT}


def test_every_metric_has_an_entry(tmp_path: Path) -> None:
    config = site.make_site(tmp_path, "couplings.60Hz.adapt=gain")
    text = TEXT["reference-monitoring.md"]
    families = list(made(config).registry.collect())
    assert len(families) > 40
    for family in families:
        rows = re.findall(rf"^\| `{family.name}(?:_total|_info)?` \| (.*)$", text, re.MULTILINE)
        assert len(rows) == 1, family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert all(f"`{label}`" in rows[0] for label in labels), family.name


def test_every_address_has_an_entry() -> None:
    text = TEXT["reference-monitoring.md"]
    source = (ROOT / "deepclean/telemetry/pages.py").read_text()
    routes = re.findall(r'^ +"(/\w+)": lambda', source, re.MULTILINE)
    assert len(routes) == 8
    for path in (*routes, "/", "/metrics"):
        assert f"`{path}`" in text, path
    assert all(key.about for key in monitoring.statuses())


@pytest.fixture
def frame(tmp_path: Path, deepclean: Run) -> Path:
    """A frame that holds everything that a frame can hold."""
    site.make_site(tmp_path, seconds=12)
    more = (
        "output.products=[OUT_DQ,PRODUCTION,CANARY] output.estimates=[all] output.subtracted=true"
    )
    sets = " ".join(f"--set {each}" for each in f"{more} couplings.60Hz.adapt=gain".split())
    start = site.START + 5
    deepclean(
        tmp_path, f"replay -c small.yaml --start {start} --end {start + 1} {sets} --output out"
    )
    (path,) = (tmp_path / "out").glob("*.gwf")
    return path


def test_every_channel_has_an_entry(frame: Path) -> None:
    held = set(gwf.channels(frame))
    entries = {name for name, _, _ in frames.of_channels()}
    assert held == entries
    assert all(f"| `{name}` |" in TEXT["reference-frames.md"] for name in entries)


def test_every_bit_and_reason_has_an_entry() -> None:
    text = TEXT["reference-frames.md"]
    for bit in State:
        assert f"| {int(bit).bit_length() - 1} | `{bit.name}` |" in text
    for reason in {*reasons.ALL, *reasons.OF_GATES} - {reasons.CLEANED}:
        assert f"| `{reason}` |" in text
    assert set(reasons.OF_WITNESSES) - set(reasons.ALL) == {reasons.ZERO}
    assert f"`{reasons.ZERO}`" in text
