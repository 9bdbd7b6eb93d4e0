"""What a command left behind, and how tests run one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]
"""Run a command line in a directory: `run(place, "models list -c small.yaml", NAME="value")`."""
