"""Every block of code on every page is known: a command that could run, keys that are there, or
something that is printed.

A command of `deepclean` is parsed by the command line itself, and its `--set` keys are looked up in
the configuration. Of others the program, its files and its options are looked for. RUN_BY names the
tests that really run the commands and the programs of a page.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML
from typer.main import get_command

from deepclean.cli import app
from scripts import reference
from scripts.reference import commands, configuration, monitoring
from tests.helpers.pages import MADE, PAGES, ROOT, Block, blocks

RUN_BY = {
    "README.md": "tests/docs/test_walk.py",
    "api.md": "tests/test_api.py",
    "architectures.md": "tests/models/test_packaged.py",
    "arrakis.md": "tests/streams/test_readers.py",
    "commands.md": "tests/cli/test_completion.py",
    "control.md": "tests/control/test_control.py",
    "gwosc.md": "tests/docs/test_gwosc.py",
    "metrics.md": "tests/telemetry/test_monitoring.py",
    "plot.md": "tests/plots/test_plot.py",
    "products.md": "tests/io/test_segments.py",
    "releases.md": "tests/test_wheel.py",
    "service.md": "tests/helpers/booted_service.py",
    "sgn.md": "tests/streams/test_sgn.py",
    "summary.md": "tests/summary/test_summary.py",
    "tune.md": "tests/tune/test_pages.py",
    "tutorial.md": "tests/docs/test_walk.py",
}
"""Tests that run commands of a page; each names the page."""

SHELL = {"cat", "export", "install", "mkdir", "now", "start", "sudo", "tee", "."}
SYSTEM = {"curl", "journalctl", "mkdocs", "pip", "promtool", "restorecon", "semanage", "systemctl"}
SYSTEM |= {"apptainer", "conda", "podman", "python3", "systemd-run"}

SHOWN = {
    "README.md": ["| raw strain / true floor"],
    "architecture.md": ["directories "],
    "architectures.md": ["deepclean-products/"],
    "closed-form.md": ["             in band ", "p(t) = "],
    "commands.md": ["replay: 37%"],
    "control.md": ["60Hz gain 0: from", "taken: gate."],
    "gate.md": ["GPS 14"],
    "gwosc.md": ["start, end = "],
    "method.md": ["strain frames ", "[k S + K", "taken = written"],
    "models.md": ["models/H1/60Hz/", '{"when"'],
    "page.md": ["http://127.0.0.1:9109/", '{"created_unix"'],
    "rehearsal.md": [
        *("--fault KIND", "--fault missing", "GPS 14", "H1: running", "14200000"),
        *("deepclean_input_frames_total{", "from deepclean.simulate"),
    ],
    "retrain.md": ["# sudo systemctl edit"],
    "service.md": ["[Service]"],
    "tune.md": ["as configured: ASD ratio"],
    "witnesses.md": ["channel  "],
}
"""How the blocks begin that are no commands and no configuration: what is printed, formulas."""

ALL = [block for page in PAGES for block in blocks(page)]
ENTRIES = configuration.entries()
KEYS = {key.name for key in ENTRIES}
SECTIONS = {key.path[0] for key in ENTRIES if key.section}
FREE = {
    key.name
    for key in ENTRIES
    if key.node.get("type") == "object" and "$ref" not in str(key.node.get("additionalProperties"))
}
"""Mappings below which any name will do."""

FILES = (".json", ".jsonl", ".md", ".png", ".py")
TREE: Any = get_command(app)


def program_of(command: str) -> str:
    """Return the first word of a command, behind `sudo` and its user, without its directory."""
    first = re.sub(r"^sudo (-u \w+ )?", "", command).split(maxsplit=1)[0]
    return re.sub(r"^\S*/bin/", "", first).removeprefix("./")


def is_command(block: Block) -> bool:
    first = program_of(next(block.commands(), "-"))
    ours = first.startswith(("scripts/", "benchmarks/")) or first in {"deepclean", "python"}
    return ours or (first.partition("=")[0] in SHELL | SYSTEM and " = " not in block.text[:20])


def is_configuration(block: Block) -> bool:
    if block.language:
        return block.language == "yaml"
    first = re.match(r"([a-z_]+):( |$)", block.text, re.MULTILINE)
    return first is not None and first[1] in SECTIONS | {"rule_files"}


def parts(block: Block) -> Iterator[str]:
    """Yield the single commands of a block, with a number for what the shell computes."""
    for line in block.commands():
        known = re.sub(r"\$\(\(.*?\)\)|\$now", "1420000000", line)
        known = re.sub(r"\$\([^()]*\)", "computed.gwf", known)
        known = re.sub(r"\s*<<.*|\s*>/\S+", "", known)
        yield from (part.strip() for part in re.split(r"\s(?:&&|\|)\s", known))


COMMANDS = [
    pytest.param(block, part, id=f"{block.where}-{program_of(part)}-{number}")
    for block in ALL
    if not block.language and is_command(block)
    for number, part in enumerate(parts(block))
]


@pytest.mark.parametrize("page", sorted({block.page for block in ALL}))
def test_every_block_is_known(page: str) -> None:
    shown = SHOWN.get(page, [])
    for block in (one for one in ALL if one.page == page and not one.language):
        if not is_command(block) and not is_configuration(block):
            assert block.text.startswith(tuple(shown)), f"{block.where}: what is this block?"
    for start in shown:
        assert any(b.text.startswith(start) for b in ALL if b.page == page), f"no block {start}"


@pytest.mark.parametrize(
    "block",
    [b for b in ALL if b.language and not is_configuration(b)],
    ids=lambda block: block.where,
)
def test_programs_are_of_their_language(block: Block) -> None:
    """The tests of RUN_BY run them."""
    if block.language == "toml":
        assert tomllib.loads(block.text)
    else:
        assert block.language == "python"
        compile(block.text, block.where, "exec")
    assert block.page in RUN_BY


@pytest.mark.parametrize(("block", "command"), COMMANDS)
def test_command_could_run(block: Block, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in re.findall(r"^export (\w+)=(\S+)$", block.text, re.MULTILINE):
        monkeypatch.setenv(name, value)
    words = shlex.split(re.sub(r"^sudo (-u \w+ )?", "", command))
    program = program_of(command)
    if program == "deepclean":
        parse(words[1:])
    elif program == "systemd-run":
        parse(words[words.index("/usr/local/bin/deepclean") + 1 :])
    elif program.startswith(("scripts/", "benchmarks/")):
        path = ROOT / program
        assert os.access(path, os.X_OK)
        options_are_in(path, words[1:])
    elif program == "python" and words[1] == "-c":
        compile(words[2], block.where, "exec")
    elif program == "python":
        spec = find_spec(f"{words[2]}.__main__" if is_folder(words[2]) else words[2])
        assert spec is not None
        assert spec.origin is not None
        options_are_in(Path(spec.origin).parent, words[3:])
    else:
        others(program, words[1:])


def is_folder(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir()


def parse(words: list[str]) -> None:
    """Parse a command line of `deepclean`, with all that a call checks before it does anything."""
    command, context = TREE, typer.Context(TREE, info_name="deepclean")
    if words[0].startswith("-"):  # an option in place of a command, which would do its work
        assert words[0] in {name for option in TREE.params for name in option.opts}
        return
    while getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
        context = typer.Context(command, parent=context, info_name=command.name)
    # A command that a page abbreviates lacks what is required.
    context.resilient_parsing = "..." in words
    words = [word for word in words if word != "..."]
    overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    with suppress(typer.Exit):  # of an option that does its work while it is parsed
        command.parse_args(context, words)
    for override in overrides:
        key, equals, _ = override.partition("=")
        assert equals
        is_a_key(tuple(key.split(".")))


def is_a_key(path: tuple[str, ...]) -> None:
    """Check that a configuration has a key; below free mappings any name will do."""
    if path[0] == "couplings" and len(path) > 1:
        path = ("couplings", "<name>", *path[2:])
    for name in (".".join(path[: n + 1]).replace(".[]", "[]") for n in range(len(path))):
        if name in FREE:
            return
        assert name.removesuffix("[]") in KEYS | {"couplings.<name>"}, f"no key {name}"


def options_are_in(place: Path, words: list[str]) -> None:
    """Check that a program's text names the options that it is given."""
    files = [place] if place.is_file() else sorted(place.glob("*.py"))
    shared = [ROOT / "benchmarks/common.py"]
    text = "\n".join(file.read_text() for file in [*files, *shared])
    implied = ROOT / "scripts" / f"{place.name}.py"
    text += implied.read_text() if implied.exists() else ""
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in text, f"no option {word}"


