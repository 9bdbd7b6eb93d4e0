"""Files and overrides become one checked `Config`, or one error with everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deepclean.config import overrides as outside
from deepclean.config.checked import Config
from deepclean.config.faults import (
    ConfigFault,
    Key,
    field_at,
    is_branch,
    is_semantic,
    step,
    translate,
)
from deepclean.config.files import UnreadableError, YamlSource, normalise, read
from deepclean.config.models import ModelsConfig
from deepclean.errors import ConfigError

_Origins = dict[Key, int]


def load(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Return the configuration of a file, with the files that it extends and the overrides.

    In rising precedence: the file that `path` extends, `path`, the environment, `overrides`.
    Mappings are merged key by key, everything else is replaced. Relative paths are taken from the
    directory of the file that states them, in overrides from the working directory.

    Args:
        path: a YAML file.
        overrides: `key.path=value` with the value in YAML.
        environ: `DEEPCLEAN__KEY__PATH` variables; case does not matter, and `_` stands for what a
            variable's name cannot hold (`DEEPCLEAN__COUPLINGS__137_139HZ__ENABLED`).

    Raises:
        ConfigError: a line for each fault, naming its source, its key and the remedy.
    """
    path = Path(path)
    files, lines = read(path)
    if files is None:
        raise ConfigError(lines)
    sources = [_defaults(path), *files]
    main = len(sources) - 1
    tree, origins = _merged(sources)
    for override in outside.collect(overrides, environ):
        try:
            sources.append(outside.source(override, tree))
        except UnreadableError as error:
            lines.append(str(error))
        tree, origins = _merged(sources)
    config, faults = _validated(tree)
    for fault in faults:
        lines.append(f"{sources[_blamed(fault, origins, main)].label}: {fault}")
    if config is None or lines:
        raise ConfigError(lines)
    return config


def _defaults(path: Path) -> YamlSource:
    """Return the schema's relative paths, taken from the directory of the main file."""
    directory = str(ModelsConfig.model_fields["directory"].default)
    tree, _ = normalise({"models": {"directory": directory}}, path.absolute().parent)
    return YamlSource(str(path), tree)


def _merged(sources: Sequence[YamlSource]) -> tuple[dict[str, Any], _Origins]:
    """Return all sources in one tree, and for each key the position of the last that sets it."""
    tree: dict[str, Any] = {}
    origins: _Origins = {}
    for index, source in enumerate(sources):
        _merge(tree, source.tree, index, origins, ())
    return tree, origins


def _merge(
    tree: dict[str, Any], over: Mapping[str, Any], index: int, origins: _Origins, key: Key
) -> None:
    for name, value in over.items():
        here = (*key, name)
        if not (value and isinstance(value, dict) and isinstance(tree.get(name), dict)):
            origins[here] = index
            tree[name] = {} if isinstance(value, dict) else deepcopy(value)
        if isinstance(value, dict):
            _merge(tree[name], value, index, origins, here)


def _validated(tree: Mapping[str, Any]) -> tuple[Config | None, list[ConfigFault]]:
    """Return the configuration that a merged tree states, or None and all its faults.

    Validation does not stop at the first fault. A faulty value is set aside: it takes its default
    or, where it is required, the schema's example, and the tree is validated again. So the checks
    of one key against another run as well, but for those that rest on a faulty key.
    """
    repaired = deepcopy(dict(tree))
    faults: list[ConfigFault] = []
    broken: set[Key] = set()
    while True:
        try:
            config = Config.model_validate(repaired)
        except ValidationError as error:
            found = translate(error, Config, repaired)
            faults.extend(fault for fault in found if not fault.rests_on(broken))
            if is_semantic(error):
                return None, faults
            aside = {_set_aside(repaired, key) for fault in found for key in fault.keys}
            if aside <= broken:
                raise  # the schema's own examples or defaults are faulty
            broken |= aside
        else:
            return (None if faults else config), faults


def _set_aside(tree: dict[str, Any], key: Key) -> Key:
    """Remove the value at `key`, or put the example where it is required; return its key.

    That is the key of a whole field where `key` points into its value: `bands` for `bands[0]`.
    """
    node: Any = tree
    kind: Any = Config
    for depth, part in enumerate(key, start=1):
        below = step(kind, part)
        if depth < len(key) and is_branch(below):
            node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]
            kind = below
            continue
        field = field_at(kind, part)
        if field is not None and field.is_required():
            node[part] = deepcopy((field.examples or [None])[0])
        elif field is None and below is not None:
            node[part] = {}  # one of a mapping's or list's sections
        else:
            node.pop(part, None)
        return key[:depth]
    raise AssertionError("a fault without a key")


def _blamed(fault: ConfigFault, origins: _Origins, main: int) -> int:
    """Return the position of the source to be named: the last that set a key of the fault."""
    stated = [origin for key in fault.keys if (origin := _origin(key, origins)) is not None]
    if stated:
        return max(stated)
    above = (fault.keys[0][:length] for length in range(len(fault.keys[0])))
    return max([main, *(origins[key] for key in above if key in origins)])


def _origin(key: Key, origins: _Origins) -> int | None:
    """Return the position of the source that set `key`, or the list that it points into."""
    while key and isinstance(key[-1], int):
        key = key[:-1]
    return origins.get(key)
