"""How a command goes on after Ctrl-C, said as a command line that runs as it is printed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand

from deepclean.cli.terminal.completion import VARIABLE
from deepclean.core.time import Span, format_gps
from deepclean.system import logs


class AnnouncedInterrupt(KeyboardInterrupt):
    """Ctrl-C, after it was said how the command goes on."""


class ResumableCommand(TyperCommand):
    """A command that says on Ctrl-C how it goes on, also while it loads libraries and models."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command's function."""
        with interruptible(goes_on):
            return super().invoke(ctx)


@contextmanager
def interruptible(how: Callable[[], str]) -> Iterator[None]:
    """Say on Ctrl-C how the command goes on; its exit status is 130.

    Args:
        how: gives the sentence, as `the same command goes on:`, and on a line of its own the
            command. The innermost context that Ctrl-C leaves is the one that says it.
    """
    try:
        yield
    except AnnouncedInterrupt:
        raise
    except KeyboardInterrupt:
        sentence, _, command = how().partition("\n")
        logs.complain(f"interrupted; {sentence}")
        sys.stderr.write(f"{command}\n")  # by itself, to be copied
        raise AnnouncedInterrupt from None


def begins_anew(span: Span | None = None) -> str:
    """Return how a command goes on that leaves nothing behind."""
    return f"nothing is written; the same command begins anew:\n  {same_command(span)}"


def goes_on() -> str:
    """Return how a command goes on that is not yet, or no longer, at its work."""
    return f"the same command goes on:\n  {same_command()}"


def same_command(span: Span | None = None, *more: str) -> str:
    """Return the command line of this process, as a person types it.

    Args:
        span: stands in place of the times of `--start` and `--end`: those may be relative to now.
        more: options to add, unless they are there.
    """
    words = sys.argv[1:]
    if span is not None:
        for name, instant in (("--start", span.start), ("--end", span.end)):
            words = _with_value(words, name, format_gps(instant))
    words += [one for one in more if one not in words]
    return shlex.join(["deepclean", *words])


def configuration() -> str | None:
    """Return the configuration file that the command line or the environment names, if any does."""
    words = sys.argv[1:]
    for place, word in enumerate(words):
        if word in {"-c", "--config"} and place + 1 < len(words):
            return words[place + 1]
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return os.environ.get(VARIABLE)


def _with_value(words: list[str], name: str, value: str) -> list[str]:
    """Return the words with another value of an option, where it is among them."""
    changed = list(words)
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            changed[place + 1] = value
        elif word.startswith(f"{name}="):
            changed[place] = f"{name}={value}"
    return changed
