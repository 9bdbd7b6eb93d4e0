"""Configuration files: YAML 1.2 read safely, `extends` followed, paths made absolute."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from deepclean.config.checked import Config
from deepclean.config.couplings import CouplingConfig
from deepclean.config.faults import Key, show_key, step
from deepclean.config.names import EXTENDS
from deepclean.config.types import show
from deepclean.errors import UnavailableError, hint, passes
from deepclean.shipped import configuration, configurations

SHIPPED = "shipped:"
"""Begins what `extends` names where that is a configuration which comes with the software."""

_CIRCULAR = "refers to itself, or is nested too deeply"


@dataclass(frozen=True, slots=True)
class YamlSource:
    """A part of the configuration and its source.

    Args:
        label: the source, for messages: a file, an environment variable, a command-line option.
        tree: the keys that it sets, normalised.
    """

    label: str
    tree: dict[str, Any]


class UnreadableError(Exception):
    """A text that cannot be read as keys and values."""


class _Constructor(SafeConstructor):
    """YAML's safe constructor that collects duplicate keys instead of stopping at the first.

    Dates stay text: YAML 1.2's core schema has none.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.duplicates: list[str] = []

    def check_mapping_key(
        self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any
    ) -> bool:
        if key not in mapping:
            return True
        line = key_node.start_mark.line + 1
        self.duplicates.append(f"line {line}: duplicate key {key}; keep one of them")
        return False


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


def parse(text: str) -> tuple[Any, list[str]]:
    """Return the value that a YAML text states, and a message per duplicate key.

    Raises:
        UnreadableError: the text is not YAML; the message names line and column.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text), yaml.constructor.duplicates
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UnreadableError(f"{where}not YAML: {problem}") from error
    except ValueError as error:  # a number of thousands of digits
        raise UnreadableError(f"not YAML: {error}") from error
    except RecursionError as error:
        raise UnreadableError(_CIRCULAR) from error


def normalise(value: Any, directory: Path) -> tuple[Any, list[str]]:
    """Return `value`, the tree that a source states, in the schema's own spelling.

    Relative paths are taken from `directory`; a coupling's `band` becomes its `bands`.

    Returns:
        The tree, and a message per key that is no text or is set twice under both names.
    """
    faults: list[str] = []
    try:
        return _normalised(value, Config, (), directory, faults), faults
    except RecursionError:
        return {}, [_CIRCULAR]


def _normalised(value: Any, kind: Any, key: Key, directory: Path, faults: list[str]) -> Any:
    if isinstance(value, list):
        return [
            _normalised(item, step(kind, index), (*key, index), directory, faults)
            for index, item in enumerate(value)
        ]
    if isinstance(value, dict):
        tree = {}
        for name, item in value.items():
            if isinstance(name, str):
                tree[name] = _normalised(item, step(kind, name), (*key, name), directory, faults)
            else:
                faults.append(f"{show_key((*key, str(name)))}: a key must be text; quote it")
        return _with_bands(tree, kind, key, faults)
    if isinstance(value, str) and Path in (kind, *get_args(kind)):
        if not value or value.startswith("~") or "\0" in value:
            faults.append(f"{show_key(key)}: {show(value)} names no directory; write it in full")
        return os.path.normpath(directory / value)
    return value


def _with_bands(tree: dict[str, Any], kind: Any, key: Key, faults: list[str]) -> dict[str, Any]:
    if kind is not CouplingConfig or "band" not in tree:
        return tree
    band = tree.pop("band")
    if "bands" in tree:
        faults.append(f"{show_key((*key, 'band'))}: both band and bands are set; keep one of them")
        return tree
    return {**tree, "bands": [band]}


def read(path: Path) -> tuple[list[YamlSource] | None, list[str]]:
    """Return the sources of `path`, the files that it extends first, and a line per fault.

    The sources are None where a file is missing, is no YAML or no mapping, or extends itself: then
    nothing more can be checked.
    """
    sources: list[YamlSource] = []
    faults: list[str] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        current, seen = following, [*seen, following]
        try:
            tree, messages = _read_one(current)
            faults.extend(f"{current}: {message}" for message in messages)
            following = _extended(tree, current, seen)
        except UnreadableError as error:
            return None, [*faults, str(error)]
        tree, messages = normalise(tree, current.absolute().parent)
        faults.extend(f"{current}: {message}" for message in messages)
        sources.insert(0, YamlSource(str(current), tree))
    return sources, faults


def _read_one(path: Path) -> tuple[dict[Any, Any], list[str]]:
    try:
        value, duplicates = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        if passes(error.errno):
            raise UnavailableError(
                f"cannot be read: {error.strerror}", path=path, errno=error.errno
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise UnreadableError(f"{path}: cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: is not UTF-8 text") from error
    except UnreadableError as error:
        raise UnreadableError(f"{path}: {error}") from error
    if value is None:
        raise UnreadableError(f"{path}: is empty; it must be a mapping of keys")
    if not isinstance(value, Mapping):
        raise UnreadableError(f"{path}: must be a mapping of keys, not {show(value)}")
    return dict(value), duplicates


def _extended(tree: dict[Any, Any], path: Path, seen: list[Path]) -> Path | None:
    if EXTENDS not in tree:
        return None
    name = tree.pop(EXTENDS)
    if not isinstance(name, str):
        raise UnreadableError(f"{path}: {EXTENDS}: must be a path, not {show(name)}")
    base = _shipped(name, path) if name.startswith(SHIPPED) else path.parent / name
    if not base.is_file():
        raise UnreadableError(f"{path}: {EXTENDS}: no such file: {base}")
    if any(base.samefile(earlier) for earlier in seen):
        chain = " -> ".join(str(each) for each in (*seen, base))
        raise UnreadableError(f"{path}: {EXTENDS}: goes in a circle: {chain}")
    return base


def _shipped(name: str, path: Path) -> Path:
    """Return the file that `shipped:H1.yaml` names in the file `path`."""
    wanted = name.removeprefix(SHIPPED)
    found = configuration(wanted.removesuffix(".yaml"))
    if found is None or not wanted.endswith(".yaml"):
        known = [f"{each}.yaml" for each in configurations()]
        raise UnreadableError(
            f"{path}: {EXTENDS}: {wanted} does not come with the software{hint(wanted, known)}"
        )
    return found
