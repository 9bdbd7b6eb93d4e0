"""What HTCondor and Slurm have in common: what a site wants said, and the commands that submit."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from deepclean.errors import ConfigError

_KEY = re.compile(r"[A-Za-z+][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class SubmitSite:
    """What a site and a user want of the jobs.

    Args:
        settings: of the engine's own, by its names (`partition`, `accounting_group`); None where
            a name stands alone.
        together: shards at a time; None: as many as the engine gives.
        retries: of a shard that may succeed when it is done again.
    """

    settings: Mapping[str, str | None] = field(default_factory=dict)
    together: int | None = None
    retries: int = 3


def settings(given: Sequence[str], ours: Collection[str]) -> dict[str, str | None]:
    """Return `KEY=VALUE` texts as a mapping; of a key that is named twice the last.

    Args:
        given: the texts; `KEY` alone for what has no value.
        ours: keys that the plan itself decides on.

    Raises:
        ConfigError: a key is none, is one of ours, or its value has several lines.
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
    """Run a command of the engine; return what it printed.

    Raises:
        ConfigError: there is no such command here, or it refuses.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ConfigError(
            f"{command[0]}: {error.strerror}: submit where the engine's commands are; the plan is "
            "written"
        ) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise ConfigError(f"{command[0]} refuses: {said}")
    return done.stdout.strip()
