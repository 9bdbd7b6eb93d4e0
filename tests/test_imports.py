"""The package as a house: no import circle, late imports only of heavy libraries, small files.

The imports are parsed, not run, at every level: in modules, in functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "deepclean"

HEAVY = {
    "numpy": "reads the number of threads when it is imported, so the configuration comes first",
    "scipy": "imports numpy",
    "torch": "imports numpy, and takes seconds",
    "ignite": "imports torch; an optional extra",
    "h5py": "imports numpy",
    "gwframe": "imports numpy",
    "gwpy": "takes seconds, and changes matplotlib",
    "matplotlib": "takes half a second; only figures need it",
    "lal": "takes a quarter of a second; only the simulator needs it",
    "lalsimulation": "imports lal",
    "jinja2": "only the page of a report needs it",
    "arrakis": "an optional extra",
    "ezdag": "an optional extra",
    "optuna": "an optional extra",
    "wandb": "an optional extra",
    "rich": "takes 60 ms; only tables and progress bars need it",
}
"""Libraries that may be imported in a function or under TYPE_CHECKING, each with the reason. So may
the modules of this package that import one of them, directly or not."""


TWICE: Mapping[str, str] = {}
"""Class names that are defined twice, each with the reason."""


class Import(NamedTuple):
    """One import of a module."""

    target: str
    late: bool
    line: int


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(node: ast.AST, late: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names):
                yield from (Import(each.name, late, child.lineno) for each in names)
            case ast.ImportFrom(str(module), names):
                for each in names:
                    full = f"{module}.{each.name}"
                    yield Import(full if full in MODULES else module, late, child.lineno)
            case ast.If(test) if "TYPE_CHECKING" in ast.unparse(test):
                yield from _imports(child, late=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, late=True)
            case _:
                yield from _imports(child, late)


@cache
def imports(module: str) -> tuple[Import, ...]:
    """Return the imports of a module at every level."""
    return tuple(_imports(ast.parse(MODULES[module].read_text())))


@cache
def heavy() -> frozenset[str]:
    """Return the heavy libraries, and the modules that import one when they are imported."""
    found = set(HEAVY)
    while True:
        more = {
            module
            for module in MODULES.keys() - found
            if any(not each.late and not found.isdisjoint(_loads(each)) for each in imports(module))
        }
        if not more:
            return frozenset(found)
        found |= more


def _loads(each: Import) -> list[str]:
    """Return what an import loads: the module, and the packages that hold it."""
    parts = each.target.split(".")
    whole = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return whole if parts[0] == "deepclean" else parts[:1]


def test_imports_make_no_circle() -> None:
    graph = {
        module: {each.target for each in imports(module) if each.target in MODULES}
        for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_late_imports_are_of_heavy_libraries(module: str) -> None:
    light = [
        f"{MODULES[module]}:{each.line} {each.target}"
        for each in imports(module)
        if each.late and heavy().isdisjoint(_loads(each))
    ]
    assert light == []


def test_the_top_has_five_modules() -> None:
    names = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert names == {"__main__", "api", "errors", "factory", "worker"}


def test_no_folder_is_full() -> None:
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    full = {
        str(folder.relative_to(PACKAGE))
        for folder in folders
        if folder.name != "__pycache__"
        and sum(path.is_file() for path in folder.iterdir()) > 20
        and not any(path.is_dir() and path.name != "__pycache__" for path in folder.iterdir())
    }
    assert full == set()


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES.values()}
    long = {str(path.relative_to(PACKAGE)) for path, lines in lengths.items() if lines > 350}
    assert long == set()


def test_class_names_have_one_meaning() -> None:
    places = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert twice.keys() <= TWICE.keys(), twice
