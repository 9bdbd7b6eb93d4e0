"""Workers are forked from a server that was prepared, and are as if started now."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from deepclean import processes


def test_workers_have_the_environment_and_the_directory_of_their_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    processes.prepare("deepclean.preloaded")
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
