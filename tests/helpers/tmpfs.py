"""File systems of memory, mounted for a test, and the files that are open."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

SMALL = ("-t", "tmpfs", "-o", "size=64k", "tmpfs")
"""A disk of 64 KiB."""


class Mount(Protocol):
    """Mounts on a directory, or changes how something is mounted there."""

    def __call__(self, directory: Path, *options: str | Path) -> None: ...


class Mounts:
    """What a test has mounted. Skips the test where that is not allowed."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root, to mount a small file system")
        self._mounted: list[Path] = []

    def mount(self, directory: Path, *options: str | Path) -> None:
        directory.mkdir(exist_ok=True)
        command = ["mount", *options, directory]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and not self._mounted:
            pytest.skip(f"may not mount here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        if "remount" not in str(options):
            self._mounted.append(directory)

    def undo(self) -> None:
        for directory in self._mounted:
            subprocess.run(["umount", "--lazy", directory], check=True)


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
