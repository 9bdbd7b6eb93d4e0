"""The plan of a replay in shards, written down in a directory.

    config.yaml     the resolved configuration
    pinned.json     the models in force; their copies are in models/
    plan.json       the request
    shards.txt      one line for each shard: number, GPS start, GPS end
    slurm/ condor/  what was submitted
    logs/           the output of the shards

The plan does not record which shards are finished: their frames are in the output or are not.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deepclean.cluster.jobs import JobArray
from deepclean.cluster.pins import pin
from deepclean.cluster.shards import shards
from deepclean.config import Config, to_yaml
from deepclean.core.output.segments import difference, intersection, union, whole_seconds
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, output_errors
from deepclean.io.history import History
from deepclean.io.retention import held
from deepclean.io.source import HistorySource
from deepclean.models.model import Model
from deepclean.remote.address import address_of
from deepclean.remote.output import frames_at
from deepclean.system.atomic import publish
from deepclean.system.commands import program

CONFIG, PINNED, PLAN, SHARDS, LOGS = "config.yaml", "pinned.json", "plan.json", "shards.txt", "logs"

LONGEST = 65536 * NS
"""The longest shard: 15 minutes on one core with one coupling; 3 months are 120 such shards."""

_Seconds = tuple[int, int]


class ReplayRequest(BaseModel):
    """The request of a plan. A plan with another request is another plan.

    Args:
        start: GPS seconds.
        end: GPS seconds, exclusive.
        duration: seconds of an output file.
        output: directory of the cleaned frames.
        strain: directories and files of the strain; empty for the configured ones.
        witnesses: directories and files of the witnesses; empty for the configured ones.
        fetch: whether the data come through gwpy instead.
        counting: name of the segments that are to be cleaned; None for all of the time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int
    end: int
    duration: int
    output: Path
    strain: tuple[Path, ...] = ()
    witnesses: tuple[Path, ...] = ()
    fetch: bool = False
    counting: str | None = None

    @property
    def span(self) -> Span:
        """The whole requested span."""
        return Span(self.start * NS, self.end * NS)


