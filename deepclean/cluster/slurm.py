"""A plan as Slurm jobs: an array of its shards, and a job after them that says what is done.

The array's script reads a shard's line of shards.txt and calls `deepclean replay`; where the exit
status says that the same again may succeed, or the process was killed, it does so in the same
allocation. A job whose node dies is queued again by Slurm. A shard that was begun goes on where it
was.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from deepclean.cluster import submit as handed
from deepclean.cluster.plan import LOGS, SHARDS, ShardPlan, arguments, program
from deepclean.cluster.submit import SubmitSite
from deepclean.config import Config
from deepclean.errors import ConfigError
from deepclean.system.atomic import publish

OURS = frozenset(
    ("array", "dependency", "chdir", "output", "error", "open-mode", "requeue", "no-requeue")
)
"""Options of sbatch that the scripts decide on."""

PLACE = "slurm"
_ARRAY, _VERIFY, _JOBS = "shards.sh", "verify.sh", "jobs.txt"

_BODY = """\
# A line of shards.txt: number, GPS start, GPS end, seconds.
read -r _ start end _ < <(grep "^$SLURM_ARRAY_TASK_ID " {shards})
for ((attempt = 0; ; attempt++)); do
  {command} --start "$start" --end "$end"
  status=$?
  # 1: the same again may succeed (docs/replay.md); beyond 128: it was killed.
  ((attempt < {retries} && (status == 1 || status > 128))) || exit "$status"
  echo "shard $SLURM_ARRAY_TASK_ID: exit status $status, once more"
done
"""


def write(
    plan: ShardPlan, directory: Path, config: Config, numbers: Sequence[int], site: SubmitSite
) -> list[list[str]]:
    """Write the scripts; return the commands that submit them.

    Args:
        plan: what is to be done.
        directory: of the plan.
        config: says how many threads a shard has.
        numbers: of the shards that are to be done, rising.
        site: what else is wanted.

    Raises:
        ConfigError: Slurm cannot be told of such a path.
        OutputError: they cannot be written.
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
    """Submit what was written; return the jobs' numbers, that of the array first.

    Args:
        directory: of the plan.
        commands: as `write` returned them.
        highest: number of a shard.

    Raises:
        ConfigError: Slurm refuses.
        OutputError: the jobs' numbers cannot be written down.
    """
    largest = _largest_array()
    if highest >= largest:
        raise ConfigError(
            f"shard {highest}: this Slurm's arrays end before {largest} (MaxArraySize): plan "
            "longer shards with --shard in another --plan"
        )
    array = handed.run(commands[0]).partition(";")[0]
    try:
        after = [word.replace("ARRAY", array) for word in commands[1][:-1]]
        verify = handed.run([*after, commands[1][-1]]).partition(";")[0]
    except ConfigError:
        handed.run(["scancel", array])
        raise
    publish(directory / PLACE / _JOBS, f"{array} {verify}\n".encode())
    return [array, verify]


def require_idle(directory: Path) -> None:
    """Raise ConfigError where jobs of an earlier submission have not ended."""
    try:
        jobs = (directory / PLACE / _JOBS).read_text().split()
    except FileNotFoundError:
        return
    # By user, since squeue refuses a list with a number that it has forgotten.
    listed = handed.run(["squeue", "--me", "--noheader", "--format=%A %F"]).split()
    if set(jobs) & set(listed):
        raise ConfigError(
            f"{directory}: its jobs {' and '.join(jobs)} have not ended: wait for them, or "
            f"scancel {' '.join(jobs)}"
        )


def _largest_array() -> int:
    """Return the number below which those of an array's tasks have to be."""
    for line in handed.run(["scontrol", "show", "config"]).splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return int(value)
    return 1001


def _header(directory: Path, options: dict[str, str | None]) -> str:
    lines = ["#!/bin/bash", *(_directive(*each) for each in options.items())]
    # From here no package of the same name shadows the one that is installed.
    return "\n".join([*lines, f'#SBATCH --chdir="{directory}"', ""]) + "\n"


def _directive(name: str, value: str | None) -> str:
    return f"#SBATCH --{name}" if value is None else f'#SBATCH --{name}="{value}"'


def _ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as Slurm writes them: `1-3,7`."""
    runs = groupby(enumerate(numbers), lambda each: each[1] - each[0])
    ends = [[number for _, number in run] for _, run in runs]
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in ends)
