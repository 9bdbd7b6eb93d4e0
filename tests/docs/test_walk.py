"""The walk of README.md and docs/tutorial.md as it is printed, in a copy of what it needs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.pages import ROOT, blocks

TUTORIAL = [b for b in blocks(ROOT / "docs/tutorial.md") if "deepclean " in b.text]
PROGRAM = [sys.executable, "-m", "deepclean"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the walk needs of the software's folder."""
    for name in ("config", "models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    subprocess.run(["chmod", "-R", "go-w", "models"], cwd=tmp_path, check=True)
    return tmp_path


def typed(folder: Path, text: str) -> str:
    """Type lines in bash; return what they print."""
    shell = f'deepclean() {{ "{sys.executable}" -m deepclean "$@"; }}\nset -e\n{text}'
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=folder, env=around, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readme_begins_as_the_tutorial_does() -> None:
    begin = [b.text for b in blocks(ROOT / "README.md") if "deepclean " in b.text]
    assert begin == [TUTORIAL[0].text]


@pytest.mark.slow
def test_the_rehearsal_on_real_strain(folder: Path, test_data: Path) -> None:
    (recipe,) = [b.text for b in blocks(ROOT / "docs/rehearsal.md") if "--background" in b.text]
    (name,) = re.findall(r"--background (\S+)", recipe)
    (folder / name).symlink_to(test_data / name)
    said = typed(folder, recipe)
    assert "rehearsal-output/strain, 32 files in" in said
    # The gate opens when it has seen a window of 8 s; the last frames lack their look-ahead.
    assert "32 frames written to demo-output/real: 22 s cleaned" in said


@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_from_nothing_to_a_live_stream(folder: Path) -> None:
    first, written, simulated, trained, listed, run, live = TUTORIAL
    said = typed(folder, first.text)
    assert "60 frames written to demo-output/first: 60 s cleaned" in said
    assert "in spec: demo-output/report/index.html" in said
    typed(folder, written.text)
    typed(folder, simulated.text)
    assert "60Hz: production is version 1" in typed(folder, trained.text)
    assert "production" in typed(folder, listed.text)
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*PROGRAM, *run.text.split()[1:]]
    with subprocess.Popen(command, cwd=folder, env=around, stderr=subprocess.DEVNULL) as daemon:
        try:
            said = typed(folder, live.text)
        finally:
            daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=60) == 0
    assert "H1: running" in said
    assert re.search(r"^142000033\d \S+ \S+  60HZ v1 gain 1.00", said, re.MULTILINE)
