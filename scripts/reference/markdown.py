"""Tables and schemas as Markdown."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

NOTE = (
    "<!-- Made from the code by scripts/draw_reference: change the code and run that again. -->\n"
)
"""The first line of every page."""

_WHOLE = {("exclusiveMinimum", 0): "at least 1", ("minimum", 0): "at least 0"}
_REAL = {("exclusiveMinimum", 0): "above 0", ("minimum", 0): "at least 0"}
_LISTS = {"number": "numbers", "text": "texts", "path": "paths"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell is one line of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell(text) for text in line)} |\n" for line in lines)


def cell(text: str) -> str:
    """Return text as one line that ends no cell."""
    return prose(" ".join(text.split())).replace("|", "\\|")


def prose(text: str) -> str:
    """Return a docstring's text: what looks like a tag is none, and pages of docs/ are links.

    >>> prose("`<a>` is <store>/1 (docs/gate.md)")
    '`<a>` is &lt;store>/1 ([gate.md](gate.md))'
    """
    parts = text.split("`")
    parts[::2] = [
        re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", part.replace("<", "&lt;")) for part in parts[::2]
    ]
    return "`".join(parts)


def code(value: object) -> str:
    """Return a value as YAML and JSON write it, set as code."""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def constants(module: str) -> dict[str, str]:
    """Return the texts that stand under the constants of a module, by the constants' names."""
    body = _parsed(module).body
    found = {}
    for statement, below in pairwise(body):
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(
                value=ast.Constant(value=str(text))
            ):
                found[name] = text
    return found


def rows_of(module: str) -> list[list[str]]:
    """Return the rows of the table in a module's docstring, without its head."""
    said = ast.get_docstring(_parsed(module)) or ""
    lines = [line.strip() for line in said.splitlines() if line.strip().startswith("|")]
    return [[each.strip() for each in line.strip("|").split("|")] for line in lines[2:]]


def _parsed(module: str) -> ast.Module:
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return ast.parse(Path(found.origin).read_text())


@dataclass(frozen=True)
class Key:
    """A key of a JSON schema.

    Args:
        path: the keys that lead to it.
        node: its own schema.
        about: what its description says.
        section: whether it holds other keys, which follow.
    """

    path: tuple[str, ...]
    node: Mapping[str, Any]
    about: str
    section: bool

    @property
    def name(self) -> str:
        """The key with those that lead to it, joined by dots."""
        return ".".join(self.path)


def keys(schema: Mapping[str, Any]) -> Iterator[Key]:
    """Yield every key of a JSON schema, a section before the keys in it."""
    yield from _keys(schema, schema.get("$defs", {}), ())


def _keys(
    node: Mapping[str, Any], parts: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[Key]:
    for name, inner in node.get("properties", {}).items():
        reference, step = _below(inner)
        part = parts[reference.rpartition("/")[2]] if reference else None
        about = inner.get("description") or (part or {}).get("description", "")
        here = (*path, name)
        yield Key(here, inner, about, part is not None)
        if part is not None:
            yield from _keys(part, parts, (*path, f"{name}{step}") if step == "[]" else here + step)


def _below(node: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the reference to the part that a node holds, and the step to that part's keys."""
    if "$ref" in node:
        return str(node["$ref"]), ()
    for one in node.get("anyOf", ()):
        if "$ref" in one:
            return str(one["$ref"]), ()
    if "$ref" in (items := node.get("items", {})):
        return str(items["$ref"]), "[]"
    more = node.get("additionalProperties")
    if isinstance(more, Mapping) and "$ref" in more:
        return str(more["$ref"]), ("<name>",)
    return "", ()


def kind(node: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "anyOf" in node:
        return " or ".join(kind(one) for one in node["anyOf"])
    values = node.get("enum", [node["const"]] if "const" in node else [])
    if values:
        return ", ".join(code(each) for each in values)
    name = node.get("type")
    if name == ["number", "string"]:
        return "seconds"
    return _KINDS[name](node) if name in _KINDS else "section"


def _limits(node: Mapping[str, Any], words: Mapping[tuple[str, int], str]) -> str:
    """Return the limits of a number, led by a comma, but for those that keep it finite."""
    found = [said for (key, value), said in words.items() if node.get(key) == value]
    highest = node.get("exclusiveMaximum")
    found += [f"below {highest}"] * (highest is not None and highest <= 1 << 16)
    return f", {', '.join(found)}" if found else ""


def _list(node: Mapping[str, Any]) -> str:
    items = node.get("items", {})
    if node.get("minItems") == node.get("maxItems") == 2:
        return "two numbers, `[low, high]`"
    inner = kind(items)
    if "$ref" in items:
        return "list of sections"
    if items.get("type") == "array":
        return f"list of pairs {inner.partition(', ')[2]}"
    return f"list of {_LISTS.get(inner, inner)}"


def _mapping(node: Mapping[str, Any]) -> str:
    more = node.get("additionalProperties")
    return f"mapping of {kind(more)} by name" if isinstance(more, Mapping) else "mapping"


_KINDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "array": _list,
    "boolean": lambda _: "`true`, `false`",
    "integer": lambda node: f"whole number{_limits(node, _WHOLE)}",
    "null": lambda _: "`null`",
    "number": lambda node: f"number{_limits(node, _REAL)}",
    "object": _mapping,
    "string": lambda node: "path" if node.get("format") == "path" else "text",
}