def others(program: str, words: list[str]) -> None:
    """Check what can be of a program of the system: its files, our units, our addresses."""
    said = " ".join(words)
    for unit in re.findall(r"deepclean(?:-\w+)?@", said):
        assert any((ROOT / "systemd").glob(f"{unit}.*"))
    if program == "promtool":
        assert (ROOT / words[-1]).exists()
    if program == "curl":
        path = re.sub(r"^http://127.0.0.1:\d+", "", words[-1])
        assert any(f"`{path}`" in row for row, _ in monitoring.addresses())
    if program in {"apptainer", "podman"} and words[0] == "run":
        image = max(i for i, word in enumerate(words) if word in {"deepclean", "deepclean.sif"})
        if words[image + 1 :]:
            parse(words[image + 1 :])
    if program == ".":
        assert (ROOT / words[0]).exists()


@pytest.mark.parametrize(
    "block",
    [
        b
        for b in ALL
        if is_configuration(b) and not is_command(b) and "scrape_configs" not in b.text
    ],
    ids=lambda block: block.where,
)
def test_keys_of_a_page_are_there(block: Block) -> None:
    for path in leaves(YAML(typ="safe").load(block.text)):
        is_a_key(path)


def leaves(tree: Any) -> Iterator[tuple[str, ...]]:
    """Yield the paths of a mapping's values; an item of a list stands as `[]`."""
    if isinstance(tree, list):
        yield from (("[]", *rest) for item in tree for rest in leaves(item) if rest)
    if not isinstance(tree, dict):
        yield ()
        return
    for key, inner in tree.items():
        yield from ((str(key), *rest) for rest in leaves(inner))


def test_keys_in_the_text_are_there() -> None:
    """Every word such as `gate.window` whose first part is a section of the configuration."""
    prefixes = {name.rpartition(".")[0] for name in KEYS} | KEYS
    # The first has attributes of that form, the second keys of the document at /status.
    others = {"architecture.md", "reference-monitoring.md"}
    for page in (page for page in PAGES if page.name not in others):
        for word in re.findall(r"`([a-z_]+(?:\.[a-z_<>]+)+)(?:: [^`]*)?`", page.read_text()):
            if word.partition(".")[0] in SECTIONS and not word.endswith(FILES):
                assert word in prefixes, f"{page.name}: no key {word}"


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_tests_that_run_a_page_name_it(page: str, test: str) -> None:
    assert page in (ROOT / test).read_text()


def test_made_pages_need_no_commands() -> None:
    made = [page.name for page in PAGES if page.read_text().startswith(MADE)]
    assert made == sorted(reference.PAGES)
    assert not [block.where for block in ALL if block.page in made]
    assert len(commands.commands()) > 20
