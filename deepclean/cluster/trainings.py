"""The plan of several trainings on a pool or a cluster, written down in a directory.

    config.yaml     the resolved configuration
    training.json   the couplings, and the options of their trainings
    outcomes/       for each coupling that is trained, by its number, the new version's directory
    slurm/ condor/  what was submitted
    logs/           the output of each training

Each training is a call of `deepclean train` with one coupling.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deepclean.cluster.jobs import JobArray
from deepclean.cluster.plan import CONFIG, LOGS
from deepclean.config import Config, to_yaml
from deepclean.errors import ConfigError, InputError, output_errors
from deepclean.system.atomic import publish

PLAN, OUTCOMES = "training.json", "outcomes"


class TrainingPlan(BaseModel):
    """The plan as `training.json` holds it.

    Args:
        couplings: names; their numbers begin at 1.
        arguments: the arguments of `deepclean train` that all of them share, without the
            configuration.
        configuration: hash of the configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    couplings: tuple[str, ...]
    arguments: tuple[str, ...]
    configuration: str

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Return the plan in a directory.

        Raises:
            InputError: the directory holds no plan of trainings.
        """
        try:
            return cls.model_validate_json((directory / PLAN).read_bytes())
        except OSError as error:
            raise InputError(f"no plan can be read: {error.strerror}", path=directory) from error
        except ValidationError as error:
            raise InputError("is no plan", path=directory / PLAN) from error

    @property
    def numbered(self) -> dict[int, str]:
        """The couplings by number."""
        return dict(enumerate(self.couplings, 1))

    def job_array(self, directory: Path, config: Config) -> JobArray:
        """Return the trainings as jobs of a scheduler."""
        own = {n: (name, "--outcome", f"{OUTCOMES}/{n}") for n, name in self.numbered.items()}
        shared = tuple(self.command(directory))
        return JobArray("train", "training", directory, shared, own, config.runtime.threads)

    def command(self, directory: Path) -> list[str]:
        """Return the arguments of `deepclean` that all trainings share."""
        return ["train", "--config", str(directory / CONFIG), *self.arguments]


def write(plan: TrainingPlan, directory: Path, config: Config) -> None:
    """Write a plan. Its directory appears complete or not at all.

    Raises:
        OutputError: the plan cannot be written.
    """
    hidden = directory.with_name(f".{directory.name}.tmp")
    try:
        with output_errors(directory, "the plan cannot be written"):
            if hidden.exists():
                shutil.rmtree(hidden)
            hidden.mkdir(parents=True)
            publish(hidden / CONFIG, to_yaml(config).encode())
            publish(hidden / PLAN, (plan.model_dump_json(indent=1) + "\n").encode())
            (hidden / LOGS).mkdir()
            (hidden / OUTCOMES).mkdir()
            hidden.rename(directory)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def require_same(before: TrainingPlan, now: TrainingPlan, directory: Path) -> None:
    """Raise ConfigError unless an existing plan is the plan of this command."""
    old, new = before.model_dump(), now.model_dump()
    other = [name for name in new if old[name] != new[name]]
    if other:
        raise ConfigError(
            f"is a plan with other {', '.join(other)}: name another directory with --plan, or "
            "remove this one",
            path=directory,
        )


def trained(plan: TrainingPlan, directory: Path) -> dict[str, Path]:
    """Return the directory of the new version of each coupling that is trained.

    Raises:
        InputError: the plan's directory cannot be read.
    """
    found = {}
    for number, name in plan.numbered.items():
        version = outcome(directory / OUTCOMES / str(number))
        if version is not None:
            found[name] = version
    return found


def outcome(path: Path) -> Path | None:
    """Return the version's directory in a file that a training wrote; None if it wrote none.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return Path(path.read_text().strip())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from error
