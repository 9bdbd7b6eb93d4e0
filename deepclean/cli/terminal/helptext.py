"""The help of commands: docstrings are folded for the source, and a terminal folds for itself."""

from __future__ import annotations

from inspect import cleandoc

import typer


def unfold(text: str) -> str:
    r"""Return a text whose paragraphs are one line each.

    >>> unfold("Clean a span.\n\nWhat is finished\nis skipped.")
    'Clean a span.\n\nWhat is finished is skipped.'
    """
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def unfold_help(app: typer.Typer) -> None:
    """Take the docstrings of all commands of an application as its help, unfolded."""
    for command in app.registered_commands:
        if command.help is None and command.callback is not None:
            command.help = unfold(cleandoc(command.callback.__doc__ or ""))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            unfold_help(group.typer_instance)
