"""A plan as Slurm jobs: an array of the shards, and a job after them that lists what is finished.

The script of the array reads the line of its shard in shards.txt and calls `deepclean replay`. If
the exit status says that a repetition may succeed, or if the process was killed, the script repeats
the call in the same allocation. Slurm queues a job again if its node dies. A repeated shard
continues after the frames that it has written.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from deepclean.cluster.plan import LOGS, SHARDS, ShardPlan, arguments, program
from deepclean.cluster.submit import SubmitSite, run
from deepclean.config import Config
from deepclean.errors import ConfigError
from deepclean.system.atomic import publish

OURS = frozenset(
    ("array", "dependency", "chdir", "output", "error", "open-mode", "requeue", "no-requeue")
)
"""Options of sbatch that the scripts set."""

PLACE = "slurm"
_ARRAY, _VERIFY, _JOBS = "shards.sh", "verify.sh", "jobs.txt"

_BODY = """\
# A line of shards.txt: number, GPS start, GPS end, seconds.
read -r _ start end _ < <(grep "^$SLURM_ARRAY_TASK_ID " {shards})
for ((attempt = 0; ; attempt++)); do
  {command} --start "$start" --end "$end"
  status=$?
  # 1: a repetition may succeed (docs/replay.md); above 128: the process was killed.
  ((attempt < {retries} && (status == 1 || status > 128))) || exit "$status"
  echo "shard $SLURM_ARRAY_TASK_ID: exit status $status, once more"
done
"""


def write(
    plan: ShardPlan, directory: Path, config: Config, numbers: Sequence[int], site: SubmitSite
) -> list[list[str]]:
    """Write the scripts; return the commands that submit them.

    Args:
        plan: the plan.
        directory: of the plan.
        config: the configuration; it says how many threads a shard has.
        numbers: numbers of the shards that are to be submitted, ascending.
        site: settings of the site and the user.

    Raises:
        ConfigError: Slurm cannot use such a path.
        OutputError: the scripts cannot be written.
    """
    if any(sign in str(directory) for sign in '%"\\\n'):
        raise ConfigError(f"{directory}: Slurm cannot write logs there: name another --plan")
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    limit = f"%{site.together}" if site.together else ""
    options: dict[str, str | None] = {
        "job-name": "deepclean-replay",
        "array": _ranges(numbers) + limit,
        "output": f"{directory / LOGS}/shard-%a.log",
        "open-mode": "append",
        "requeue": None,
        "cpus-per-task": str(config.runtime.threads),
    }
    header = _header(directory, {**options, **site.settings})
    body = _BODY.format(
        shards=shlex.quote(str(directory / SHARDS)),
        command=shlex.join([*program(), *arguments(plan, directory)]),
        retries=site.retries,
    )
    publish(place / _ARRAY, (header + body).encode())
    options = {
        "job-name": "deepclean-verify",
        "output": f"{directory / LOGS}/verify.log",
        "open-mode": "append",
    }
    header = _header(directory, {**options, **site.settings})
    body = f"exec {shlex.join([*program(), 'shards', str(directory)])}\n"
    publish(place / _VERIFY, (header + body).encode())
    submit = ["sbatch", "--parsable"]
    return [
        [*submit, str(place / _ARRAY)],
        [*submit, "--dependency=afterany:ARRAY", str(place / _VERIFY)],
    ]


def submit(directory: Path, commands: Sequence[Sequence[str]], highest: int) -> list[str]:
    """Submit the scripts; return the numbers of the two jobs, the array's first.

    Args:
        directory: of the plan.
        commands: the commands that `write` returned.
        highest: the highest number of a shard.

    Raises:
        ConfigError: Slurm refuses.
        OutputError: the numbers of the jobs cannot be written.
    """
    largest = _largest_array()
    if highest >= largest:
        raise ConfigError(
            f"shard {highest}: this Slurm's arrays end before {largest} (MaxArraySize): plan "
            "longer shards with --shard in another --plan"
        )
    array = run(commands[0]).partition(";")[0]
    try:
        after = [word.replace("ARRAY", array) for word in commands[1][:-1]]
        verify = run([*after, commands[1][-1]]).partition(";")[0]
    except ConfigError:
        run(["scancel", array])
        raise
    publish(directory / PLACE / _JOBS, f"{array} {verify}\n".encode())
    return [array, verify]


def require_idle(directory: Path) -> None:
    """Raise ConfigError if jobs of an earlier submission have not ended."""
    try:
        jobs = (directory / PLACE / _JOBS).read_text().split()
    except FileNotFoundError:
        return
    # The list is by user, because squeue refuses a list with a number that it no longer knows.
    listed = run(["squeue", "--me", "--noheader", "--format=%A %F"]).split()
    if set(jobs) & set(listed):
        raise ConfigError(
            f"{directory}: its jobs {' and '.join(jobs)} have not ended: wait for them, or "
            f"scancel {' '.join(jobs)}"
        )


def _largest_array() -> int:
    """Return the exclusive upper limit of the numbers of an array's tasks."""
    for line in run(["scontrol", "show", "config"]).splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return int(value)
    return 1001


def _header(directory: Path, options: dict[str, str | None]) -> str:
    lines = ["#!/bin/bash", *(_directive(*each) for each in options.items())]
    # In this directory no package of the same name shadows the installed one.
    return "\n".join([*lines, f'#SBATCH --chdir="{directory}"', ""]) + "\n"


def _directive(name: str, value: str | None) -> str:
    return f"#SBATCH --{name}" if value is None else f'#SBATCH --{name}="{value}"'


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers in Slurm's notation: `1-3,7`."""
    runs = groupby(enumerate(numbers), lambda each: each[1] - each[0])
    ends = [[number for _, number in run] for _, run in runs]
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in ends)