class ShardPlan(BaseModel):
    """A plan as `plan.json` holds it.

    Args:
        request: the request.
        configuration: hash of the configuration.
        wanted: the time that is to be cleaned, finished or not, GPS seconds.
        shards: the shards, GPS seconds; their numbers begin at 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: ReplayRequest
    configuration: str
    wanted: tuple[_Seconds, ...]
    shards: tuple[_Seconds, ...]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Return the plan in a directory.

        Raises:
            InputError: the directory holds no plan.
        """
        try:
            return cls.model_validate_json((directory / PLAN).read_bytes())
        except OSError as error:
            raise InputError(f"no plan can be read: {error.strerror}", path=directory) from error
        except ValidationError as error:
            raise InputError("is no plan", path=directory / PLAN) from error

    @property
    def numbered(self) -> dict[int, Span]:
        """The shards by number."""
        return {n: Span(a * NS, b * NS) for n, (a, b) in enumerate(self.shards, 1)}

    @property
    def wanted_spans(self) -> list[Span]:
        """The time that is to be cleaned, finished or not."""
        return [Span(start * NS, end * NS) for start, end in self.wanted]


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How the time is cut into shards.

    Args:
        longest: the longest shard in nanoseconds.
        together: how many shards run at a time, at least 1.
    """

    longest: int = LONGEST
    together: int = 1


def plan_shards(
    config: Config,
    request: ReplayRequest,
    source: HistorySource,
    counting: Sequence[Span] | None,
    history: int,
    limits: ShardLimits,
) -> ShardPlan:
    """Return the plan of what is not finished. It uses the files' names and reads no file.

    Args:
        config: the configuration.
        request: the request.
        source: the input.
        counting: the time that is to be cleaned, in order; None for all.
        history: nanoseconds that an engine reads before a shard.
        limits: how the time is cut.

    Raises:
        InputError: there is no strain in the span.
        OutputError: the output cannot be listed.
    """
    span = request.span
    there = [span]
    if isinstance(source.strain, History):
        there = intersection(there, whole_seconds(source.strain.spans(config.strain.channel)))
    wanted = intersection(there, [span] if counting is None else counting)
    if not wanted:
        which = f" that counts ({request.counting})" if request.counting else ""
        raise InputError(f"no strain in {span}{which}")
    cut = shards(
        difference(wanted, finished(request.output, config)),
        difference(there, wanted),
        history=history,
        duration=request.duration * NS,
        longest=limits.longest,
        together=limits.together,
    )
    return ShardPlan(
        request=request,
        configuration=config.hash,
        wanted=tuple(map(_seconds, wanted)),
        shards=tuple(map(_seconds, cut)),
    )


def finished(output: Path, config: Config) -> list[Span]:
    """Return the time of which the output holds frames, in order, no span touching the next.

    Raises:
        OutputError: the output cannot be listed.
    """
    address = address_of(output)
    if address is not None:
        return union(name.span for name in frames_at(address, config.output.description))
    with output_errors(output, "cannot be listed"):
        try:
            return union(name.span for name in held(output, config.output.description))
        except FileNotFoundError:
            return []


def write(plan: ShardPlan, directory: Path, config: Config, loaded: Mapping[str, Model]) -> None:
    """Write a plan. Its directory appears complete or not at all.

    Raises:
        OutputError: the plan cannot be written.
        ModelError: the copy of a model differs from the loaded model.
    """
    hidden = directory.with_name(f".{directory.name}.tmp")
    try:
        with output_errors(directory, "the plan cannot be written"):
            if hidden.exists():
                shutil.rmtree(hidden)
            hidden.mkdir(parents=True)
            publish(hidden / CONFIG, to_yaml(config).encode())
            pin(config, loaded, hidden / PINNED)
            publish(hidden / SHARDS, lines(plan).encode())
            publish(hidden / PLAN, (plan.model_dump_json(indent=1) + "\n").encode())
            (hidden / LOGS).mkdir()
            hidden.rename(directory)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def require_same(plan: ShardPlan, request: ReplayRequest, config: Config, directory: Path) -> None:
    """Raise ConfigError unless an existing plan has this request and this configuration."""
    before, now = plan.request.model_dump(), request.model_dump()
    other = [name for name in now if before[name] != now[name]]
    other += ["configuration"] * (plan.configuration != config.hash)
    if other:
        raise ConfigError(
            f"is a plan with another {', '.join(other)}: name another directory with --plan, or "
            "remove this one",
            path=directory,
        )


def lines(plan: ShardPlan) -> str:
    """Return the shards, one line each, for people and for the jobs' script."""
    text = ["# shard  GPS start  GPS end  seconds"]
    text += [f"{n} {a} {b} {b - a}" for n, (a, b) in enumerate(plan.shards, 1)]
    return "\n".join(text) + "\n"


def arguments(plan: ShardPlan, directory: Path) -> list[str]:
    """Return the arguments that the calls of all shards share."""
    request = plan.request
    shared = ["replay", "--config", str(directory / CONFIG), "--pinned", str(directory / PINNED)]
    shared += ["--duration", str(request.duration), "--output", str(request.output)]
    for option, paths in (("--strain", request.strain), ("--witnesses", request.witnesses)):
        shared += [text for path in paths for text in (option, str(path))]
    return shared + ["--fetch"] * request.fetch


def job_array(plan: ShardPlan, directory: Path, config: Config) -> JobArray:
    """Return the shards as jobs of a scheduler.

    Args:
        plan: the plan.
        directory: of the plan, absolute.
        config: the configuration; it says how many threads a shard has.
    """
    own = {n: ("--start", str(a), "--end", str(b)) for n, (a, b) in enumerate(plan.shards, 1)}
    shared = tuple(arguments(plan, directory))
    return JobArray("replay", "shard", directory, shared, own, config.runtime.threads)


def command(plan: ShardPlan, directory: Path, span: Span) -> str:
    """Return the command line that cleans one span."""
    start, end = map(str, _seconds(span))
    return shlex.join([*program(), *arguments(plan, directory), "--start", start, "--end", end])


def _seconds(span: Span) -> _Seconds:
    return span.start // NS, span.end // NS
