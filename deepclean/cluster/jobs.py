"""Numbered jobs of one plan, as both schedulers run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JobArray:
    """The jobs of a plan. After all of them a last job says what is not finished.

    Args:
        name: what the plan does, for the names of jobs: `replay`.
        unit: what a job does, for the names of jobs and logs: `shard`.
        directory: of the plan, absolute; jobs run in it.
        shared: arguments of `deepclean` that all jobs have in common.
        own: by number, from 1, the arguments that a job has for itself: words without blanks.
        threads: processors that a job needs.
    """

    name: str
    unit: str
    directory: Path
    shared: tuple[str, ...]
    own: Mapping[int, tuple[str, ...]]
    threads: int

    @property
    def check(self) -> tuple[str, ...]:
        """The arguments of `deepclean` that list what is not finished."""
        return ("shards", str(self.directory))
