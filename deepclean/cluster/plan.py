"""The plan of a replay in shards: what is to be cleaned, cut up, and written down in a directory.

    config.yaml    the resolved configuration
    pinned.json    the models in force, their copies in models/
    plan.json      what is asked for
    shards.txt     a line for each shard: number, GPS start, GPS end
    slurm/ condor/ what was handed to the engine
    logs/          what the shards said

Whether a shard is done is not written down: its frames lie in the output or they do not.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deepclean.cluster import shards as parts
from deepclean.cluster.pins import pin
from deepclean.config import Config, to_yaml
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError, InputError, OutputError
from deepclean.io.history import History
from deepclean.io.retention import held
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName
from deepclean.models.load import Model
from deepclean.system.atomic import publish

CONFIG, PINNED, PLAN, SHARDS, LOGS = "config.yaml", "pinned.json", "plan.json", "shards.txt", "logs"

LONGEST = 65536 * NS
"""Of a shard: a quarter of an hour of one core with one coupling, and 120 shards for 3 months."""

_Seconds = tuple[int, int]


class ReplayRequest(BaseModel):
    """What a plan is for: what makes it another plan.

    Args:
        start: GPS seconds.
        end: likewise, exclusive.
        duration: seconds of an output file.
        output: where the frames go.
        strain: directories and files of it; empty: the configuration's.
        witnesses: likewise.
        fetch: whether the data comes through gwpy instead.
        counting: what says which time counts; None: all of it.
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
        """The whole of it."""
        return Span(self.start * NS, self.end * NS)


class ShardPlan(BaseModel):
    """A plan as it is written down.

    Args:
        asked: what it is for.
        configuration: hash of the configuration.
        wanted: what there is to be cleaned, done or not, GPS seconds.
        shards: what was to be done when it was made, GPS seconds; number 1 comes first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: ReplayRequest
    configuration: str
    wanted: tuple[_Seconds, ...]
    shards: tuple[_Seconds, ...]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Return the plan of a directory.

        Raises:
            InputError: there is none.
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
        """What there is to be cleaned, done or not."""
        return [Span(start * NS, end * NS) for start, end in self.wanted]


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How long a shard is at most, and how many are worked on at a time.

    Args:
        longest: nanoseconds.
        together: at least 1.
    """

    longest: int = LONGEST
    together: int = 1


def make(
    config: Config,
    asked: ReplayRequest,
    source: HistorySource,
    counting: Sequence[Span] | None,
    history: int,
    how: ShardLimits,
) -> ShardPlan:
    """Return the plan of what is still to be done; by the files' names, without reading them.

    Args:
        config: what to clean.
        asked: what for.
        source: where the data is.
        counting: the time that counts, in order; None: all.
        history: nanoseconds that an engine reads before it begins.
        how: it is cut.

    Raises:
        InputError: there is no strain in the span.
        OutputError: the output cannot be listed.
    """
    span = asked.span
    there = [span]
    if isinstance(source.strain, History):
        there = parts.whole_seconds(source.strain.spans(config.strain.channel))
        there = list(parts.shared([span], there))
    counted = [span] if counting is None else counting
    wanted = list(parts.shared(there, counted))
    if not wanted:
        which = f" that counts ({asked.counting})" if asked.counting else ""
        raise InputError(f"no strain in {span}{which}")
    shards = parts.shards(
        list(parts.without(wanted, finished(asked.output, config))),
        list(parts.without(there, wanted)),
        history=history,
        duration=asked.duration * NS,
        longest=how.longest,
        together=how.together,
    )
    return ShardPlan(
        asked=asked,
        configuration=config.hash,
        wanted=tuple(map(_seconds, wanted)),
        shards=tuple(map(_seconds, shards)),
    )


def finished(output: Path, config: Config) -> list[Span]:
    """Return what the output holds, in order of time, none touching the next.

    Raises:
        OutputError: it cannot be listed.
    """
    try:
        names = held(output, config.output.description)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(
            f"cannot be listed: {error.strerror}", path=output, errno=error.errno
        ) from error
    return list(_merged(names))


def _merged(names: Sequence[FrameName]) -> Iterator[Span]:
    start, end = None, 0
    for name in names:
        if start is not None and name.span.start > end:
            yield Span(start, end)
            start = None
        if start is None:
            start = name.span.start
        end = max(end, name.span.end)
    if start is not None:
        yield Span(start, end)


def write(plan: ShardPlan, directory: Path, config: Config, loaded: Mapping[str, Model]) -> None:
    """Write a plan; its directory appears whole or not at all.

    Raises:
        OutputError: it cannot be written.
        ModelError: as pinned.pin.
    """
    hidden = directory.with_name(f".{directory.name}.tmp")
    try:
        if hidden.exists():
            shutil.rmtree(hidden)
        hidden.mkdir(parents=True)
        publish(hidden / CONFIG, to_yaml(config).encode())
        pin(config, loaded, hidden / PINNED)
        publish(hidden / SHARDS, lines(plan).encode())
        publish(hidden / PLAN, (plan.model_dump_json(indent=1) + "\n").encode())
        (hidden / LOGS).mkdir()
        hidden.rename(directory)
    except OSError as error:
        raise OutputError(
            f"the plan cannot be written: {error.strerror}", path=directory, errno=error.errno
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def require_same(plan: ShardPlan, asked: ReplayRequest, config: Config, directory: Path) -> None:
    """Raise ConfigError unless a plan that is there is for what is asked now."""
    other = [
        name
        for name in ReplayRequest.model_fields
        if getattr(plan.asked, name) != getattr(asked, name)
    ]
    other += ["configuration"] * (plan.configuration != config.hash)
    if other:
        raise ConfigError(
            f"is a plan with another {', '.join(other)}: name another directory with --plan, or "
            "remove this one",
            path=directory,
        )


def lines(plan: ShardPlan) -> str:
    """Return the shards, a line each, for people and for the jobs' script."""
    text = ["# shard  GPS start  GPS end  seconds"]
    text += [f"{n} {a} {b} {b - a}" for n, (a, b) in enumerate(plan.shards, 1)]
    return "\n".join(text) + "\n"


def program() -> list[str]:
    """Return what runs this deepclean in whatever process of this file system."""
    script = Path(sys.executable).with_name("deepclean")
    return [str(script)] if script.exists() else [sys.executable, "-P", "-m", "deepclean"]


def arguments(plan: ShardPlan, directory: Path) -> list[str]:
    """Return what all shards' calls share, behind the program's name."""
    asked = plan.asked
    shared = ["replay", "--config", str(directory / CONFIG), "--pinned", str(directory / PINNED)]
    shared += ["--duration", str(asked.duration), "--output", str(asked.output)]
    for option, paths in (("--strain", asked.strain), ("--witnesses", asked.witnesses)):
        shared += [text for path in paths for text in (option, str(path))]
    return shared + ["--fetch"] * asked.fetch


def command(plan: ShardPlan, directory: Path, span: Span) -> str:
    """Return the command line that does a span by itself."""
    begin, end = _seconds(span)
    return shlex.join(
        [*program(), *arguments(plan, directory), "--start", str(begin), "--end", str(end)]
    )


def _seconds(span: Span) -> _Seconds:
    return span.start // NS, span.end // NS
