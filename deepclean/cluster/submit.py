"""Settings and commands of a submission, shared by HTCondor and Slurm."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from deepclean.errors import ConfigError

_KEY = re.compile(r"[A-Za-z+][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class SubmitSite:
    """The wishes of a site and a user for the jobs.

    Args:
        settings: settings of the scheduler by its own names (`partition`, `accounting_group`);
            None for a name without a value.
        together: how many shards run at a time; None for as many as the scheduler runs.
        retries: how often a shard is repeated that may succeed when it is repeated.
    """

    settings: Mapping[str, str | None] = field(default_factory=dict)
    together: int | None = None
    retries: int = 3


def settings(given: Sequence[str], ours: Collection[str]) -> dict[str, str | None]:
    """Return `KEY=VALUE` texts as a mapping. A repeated key has its last value.

    Args:
        given: the texts; `KEY` alone for a setting without a value.
        ours: keys that the plan itself sets.

    Raises:
        ConfigError: a key is malformed or set by the plan, or its value has several lines.
    """
    found: dict[str, str | None] = {}
    faults = []
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip().removeprefix("--")
        if not _KEY.fullmatch(key) or not value.isprintable():
            faults.append(f"--submit {text!r}: write it like partition=long")
        elif key.lower() in ours:
            faults.append(f"--submit {text}: {key} is the plan's own")
        else:
            found[key] = value.strip() if equals else None
    if faults:
        raise ConfigError(faults)
    return found


def run(command: Sequence[str]) -> str:
    """Run a command of the scheduler; return its output.

    Raises:
        ConfigError: the command does not exist on this machine, or it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(
            f"{command[0]}: {error.strerror}: submit where the scheduler's commands are; "
            "the plan is written"
        ) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise ConfigError(f"{command[0]} refuses: {said}")
    return done.stdout.strip()
