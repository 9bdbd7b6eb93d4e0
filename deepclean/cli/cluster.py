"""`deepclean replay --scheduler`, and `deepclean shards`: replay on a pool or a cluster."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepclean.cli.options import history_source, prepare
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError

if TYPE_CHECKING:
    from deepclean.cluster.plan import ReplayRequest, ShardLimits, ShardPlan
    from deepclean.cluster.verify import UnfinishedShards
    from deepclean.io.source import HistorySource
    from deepclean.models.load import Model

_PANEL = "On a pool or a cluster (docs/scale-out.md)"
_Option = partial(typer.Option, rich_help_panel=_PANEL, show_default=False)

SchedulerOption = Annotated[
    str | None,
    _Option(
        metavar="condor|slurm",
        help="Cut what is still to be done into shards, and submit them.",
    ),
]
PlanOption = Annotated[
    Path | None,
    _Option(
        "--plan",
        help="Directory of the plan; default: <output>-plan/<start>-<end>. One that is there is "
        "taken up again: only shards that are not done are submitted, with its own models.",
    ),
]
PlanOnlyOption = Annotated[
    bool, _Option("--plan-only", help="Write everything, and say how to submit it.")
]
ShardOption = Annotated[
    int | None,
    _Option(
        min=1,
        metavar="SECONDS",
        help="Longest shard; default: 65536, or 4096 where input files are transferred.",
    ),
]
SegmentsOption = Annotated[
    Path | None,
    _Option(help="Clean only the segments of this file: HDF5, XML, or text of two columns."),
]
FlagOption = Annotated[
    str | None,
    _Option(help="Data-quality flag of that file, or without one of the segment database."),
]
RetriesOption = Annotated[
    int, _Option(min=0, help="Of a shard that may succeed when it is done again; default: 3.")
]
SubmitOption = Annotated[
    list[str] | None,
    _Option(
        "--submit",
        metavar="KEY=VALUE",
        help="A setting of the engine's own: partition=long (an option of sbatch), "
        "accounting_group=... (a command of a submit description). May be repeated.",
    ),
]
PinnedOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Use the models that this file of a plan pins, and no other configuration than its: "
        "how a shard is called.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]

SHIPPED_LONGEST = 4096
"""Seconds of a shard whose input is transferred: with 21 witnesses 1 GB."""

_SHOWN = 20
"""Shards that are printed one by one."""


def replay(
    config: Config,
    span: Span,
    output: Path,
    duration: int,
    scheduler: str,
    *,
    strain: list[Path] | None,
    witnesses: list[Path] | None,
    fetch: bool,
    jobs: int | None,
    place: Path | None,
    plan_only: bool,
    shard: int | None,
    segments: Path | None,
    flag: str | None,
    retries: int,
    given: list[str],
) -> None:
    """Plan a replay, or take a plan up again, and submit what is not done.

    Raises:
        ConfigError: no such engine, the plan that is there is another one, or the engine refuses.
        InputError: there is no strain.
        OutputError: the plan cannot be written.
    """
    from deepclean.cluster import condor, slurm, submit
    from deepclean.cluster import plan as shard_plan
    from deepclean.factory import make_engine

    if scheduler not in {"condor", "slurm"}:
        raise ConfigError(f"--scheduler {scheduler}: condor or slurm, please")
    settings = submit.settings(given, condor.OURS if scheduler == "condor" else slurm.OURS)
    site = submit.SubmitSite(settings, jobs, retries)
    begin, end = span.start // NS, span.end // NS
    output = output.absolute()
    directory = (place or output.with_name(f"{output.name}-plan") / f"{begin}-{end}").absolute()
    source = history_source(config, span, strain, witnesses, fetch)
    source.check()
    asked = shard_plan.ReplayRequest(
        start=begin,
        end=end,
        duration=duration,
        output=output,
        strain=tuple(path.absolute() for path in strain or ()),
        witnesses=tuple(path.absolute() for path in witnesses or ()),
        fetch=fetch,
        counting=_counting_said(segments, flag),
    )
    sent = (settings.get("should_transfer_files") or "no").lower() != "no"
    longest = shard or (SHIPPED_LONGEST if sent else shard_plan.LONGEST // NS)
    if (directory / shard_plan.PLAN).exists():
        plan, loaded, left = _taken_up(config, asked, source, directory)
        todo = [one.number for one in left if one.number is not None]
    else:
        how = shard_plan.ShardLimits(longest * NS, jobs or 1)
        plan, loaded = _made(config, asked, source, _counting(span, segments, flag), how)
        left, todo = [], list(plan.numbered)
        if todo:
            shard_plan.write(plan, directory, config, loaded)
    engine = make_engine(config, loaded)
    _describe(plan, todo, engine.history)
    models = ", ".join(f"{name} version {model.version}" for name, model in loaded.items())
    print(f"models: {models}")
    if not todo:
        print("nothing to submit" if left else "all is done: nothing to submit")
        return
    print(f"plan: {directory}")
    if scheduler == "condor":
        command = condor.write(plan, directory, config, todo, site, source, engine.needs)
        _to_condor(command, plan_only)
    else:
        _to_slurm(directory, slurm.write(plan, directory, config, todo, site), plan_only, max(todo))
    print(f"how far it is: {shlex.join([*shard_plan.program(), 'shards', str(directory)])}")


def _made(
    config: Config,
    asked: ReplayRequest,
    source: HistorySource,
    counting: list[Span] | None,
    how: ShardLimits,
) -> tuple[ShardPlan, dict[str, Model]]:
    """Return a new plan, and the models that are in force now."""
    from deepclean.cluster.plan import make
    from deepclean.factory import make_engine
    from deepclean.models.loading import load_model, model_path

    # On the CPU: where jobs are submitted there may be no GPU, whatever they run on.
    couplings = config.enabled_couplings
    loaded = {n: load_model(config, n, model_path(config, n), "cpu") for n in couplings}
    history = make_engine(config, loaded).history
    return make(config, asked, source, counting, history, how), loaded


def _taken_up(
    config: Config, asked: ReplayRequest, source: HistorySource, directory: Path
) -> tuple[ShardPlan, dict[str, Model], list[UnfinishedShards]]:
    """Return the plan that is there, its models, and what of it is not all done."""
    from deepclean.cluster import condor, slurm
    from deepclean.cluster.pins import load_pinned
    from deepclean.cluster.plan import PINNED, ShardPlan, require_same
    from deepclean.cluster.verify import gather, unfinished

    plan = ShardPlan.read(directory)
    require_same(plan, asked, config, directory)
    slurm.require_idle(directory)
    condor.require_idle(directory)
    loaded = load_pinned(config, directory / PINNED, "cpu")
    gather(plan, config, directory)
    left = list(unfinished(plan, config, source))
    _tell(plan, directory, [one for one in left if one.number is None])
    return plan, loaded, left


def _to_condor(command: list[str], plan_only: bool) -> None:
    from deepclean.cluster import submit

    if plan_only:
        print(f"submit it with\n  {shlex.join(command)}")
        return
    submit.run(command)
    print("submitted; at its end logs/verify.log says what is done")


def _to_slurm(directory: Path, commands: list[list[str]], plan_only: bool, highest: int) -> None:
    from deepclean.cluster import slurm

    if plan_only:
        first, second = (shlex.join(command) for command in commands)
        print(f"submit it with\n  ARRAY=$({first})\n  {second.replace('ARRAY', '$ARRAY')}")
        return
    array, verify = slurm.submit(directory, commands, highest)
    print(f"submitted: job {array}, and {verify}, which says in logs/verify.log what is done")


def shards(
    plan: Annotated[Path, typer.Argument(help="Directory of a plan.", show_default=False)],
) -> None:
    """Say which shards of a plan are not all done, each with the command that does it alone.

    Frames that were transferred back are moved into the output first. Exit status 0: all is done;
    1: not so, and what is missing may be done again; 2: the plan or the input is of no use.
    """
    from deepclean.cluster import plan as shard_plan
    from deepclean.cluster.verify import gather, unfinished

    directory = plan.absolute()
    made = shard_plan.ShardPlan.read(directory)
    config = prepare(directory / shard_plan.CONFIG, None)
    asked = made.asked
    source = history_source(
        config, asked.span, list(asked.strain) or None, list(asked.witnesses) or None, asked.fetch
    )
    moved = gather(made, config, directory)
    if moved:
        print(f"{moved} frames moved to {asked.output}")
    left = list(unfinished(made, config, source))
    _tell(made, directory, left)
    of_shards = {one.number for one in left if one.number}
    print(f"{len(made.shards) - len(of_shards)} of {len(made.shards)} shards done")
    if left:
        raise typer.Exit(1)


def _tell(plan: ShardPlan, directory: Path, left: list[UnfinishedShards]) -> None:
    """Name what is not all done, each with the command that does it alone."""
    from deepclean.cluster.plan import command

    for one in left:
        name = f"shard {one.number}" if one.number else "what was there when this was planned"
        print(f"not all done: {name}, GPS {one.span}: {one.missing // NS} s without frames; alone:")
        print(f"  {command(plan, directory, one.span)}")


def _counting_said(segments: Path | None, flag: str | None) -> str | None:
    where = str(segments.absolute()) if segments is not None else None
    return " of ".join(part for part in (flag, where) if part) or None


def _counting(span: Span, segments: Path | None, flag: str | None) -> list[Span] | None:
    from deepclean.validate.segments import query_segments, read_segments, within

    if segments is not None:
        return within(read_segments(segments, flag), span)
    return None if flag is None else within(query_segments(flag, span), span)


def _describe(plan: ShardPlan, todo: list[int], history: int) -> None:
    wanted = sum(end - start for start, end in plan.wanted)
    asked = plan.asked
    print(
        f"GPS {asked.start} to {asked.end}: {wanted} s of {asked.end - asked.start} s to be "
        f"cleaned, in {len(plan.wanted)} stretches"
    )
    spans = [plan.shards[number - 1] for number in todo]
    if not spans:
        return
    seconds = sum(end - start for start, end in spans)
    read = len(spans) * history / NS
    print(
        f"{len(spans)} of {len(plan.shards)} shards to be done, {seconds} s; the history before "
        f"each adds {100 * read / seconds:.1f}%"
    )
    for number in todo[:_SHOWN]:
        start, end = plan.shards[number - 1]
        print(f"  {number:4d}  {start}  {end}  {end - start} s")
    if len(todo) > _SHOWN:
        print(f"  ... and {len(todo) - _SHOWN} more: shards.txt")
