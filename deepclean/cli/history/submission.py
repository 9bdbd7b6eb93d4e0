"""What the commands that submit jobs to HTCondor, Slurm or Kubernetes share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepclean.cluster import kubernetes, submit
from deepclean.cluster.jobs import JobArray
from deepclean.errors import ConfigError

Option = partial(typer.Option, rich_help_panel="On a pool or a cluster (docs/scale-out.md)")

SchedulerOption = Annotated[
    str | None, Option(metavar="condor|slurm|kubernetes", help="Submit the work to this scheduler.")
]
PlanOption = Annotated[
    Path | None,
    Option(
        "--plan",
        help="Directory of the plan; default: <store>-plan/<start>-<end>, beside the model store. "
        "An existing plan is continued: only what is not finished is submitted.",
    ),
]
PlanOnlyOption = Annotated[
    bool, Option("--plan-only", help="Write the plan and print the command that submits it.")
]
RetriesOption = Annotated[
    int, Option(min=0, help="How often a job is repeated that may then succeed.")
]
SubmitOption = Annotated[
    list[str] | None,
    Option(
        "--submit",
        metavar="KEY=VALUE",
        help="A setting of the scheduler: partition=long (an option of sbatch), "
        "accounting_group=... (a command of a submit description). May be repeated.",
    ),
]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The options of a command that submits its work, as the command line gives them.

    Args:
        scheduler: `condor`, `slurm` or `kubernetes`.
        jobs: how many jobs run at a time; None for as many as the scheduler runs.
        plan: directory of the plan; None for the default one.
        plan_only: whether nothing is submitted.
        retries: how often a job is repeated.
        settings: settings of the scheduler, `KEY=VALUE`.
    """

    scheduler: str
    jobs: int | None
    plan: Path | None
    plan_only: bool
    retries: int
    settings: tuple[str, ...]

    def site(self) -> submit.SubmitSite:
        """Return the settings of the site and the user.

        Raises:
            ConfigError: no such scheduler, or a setting is malformed or the plan's own.
        """
        from deepclean.cluster import condor, slurm

        known = {"condor": condor.OURS, "slurm": slurm.OURS, "kubernetes": kubernetes.OURS}
        ours = known.get(self.scheduler)
        if ours is None:
            raise ConfigError(f"--scheduler {self.scheduler}: must be one of {', '.join(known)}")
        return submit.SubmitSite(submit.settings(self.settings, ours), self.jobs, self.retries)


def scheduled(
    scheduler: str | None,
    jobs: int | None,
    plan: Path | None,
    plan_only: bool,
    retries: int,
    settings: Sequence[str] | None,
) -> Scheduled | None:
    """Return the options of a submission; None where no scheduler is named.

    Raises:
        ConfigError: the others are given without a scheduler.
    """
    if scheduler is None:
        if plan or plan_only or settings:
            raise ConfigError("--plan, --plan-only and --submit go with --scheduler")
        return None
    return Scheduled(scheduler, jobs, plan, plan_only, retries, tuple(settings or ()))


def require_idle(directory: Path) -> None:
    """Raise ConfigError if jobs of an earlier submission have not ended."""
    from deepclean.cluster import condor, slurm

    slurm.require_idle(directory)
    condor.require_idle(directory)


def send(array: JobArray, todo: Sequence[int], wanted: Scheduled) -> None:
    """Write what the scheduler needs for some jobs, and submit them; print how far it came.

    Raises:
        ConfigError: the scheduler cannot use the plan, or refuses.
        OutputError: the plan cannot be written.
    """
    from deepclean.cluster import condor

    if wanted.scheduler == "condor":
        to_condor(condor.write(array, todo, wanted.site()), wanted.plan_only)
    elif wanted.scheduler == "kubernetes":
        to_kubernetes(array, todo, wanted.site())
    else:
        to_slurm(array, todo, wanted.site(), wanted.plan_only)


def to_condor(command: list[str], plan_only: bool) -> None:
    """Submit a DAG that is written, or print how to."""
    if plan_only:
        print(f"submit it with\n  {shlex.join(command)}")
        return
    submit.run(command)
    print("submitted; logs/verify.log will list what is done")


def to_kubernetes(array: JobArray, todo: Sequence[int], site: submit.SubmitSite) -> None:
    """Write the manifest of a Job, and print how to submit it."""
    print(f"submit it with\n  {shlex.join(kubernetes.write(array, todo, site))}")


def to_slurm(
    array: JobArray, todo: Sequence[int], site: submit.SubmitSite, plan_only: bool
) -> None:
    """Write an array and submit it, or print how to."""
    from deepclean.cluster import slurm

    commands = slurm.write(array, todo, site)
    if plan_only:
        first, second = (shlex.join(command) for command in commands)
        print(f"submit it with\n  ARRAY=$({first})\n  {second.replace('ARRAY', '$ARRAY')}")
        return
    first, verify = slurm.submit(array, commands, max(todo))
    print(f"submitted: job {first}, and {verify}, which lists in logs/verify.log what is done")
