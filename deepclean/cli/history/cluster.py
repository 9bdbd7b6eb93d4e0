"""`deepclean replay --scheduler`, and `deepclean shards`: replay on a pool or a cluster."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.history import submission
from deepclean.cli.history.submission import Option, Scheduled
from deepclean.cli.options import history_source, prepare
from deepclean.cli.training.train_many import print_trainings
from deepclean.cli.training.tune import print_study
from deepclean.config import Config
from deepclean.core.output.segments import intersection
from deepclean.core.time import NS, Span
from deepclean.errors import ExitStatus, InputError
from deepclean.models.content import model_path
from deepclean.remote.address import absolute, address_of
from deepclean.system.commands import program
from deepclean.validate.segments import query_segments, read_segments

if TYPE_CHECKING:
    from deepclean.cluster.plan import ReplayRequest, ShardLimits, ShardPlan
    from deepclean.cluster.verify import UnfinishedShard
    from deepclean.io.source import HistorySource
    from deepclean.models.model import Model

SchedulerOption = Annotated[
    str | None,
    Option(
        metavar="condor|slurm|kubernetes",
        help="Cut the unfinished time into shards and submit them to this scheduler.",
    ),
]
PlanOption = Annotated[
    Path | None,
    Option(
        "--plan",
        help="Directory of the plan; default: <output>-plan/<start>-<end>. An existing plan is "
        "continued with its own models: only unfinished shards are submitted.",
    ),
]
ShardOption = Annotated[
    int | None,
    Option(
        min=1,
        metavar="SECONDS",
        help="Longest shard; default: 65536, or 4096 if input files are transferred.",
    ),
]
SegmentsOption = Annotated[
    Path | None,
    Option(help="Clean only the segments in this file: HDF5, XML, or text of two columns."),
]
FlagOption = Annotated[
    str | None,
    Option(help="Data-quality flag in that file; without a file, in the segment database."),
]
PinnedOption = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="Use the models that this file of a plan pins, with the plan's configuration. Shards "
        "are called with this option.",
    ),
]

SHIPPED_LONGEST = 4096
"""Longest shard in seconds if its input is transferred: 1 GB with 21 witnesses."""

_SHOWN = 20
"""The number of shards that are printed one by one."""


@dataclass(frozen=True, slots=True)
class ReplayInput:
    """The input and the output of `deepclean replay`.

    Args:
        config: the configuration.
        span: whole seconds.
        output: directory of the cleaned frames.
        duration: seconds of an output file.
        strain: directories and files of the strain; None for the configured ones.
        witnesses: directories and files of the witnesses; None for the configured ones.
        fetch: whether the data come through gwpy instead.
    """

    config: Config
    span: Span
    output: Path
    duration: int
    strain: list[Path] | None
    witnesses: list[Path] | None
    fetch: bool

    @property
    def open_source(self) -> Callable[[], HistorySource]:
        """A function that opens the data in any process."""
        return partial(
            history_source, self.config, self.span, self.strain, self.witnesses, self.fetch
        )

    def decided(self, loaded: Mapping[str, Model] | None = None) -> Config:
        """Return the configuration with `wait: auto` decided on the beginning of the span."""
        if self.config.wait != "auto":
            return self.config
        from deepclean.models.loading import load_models
        from deepclean.run.lookahead import decided

        models = load_models(self.config) if loaded is None else loaded
        return decided(self.config, models, self.open_source(), self.span)


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """The options of a replay that is submitted to a scheduler, as the command line gives them."""

    scheduled: Scheduled
    shard: int | None
    segments: Path | None
    flag: str | None


def submit_replay(replay: ReplayInput, wanted: SubmitRequest) -> None:
    """Write the plan of a replay, or continue an existing plan, and submit its unfinished shards.

    Raises:
        ConfigError: no such scheduler, another plan exists, or the scheduler refuses.
        InputError: there is no strain.
        OutputError: the plan cannot be written.
    """
    from deepclean.cluster import condor
    from deepclean.cluster import plan as plans
    from deepclean.factory import make_engine

    scheduled = wanted.scheduled
    site = scheduled.site()
    config, span = replay.decided(), replay.span  # decided once for all shards
    request = _request(replay, wanted)
    default = request.output.with_name(f"{request.output.name}-plan")
    if address_of(request.output) is not None:
        default = Path(default.name)
    directory = (scheduled.plan or default / f"{request.start}-{request.end}").absolute()
    source = replay.open_source()
    source.check()
    if (directory / plans.PLAN).exists():
        plan, loaded, left = _continued(config, request, source, directory)
        todo = [one.number for one in left if one.number is not None]
    else:
        sent = (site.settings.get("should_transfer_files") or "no").lower() != "no"
        longest = wanted.shard or (SHIPPED_LONGEST if sent else plans.LONGEST // NS)
        limits = plans.ShardLimits(longest * NS, scheduled.jobs or 1)
        counting = _counting(span, wanted.segments, wanted.flag)
        plan, loaded = _planned(config, request, source, counting, limits)
        left, todo = [], list(plan.numbered)
        if todo:
            plans.write(plan, directory, config, loaded)
    engine = make_engine(config, loaded)
    _print_plan(plan, todo, engine.history)
    models = ", ".join(f"{name} version {model.version}" for name, model in loaded.items())
    print(f"models: {models}")
    if not todo:
        print("nothing to submit" if left else "all is done: nothing to submit")
        return
    print(f"plan: {directory}")
    array = plans.job_array(plan, directory, config)
    if scheduled.scheduler == "condor":
        command = condor.write_replay(array, plan, todo, site, source, engine.needs)
        submission.to_condor(command, scheduled.plan_only)
    elif scheduled.scheduler == "kubernetes":
        submission.to_kubernetes(array, todo, site)
    else:
        submission.to_slurm(array, todo, site, scheduled.plan_only)
    print(f"how far it is: {shlex.join([*program(), 'shards', str(directory)])}")


def _request(replay: ReplayInput, wanted: SubmitRequest) -> ReplayRequest:
    from deepclean.cluster.plan import ReplayRequest

    where = str(wanted.segments.absolute()) if wanted.segments is not None else None
    return ReplayRequest(
        start=replay.span.start // NS,
        end=replay.span.end // NS,
        duration=replay.duration,
        output=absolute(replay.output),
        strain=tuple(map(absolute, replay.strain or ())),
        witnesses=tuple(map(absolute, replay.witnesses or ())),
        fetch=replay.fetch,
        counting=" of ".join(part for part in (wanted.flag, where) if part) or None,
    )


def _counting(span: Span, segments: Path | None, flag: str | None) -> list[Span] | None:
    if segments is not None:
        return intersection(read_segments(segments, flag), [span])
    return None if flag is None else intersection(query_segments(flag, span), [span])


def _planned(
    config: Config,
    request: ReplayRequest,
    source: HistorySource,
    counting: list[Span] | None,
    limits: ShardLimits,
) -> tuple[ShardPlan, dict[str, Model]]:
    """Return a new plan and the models that are in force now."""
    from deepclean.cluster.plan import plan_shards
    from deepclean.factory import make_engine
    from deepclean.models.loading import load_model

    # The models are loaded on the CPU: the machine that submits may have no GPU.
    couplings = config.enabled_couplings
    loaded = {n: load_model(config, n, model_path(config, n), "cpu") for n in couplings}
    history = make_engine(config, loaded).history
    return plan_shards(config, request, source, counting, history, limits), loaded


def _continued(
    config: Config, request: ReplayRequest, source: HistorySource, directory: Path
) -> tuple[ShardPlan, dict[str, Model], list[UnfinishedShard]]:
    """Return an existing plan, its models, and what of it is not finished."""
    from deepclean.cluster.pins import load_pinned
    from deepclean.cluster.plan import PINNED, ShardPlan, require_same
    from deepclean.cluster.verify import gather, unfinished

    plan = ShardPlan.read(directory)
    require_same(plan, request, config, directory)
    submission.require_idle(directory)
    loaded = load_pinned(config, directory / PINNED, "cpu")
    gather(plan, config, directory)
    left = list(unfinished(plan, config, source))
    _print_unfinished(plan, directory, [one for one in left if one.number is None])
    return plan, loaded, left


def shards(plan: Annotated[Path, typer.Argument(help="Directory of a plan.")]) -> None:
    """List what of a plan is not finished, each part with the command that does it alone.

    The plan is that of a replay, of trainings or of a tuning. Frames that were transferred back are
    first moved into the output. Exit status 0: all is finished; 1: something is missing, and a
    repetition may succeed; 2: the plan or the input cannot be used.
    """
    directory = plan.absolute()
    if not directory.is_dir():
        raise InputError("no plan can be read: no such directory", path=directory)
    from deepclean.cluster import trainings
    from deepclean.cluster.plan import CONFIG, ShardPlan
    from deepclean.cluster.verify import gather, unfinished
    from deepclean.tune import study as studies

    if (directory / trainings.PLAN).exists():
        raise typer.Exit(print_trainings(directory))
    if (directory / studies.STUDY).exists():
        raise typer.Exit(print_study(directory))
    written = ShardPlan.read(directory)
    config = prepare(directory / CONFIG, None)
    request = written.request
    strain, witnesses = list(request.strain) or None, list(request.witnesses) or None
    source = history_source(config, request.span, strain, witnesses, request.fetch)
    moved = gather(written, config, directory)
    if moved:
        print(f"{moved} frames moved to {request.output}")
    left = list(unfinished(written, config, source))
    _print_unfinished(written, directory, left)
    numbers = {one.number for one in left if one.number}
    print(f"{len(written.shards) - len(numbers)} of {len(written.shards)} shards done")
    if left:
        raise typer.Exit(ExitStatus.AGAIN)


def _print_unfinished(plan: ShardPlan, directory: Path, left: list[UnfinishedShard]) -> None:
    """Print what is not finished, each with the command that cleans it alone."""
    from deepclean.cluster.plan import command

    for one in left:
        name = f"shard {one.number}" if one.number else "frames that existed when it was planned"
        print(f"not all done: {name}, GPS {one.span}: {one.missing // NS} s without frames; alone:")
        print(f"  {command(plan, directory, one.span)}")


def _print_plan(plan: ShardPlan, todo: list[int], history: int) -> None:
    wanted = sum(end - start for start, end in plan.wanted)
    request = plan.request
    print(
        f"GPS {request.start} to {request.end}: {wanted} s of {request.end - request.start} s to "
        f"be cleaned, in {len(plan.wanted)} stretches"
    )
    spans = [plan.shards[number - 1] for number in todo]
    if not spans:
        return
    seconds = sum(end - start for start, end in spans)
    added = 100 * len(spans) * history / NS / seconds
    print(
        f"{len(spans)} of {len(plan.shards)} shards to be done, {seconds} s; the history before "
        f"each adds {added:.1f}%"
    )
    for number, (start, end) in list(zip(todo, spans, strict=True))[:_SHOWN]:
        print(f"  {number:4d}  {start}  {end}  {end - start} s")
    if len(todo) > _SHOWN:
        print(f"  ... and {len(todo) - _SHOWN} more: shards.txt")
