"""Workers are forked from a server that was prepared, and are as if started now."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from deepclean.system import processes


def test_workers_have_environment_and_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    processes.prepare("deepclean.worker")
    # What does a job is a function of the standard library, given the job and whom to tell.
    environment = partial(partial, os.getenv)
    for value in ("one", "another"):
        monkeypatch.setenv("DEEPCLEAN_TEST", value)
        assert list(processes.outcomes(environment, ["DEEPCLEAN_TEST"], 1)) == [(0, value)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    (there,) = processes.outcomes(partial(partial, listed), ["."], 1)
    assert there == (0, ["here"])


def listed(directory: str, tell: object) -> list[str]:
    return [path.name for path in Path(directory).iterdir()]


def test_workers_import_from_where_this_process_does(tmp_path: Path) -> None:
    """Where its path is not that of the environment, and another of the name is there too."""
    for place, value in (("known", "the installed one"), ("ours", "ours")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "somebody.py").write_text(f"def done(job, tell): return {value!r}\n")
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path / "ours")!r})
import somebody
from functools import partial
from deepclean.system import processes
processes.prepare("somebody")
print(*processes.outcomes(partial(partial, somebody.done), [0], 1))
"""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "known"), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        text=True,
        env=environment,
    )
    assert done.stdout.strip() == "(0, 'ours')"


@pytest.mark.slow
def test_workers_import_nothing_from_the_working_directory(tmp_path: Path) -> None:
    """A folder of data may hold a `numpy.py`, or a copy of this package."""
    for name in ("colorsys.py", "numpy.py", "deepclean.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the working directory')\n")
    script = """
from functools import partial
import os
from deepclean.system import processes
if __name__ == "__main__":
    processes.prepare("colorsys", "deepclean.worker")
    print(*processes.outcomes(partial(partial, os.getenv), ["HOME"], 1))
"""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "command").write_text(script)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "bin" / "command")],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.stdout.strip() == f"(0, {os.environ['HOME']!r})"
    assert "working directory" not in done.stderr
