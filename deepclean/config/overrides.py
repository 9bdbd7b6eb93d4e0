"""Overrides: `--set key.path=value` and `DEEPCLEAN__KEY__PATH=value`, values in YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepclean.config.checked import Config
from deepclean.config.faults import show_key, step, valid_names
from deepclean.config.files import UnreadableError, YamlSource, normalise, parse
from deepclean.core.channels import frame_part
from deepclean.errors import nearest

PREFIX = "DEEPCLEAN__"
"""Begins the name of each environment variable that overrides a key."""

_EXAMPLES = "--set engine.hop=0.0625 or DEEPCLEAN__ENGINE__HOP=0.0625"


@dataclass(frozen=True, slots=True)
class Override:
    """One key to be set from outside the files.

    Args:
        label: the option or the variable, for messages.
        parts: the key's names as given.
        value: the text behind the equals sign.
        fold: returns the form in which names and keys are compared.
    """

    label: str
    parts: Sequence[str]
    value: str
    fold: Callable[[str], str]


def collect(options: Sequence[str], environ: Mapping[str, str]) -> Iterator[Override]:
    """Yield the overrides in the order in which they apply: the command line's come last."""
    for name, value in sorted(environ.items()):
        # A unit file or a container sets variables that it has no value for to nothing.
        if name.upper().startswith(PREFIX) and value.strip():
            yield Override(name, name[len(PREFIX) :].split("__"), value, frame_part)
    for option in options:
        key, equals, value = option.partition("=")
        yield Override(f"--set {option}", key.split(".") if equals else (), value, str)


def source(override: Override, tree: Mapping[str, Any]) -> YamlSource:
    """Return the keys that an override sets in a configuration that holds `tree` so far.

    Raises:
        UnreadableError: its form is wrong, its value is no YAML, or there is no such coupling.
    """
    try:
        if not override.parts or not all(override.parts):
            raise UnreadableError(f"names no key and value; write it like {_EXAMPLES}")
        key = _located(override, tree)
        value, faults = _parsed(override.value)
        for part in reversed(key):
            value = {part: value}
        value, more = normalise(value, Path.cwd())
        for fault in (*faults, *more):
            raise UnreadableError(fault)
    except UnreadableError as error:
        raise UnreadableError(f"{override.label}: {error}") from error
    return YamlSource(override.label, value)


def _parsed(text: str) -> tuple[Any, list[str]]:
    """Return a value and its faults. It is one line, so what follows a # is no comment.

    Raises:
        UnreadableError: it is no YAML.
    """
    value, faults = parse(text)
    if isinstance(value, str) and value != text.strip() and text.strip()[0] not in "'\"|>!&":
        return text.strip(), faults
    return value, faults


def _located(override: Override, tree: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key in the schema's spelling, an unknown key unchanged; no new coupling."""
    key: tuple[str, ...] = ()
    kind: Any = Config
    inside: Any = tree
    for part in override.parts:
        present = tuple(inside) if isinstance(inside, Mapping) else ()
        names = valid_names(kind) or present
        matches = [name for name in names if override.fold(name) == override.fold(part)]
        if not matches and key == ("couplings",):
            raise UnreadableError(_no_coupling(part, present))
        name = matches[0] if matches else part if override.fold is str else part.lower()
        key, kind = (*key, name), step(kind, name)
        inside = inside.get(name) if isinstance(inside, Mapping) else None
    return key


def _no_coupling(name: str, present: Sequence[str]) -> str:
    guess = nearest(name, present)
    remedy = f"did you mean {guess}?" if guess else "set it up in a file first"
    return f"{show_key(('couplings', name))}: no such coupling; {remedy}"
