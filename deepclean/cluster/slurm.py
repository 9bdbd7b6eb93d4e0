"""A plan as Slurm jobs: an array, and a job after it that lists what is finished.

The script of the array reads the line of its job in arguments.txt and calls `deepclean` with it. If
the exit status says that a repetition may succeed, or if the process was killed, the script repeats
the call in the same allocation. Slurm queues a job again if its node dies. A repeated shard
continues after the frames that it has written.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from deepclean.cluster.jobs import JobArray
from deepclean.cluster.plan import LOGS
from deepclean.cluster.submit import SubmitSite, run
from deepclean.errors import ConfigError
from deepclean.system.atomic import publish
from deepclean.system.commands import program

OURS = frozenset(
    ("array", "dependency", "chdir", "output", "error", "open-mode", "requeue", "no-requeue")
)
"""Options of sbatch that the scripts set."""

PLACE = "slurm"
_VERIFY, _ARGUMENTS, _JOBS = "verify.sh", "arguments.txt", "jobs.txt"

_BODY = """\
# A line of arguments.txt: the job's number, then its own arguments, none with blanks.
read -r _ own < <(grep "^$SLURM_ARRAY_TASK_ID " {arguments})
for ((attempt = 0; ; attempt++)); do
  {command} $own
  status=$?
  # 1: a repetition may succeed (docs/replay.md); above 128: the process was killed.
  ((attempt < {retries} && (status == 1 || status > 128))) || exit "$status"
  echo "{unit} $SLURM_ARRAY_TASK_ID: exit status $status, once more"
done
"""


def write(array: JobArray, numbers: Sequence[int], site: SubmitSite) -> list[list[str]]:
    """Write the scripts; return the commands that submit them.

    Args:
        array: the jobs.
        numbers: numbers of the jobs that are to be submitted, ascending.
        site: settings of the site and the user.

    Raises:
        ConfigError: Slurm cannot use such a path.
        OutputError: the scripts cannot be written.
    """
    directory = array.directory
    if any(sign in str(directory) for sign in '%"\\\n'):
        raise ConfigError(f"{directory}: Slurm cannot write logs there: name another --plan")
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    lines = (" ".join([str(number), *own]) for number, own in array.own.items())
    publish(place / _ARGUMENTS, "".join(f"{line} \n" for line in lines).encode())
    limit = f"%{site.together}" if site.together else ""
    options: dict[str, str | None] = {
        "job-name": f"deepclean-{array.name}",
        "array": _ranges(numbers) + limit,
        "output": f"{directory / LOGS}/{array.unit}-%a.log",
        "open-mode": "append",
        "requeue": None,
        "cpus-per-task": str(array.threads),
    }
    header = _header(directory, {**options, **site.settings})
    body = _BODY.format(
        arguments=shlex.quote(str(place / _ARGUMENTS)),
        command=shlex.join([*program(), *array.shared]),
        retries=site.retries,
        unit=array.unit,
    )
    script = place / f"{array.unit}s.sh"
    publish(script, (header + body).encode())
    options = {
        "job-name": "deepclean-verify",
        "output": f"{directory / LOGS}/verify.log",
        "open-mode": "append",
    }
    header = _header(directory, {**options, **site.settings})
    body = f"exec {shlex.join([*program(), *array.check])}\n"
    publish(place / _VERIFY, (header + body).encode())
    submit = ["sbatch", "--parsable"]
    return [
        [*submit, str(script)],
        [*submit, "--dependency=afterany:ARRAY", str(place / _VERIFY)],
    ]


def submit(array: JobArray, commands: Sequence[Sequence[str]], highest: int) -> list[str]:
    """Submit the scripts; return the numbers of the two jobs, the array's first.

    Args:
        array: the jobs.
        commands: the commands that `write` returned.
        highest: the highest number that is submitted.

    Raises:
        ConfigError: Slurm refuses.
        OutputError: the numbers of the jobs cannot be written.
    """
    largest = _largest_array()
    if highest >= largest:
        raise ConfigError(
            f"{array.unit} {highest}: this Slurm's arrays end before {largest} (MaxArraySize): "
            f"plan fewer and longer {array.unit}s in another --plan"
        )
    first = run(commands[0]).partition(";")[0]
    try:
        after = [word.replace("ARRAY", first) for word in commands[1][:-1]]
        verify = run([*after, commands[1][-1]]).partition(";")[0]
    except ConfigError:
        run(["scancel", first])
        raise
    publish(array.directory / PLACE / _JOBS, f"{first} {verify}\n".encode())
    return [first, verify]


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
