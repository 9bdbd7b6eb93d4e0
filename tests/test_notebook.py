"""docs/example.ipynb: its cells run one after the other, in a process of their own."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "example.ipynb"
HELD = json.loads(NOTEBOOK.read_text())
CELLS = ["".join(cell["source"]) for cell in HELD["cells"] if cell["cell_type"] == "code"]

KERNEL = """
import ast

def run(cells):
    # As a kernel does: each cell is compiled by itself, all share one namespace, and the value of
    # a last expression is shown.
    names = {"__name__": "__main__"}
    for number, source in enumerate(cells):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            print(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))
"""


def test_it_is_a_notebook_without_outputs() -> None:
    assert (HELD["nbformat"], HELD["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in HELD["cells"]}) == len(HELD["cells"])
    for cell in HELD["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    for source in CELLS:
        ast.parse(source)  # plain Python, so that what runs below is what a kernel runs


@pytest.mark.slow
def test_its_cells_run(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(f"{KERNEL}\nrun({CELLS!r})\n")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (ratio,) = re.findall(r"mean ASD ratio, .*: ([\d.]+)", done.stdout)
    assert float(ratio) < 0.8
    assert "STRAIN_GOOD [(1420000000.0, 1420000064.0)]" in done.stdout
    assert "'in_band'" in done.stdout
