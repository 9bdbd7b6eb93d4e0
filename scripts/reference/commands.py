"""The page of every command with its options, and of the exit statuses."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from deepclean.cli import app
from deepclean.errors import OF_COMMANDS, ExitStatus
from scripts.reference.markdown import NOTE, code, prose, table

# What typer calls the types of values. Its classes of commands have no public names.
_TYPES = {
    "path": "PATH",
    "list[Path]": "PATH",
    "str": "TEXT",
    "list[str]": "TEXT",
    "int": "NUMBER",
    "int range": "NUMBER",
    "float": "NUMBER",
    "float range": "NUMBER",
}

_HEAD = f"""{NOTE}
# Commands

`deepclean COMMAND --help` prints the same. Times of the options `--start` and `--end` are GPS
seconds unless the option says more. [Exit statuses](#exit-statuses) are at the end of this page.

"""


def commands() -> dict[str, Any]:
    """Return every command that help shows, by its words after `deepclean`."""
    return dict(_commands(get_command(app), ()))


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(words), command
        return
    for name, each in inner.items():
        if not each.hidden:
            yield from _commands(each, (*words, name))


def page() -> str:
    """Return the page."""
    found = commands()
    firsts = ((f"[{name}](#{_anchor(name)})", _first(each)) for name, each in found.items())
    text = _HEAD + table(("command", "what it does"), firsts)
    for name, command in found.items():
        text += _section(name, command)
    return text + _statuses()


def _anchor(name: str) -> str:
    return f"deepclean-{name.replace(' ', '-')}"


def _first(command: Any) -> str:
    """Return the first sentence of a command's help."""
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


def parameters(command: Any) -> list[tuple[str, str]]:
    """Return arguments and options as help prints them: how each is written, and its meaning."""
    context = typer.Context(command)
    records = (each.get_help_record(context) for each in command.get_params(context))
    return [(record[0], record[1]) for record in records if record is not None]


def _section(name: str, command: Any) -> str:
    words = " ".join(map(_word, command.params)).split()
    usage = " ".join(["deepclean", name, *words, "[OPTIONS]"])
    text = f"\n## deepclean {name}\n\n`{usage}`\n\n"
    text += f"{prose(inspect.cleandoc(command.help or ''))}\n\n"
    rows = ((_written(names), said.replace("  [", " [")) for names, said in parameters(command))
    return text + table(("argument or option", "meaning"), rows)


def _word(parameter: Any) -> str:
    """Return how an argument stands in the usage; empty for options."""
    if parameter.param_type_name != "argument":
        return ""
    word = (parameter.metavar or parameter.name).rstrip(".").upper()
    word += "..." if parameter.nargs == -1 else ""
    return word if parameter.required else f"[{word}]"


def _written(names: str) -> str:
    """Return how an option is written, with typer's names of types as words."""
    is_argument = not names.startswith("-")
    for name, word in _TYPES.items():
        names = names.replace(f"<{name}>", "" if is_argument else word)
    return code(names.strip())


def _statuses() -> str:
    text = "\n## Exit statuses\n\n"
    text += table(("status", "meaning"), ((code(int(each)), each.about) for each in ExitStatus))
    text += "\nOf single commands:\n\n"
    rows = ((code(name), code(int(status)), said) for (name, status), said in OF_COMMANDS.items())
    return text + table(("command", "status", "meaning"), rows)
