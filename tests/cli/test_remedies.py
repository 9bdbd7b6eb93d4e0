"""Commands that messages print are commands: each is parsed as the shell would give it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from deepclean.cli import app
from tests.helpers import small_site as site
from tests.helpers.commands import Run

PACKAGE = Path(__file__).parents[2] / "deepclean"

PRINTED = re.compile(r"`(deepclean [^`]+)`")

STANDS_FOR = {"START": "1400000000", "END": "+1h", "VERSION": "1", "...": ""}
"""Words of printed commands that a person replaces, and values for them."""


def commands() -> Iterator[tuple[str, str]]:
    """Yield where a command is printed, and the command; what is filled in stands as `1`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_text()
        if not re.search("deepclean [a-z{]", content):
            continue  # parsing all takes seconds
        tree = ast.parse(content)
        parents = {c: parent for parent in ast.walk(tree) for c in ast.iter_child_nodes(parent)}
        for node in ast.walk(tree):
            if isinstance(parents.get(node), ast.Expr | ast.JoinedStr | ast.FormattedValue):
                continue  # documentation, or a part of a longer text
            match node:
                case ast.Constant(str(text)):
                    said = text
                case ast.JoinedStr(parts):
                    said = "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "1" for part in parts
                    )
                case _:
                    continue
            where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
            whole = re.match(r"deepclean [a-z]", said) and isinstance(node, ast.JoinedStr)
            for found in [said] if whole else PRINTED.findall(said):
                yield where, found


def documented() -> Iterator[tuple[str, str]]:
    """Yield the commands of the pages about commands."""
    for page in ("commands.md", "plot.md"):
        for number, line in enumerate((PACKAGE.parent / "docs" / page).read_text().splitlines()):
            if re.match(r"    deepclean [a-z]", line):
                yield f"{page}:{number + 1}", line.strip()


FOUND = {f"{where} {command}": command for where, command in [*commands(), *documented()]}


def test_there_are_such_commands() -> None:
    names = {command.split()[1] for command in FOUND.values()}
    assert {"check", "config", "init", "inspect", "models", "run", "train", "witnesses"} <= names


@pytest.mark.parametrize("found", FOUND)
def test_a_printed_command_is_one(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [STANDS_FOR.get(word, word) for word in shlex.split(FOUND[found])[1:]]
    if ".md:" in found:  # where the page has set it
        monkeypatch.setenv("DEEPCLEAN_CONFIG", "H1.yaml")
    command = get_command(app)
    name = "deepclean"
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        command = command.commands[name]
    context = command.make_context(name, [word for word in words if word])
    assert context.command is command


def test_a_remedy_names_the_file_that_was_given(deepclean: Run, tmp_path: Path) -> None:
    config = site.small_config(tmp_path)
    site.write_site(config, site.START, 2)
    span = f"--start {site.START} --end +2s"
    done = deepclean(tmp_path, f"replay -c small.yaml {span}")
    done.refused("`deepclean train -c small.yaml 60Hz --start START --end END`", status=1)
    site.publish_model(config)
    (config.models.directory / "H1" / "60Hz" / "production").unlink()
    done = deepclean(tmp_path, f"replay {span}", DEEPCLEAN_CONFIG="small.yaml")
    (remedy,) = re.findall(r"`deepclean (models promote [^`]+)`", done.stderr)
    assert remedy == "models promote -c small.yaml 60Hz VERSION"
    deepclean(tmp_path, remedy.replace("VERSION", "1")).good()
    deepclean(tmp_path, f"replay -c small.yaml {span}").good()
