"""What a release is made of, built offline, and an environment that has it and no checkout."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SOURCES = (
    *("deepclean", "config", "models", "systemd", "monitoring", "scripts", "docs"),
    *("pyproject.toml", "README.md", "LICENSE"),
)
"""What the packages are built from."""


def copy_sources(place: Path) -> Path:
    """Copy what the packages are built from, links as links; a build leaves files beside it."""
    for name in SOURCES:
        source, target = ROOT / name, place / name
        if source.is_dir():
            left = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target, symlinks=True, ignore=left)
        else:
            shutil.copy(source, target)
    return place


def type_line(place: Path, line: str, **more: str) -> str:
    """Run a documented command line in a directory, with this environment's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env = {**kept, "PATH": path, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}
    done = subprocess.run(
        ["bash", "-ec", line], cwd=place, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def make_environment(place: Path, *wheels: Path) -> Path:
    """Make an environment with these wheels and return its folder of programs.

    Every other package comes from the environment that runs the tests, but for its own deepclean:
    that is installed by a finder in a .pth file, which Python reads in the environment's own folder
    only.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    files = shlex.join(map(str, wheels))
    type_line(place.parent, f"pip --python {place}/bin/python install --no-deps --quiet {files}")
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"
