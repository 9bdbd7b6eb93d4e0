"""The page of every configuration key, made from the configuration's JSON schema."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from deepclean.config import json_schema
from deepclean.control.reload import LIVE
from scripts.reference.markdown import NOTE, Key, code, keys, kind, table

_OPTIONAL = ("extends", "band")
"""Keys of files that are no fields: without a default, and not required."""

_HEAD = f"""{NOTE}
# Configuration keys

Every key that a configuration file may state, with its type, its default and its meaning. A key
that is not stated has its default. Paths are taken from the directory of the file that states them.
*Seconds* are a number or a decimal string, exact to a nanosecond.

- `extends: FILE` starts from another file. Mappings are merged by key; an empty one empties it.
  All else is replaced.
- `--set KEY=VALUE` overrides a key on the command line.
- `DEEPCLEAN__SECTION__KEY=VALUE` overrides it in the environment.
- `deepclean config FILE` prints all keys of a file with their values.
- `deepclean config --schema` prints the JSON schema that this page is made from.

A key marked *live* is taken by a running daemon after `deepclean reload`
([control.md](control.md#read-the-configuration-again)). All others need a restart.

"""


def entries() -> list[Key]:
    """Return every key of the configuration; under `couplings` the names stand as `<name>`."""
    return list(keys(json_schema()))


def page() -> str:
    """Return the page."""
    text = _HEAD
    found = entries()
    sections = {key.path: key for key in found if key.section}
    for path, group in groupby(sorted(found, key=_order(found)), key=_parent):
        inside = [key for key in group if not key.section]
        if not inside:
            continue
        if path:
            about = sections[_named(path)].about
            text += f"\n## `{'.'.join(path)}`\n\n{about}\n\n"
        else:
            text += "## Top level\n\n"
        text += table(("key", "type", "default", "meaning"), (_row(key) for key in inside))
    return text


def _order(found: list[Key]) -> Any:
    """Return the sort key by which the keys of a section stand together, sections in file order."""
    parents = list(dict.fromkeys(_parent(key) for key in found))
    return lambda key: parents.index(_parent(key))


def _parent(key: Key) -> tuple[str, ...]:
    return key.path[:-1]


def _named(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the key of a section of which `path` may be one of several."""
    if path[-1] == "<name>":
        return path[:-1]
    return (*path[:-1], path[-1].removesuffix("[]"))


def _row(key: Key) -> tuple[str, str, str, str]:
    if "default" not in key.node:
        default = "" if key.path[-1] in _OPTIONAL else "required"
    else:
        value = key.node["default"]
        default = "empty" if value in ("", [], {}) else code(value)
    about = f"{key.about}{' *Live.*' if key.name in LIVE else ''}"
    return f"`{key.path[-1]}`", kind(key.node), default, about
