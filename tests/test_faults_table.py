"""The table of faults is true: every fault has a row, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAULTS = 32
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]


FOUND = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "found.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]


@cache
def defined(file: str) -> frozenset[str]:
    """Return the test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_every_fault_has_its_row() -> None:
    assert sorted(int(row[0]) for row in ROWS) == list(range(1, FAULTS + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"fault {row[0]}")
def test_every_test_that_is_named_is_there(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    named = re.findall(r"`([^`]+)`", row[3])
    assert named
    assert re.sub(r"`[^`]+`", "", row[3]).strip() == ""
    for test in named:
        file, _, function = test.partition("::")
        assert function in defined(file), test


@pytest.mark.parametrize("row", FOUND, ids=lambda row: f"found {row[0]}")
def test_every_test_of_what_was_found_is_there(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    for test in re.findall(r"`([^`]+)`", row[3]):
        file, _, function = test.partition("::")
        assert function in defined(file), test


def test_what_is_not_there_is_found() -> None:
    assert "test_that_nobody_wrote" not in defined("tests/test_faults_table.py")
    assert "test_every_fault_has_its_row" in defined("tests/test_faults_table.py")
