"""A plan as an HTCondor DAG, written with ezdag: a node for each shard, and a final one.

The final node runs whatever became of the others, on the access point, and says what is done. A
shard that is all done already is in the DAG as such, so numbers stay. With
`should_transfer_files=YES` among the settings the shards need no shared file system: configuration,
models and input files are sent to each, and the frames that come back are moved by the final node.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from deepclean.cluster import transfer
from deepclean.cluster.plan import CONFIG, LOGS, PINNED, ShardPlan, arguments, program
from deepclean.cluster.submit import SubmitSite
from deepclean.cluster.verify import RETURNED
from deepclean.config import Config
from deepclean.core.time import NS, Span
from deepclean.errors import ConfigError
from deepclean.io.source import HistorySource
from deepclean.system.atomic import publish

OURS = frozenset(
    "arguments queue initialdir output error universe transfer_input_files transfer_output_files "
    "transfer_output_remaps when_to_transfer_output preserve_relative_paths".split()
)
"""Commands of a submit description that the plan decides on."""

PLACE = "condor"
_SHARD, _VERIFY, _DAG = "shard", "verify", "replay"

PERSON = 2
"""The exit status after which the same again does not succeed (docs/replay.md)."""

Needs = Callable[[Span], Span]


def write(
    plan: ShardPlan,
    directory: Path,
    config: Config,
    numbers: Collection[int],
    site: SubmitSite,
    source: HistorySource,
    needs: Needs,
) -> list[str]:
    """Write DAG and submit descriptions; return the command that submits them.

    Args:
        plan: what is to be done.
        directory: of the plan.
        config: says how many threads a shard has.
        numbers: of the shards that are to be done.
        site: what else is wanted.
        source: where the data is.
        needs: what an engine reads for a span.

    Raises:
        ConfigError: ezdag is not installed, or HTCondor cannot be told of such a path.
        InputError, OutputError: as shipping.lay_out.
    """
    ezdag = _library()
    _require_plain([str(directory), *program(), *arguments(plan, directory)])
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    sent = (site.settings.get("should_transfer_files") or "no").lower() in {"yes", "if_needed"}
    given = {key: value or "" for key, value in site.settings.items()}
    executable, *before = [given["executable"]] if "executable" in given else program()
    shards = plan.numbered
    if sent:
        nodes, size = _sent(ezdag, plan, directory, numbers, source, needs, before)
    else:
        nodes, size = [_shared(ezdag, plan, directory, s, before) for s in shards.values()], 0
    settings: dict[str, object] = {
        "initialdir": str(directory),
        "log": f"{PLACE}/jobs.log",
        "output": f"{LOGS}/$(nodename).log",
        "error": f"{LOGS}/$(nodename).err",
        "request_cpus": config.runtime.threads,
        "request_memory": "2GB",
        "request_disk": f"{2 * size // 2**20 + 1024}MB",
    }
    settings |= {} if sent else {"should_transfer_files": "NO"}
    settings |= {"transfer_executable": False, **given}
    # Numbers as everywhere else; ezdag's own are hexadecimal.
    decimal = ezdag.layers.dags.SimpleFormatter(separator="-", index_format="{:04d}", offset=1)
    dag = ezdag.DAG(_DAG, formatter=decimal)
    shard = ezdag.Layer(
        executable,
        name=_SHARD,
        log_dir=str(directory / LOGS),
        retries=site.retries,
        transfer_files=sent,
        submit_description=settings,
    )
    shard.extend(nodes)  # given as an argument, ezdag 0.5 takes them in for ever
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it may be there on the nodes alone
        dag.attach(shard)
    for layer in dag.glob(_SHARD):
        layer.retry_unless_exit = PERSON
        layer.done = {number - 1: number not in numbers for number in shards}
    dag.final(name=_VERIFY)
    dag.write(place)
    publish(place / f"{_VERIFY}.sub", _verify(directory, given).encode())
    throttle = ["-maxjobs", str(site.together)] if site.together else []
    # Forced: an earlier submission left files of the same names.
    return ["condor_submit_dag", "-usedagdir", "-force", *throttle, str(place / f"{_DAG}.dag")]


def require_idle(directory: Path) -> None:
    """Raise ConfigError where the DAG of an earlier submission is at work."""
    lock = directory / PLACE / f"{_DAG}.dag.lock"
    if lock.exists():
        raise ConfigError(
            f"{directory}: its DAG is at work: wait for its end, or condor_rm it; if it died, "
            f"remove {lock}"
        )


def _library() -> Any:
    try:
        import ezdag
        import ezdag.layers
    except ImportError as error:
        raise ConfigError(
            "--scheduler condor needs ezdag: pip install 'deepclean-production[scheduler]'"
        ) from error
    return ezdag


def _require_plain(words: Sequence[str]) -> None:
    """Raise ConfigError where a word would be several, or another, in a submit description."""
    odd = [word for word in words if any(sign.isspace() or sign in "\"'$(),;=" for sign in word)]
    if odd:
        raise ConfigError(
            f"HTCondor cannot be told of {odd[0]!r}: name paths without blanks, quotes or $(),;="
        )


def _seconds(ezdag: Any, span: Span) -> list[Any]:
    return [ezdag.Option("start", span.start // NS), ezdag.Option("end", span.end // NS)]


def _shared(ezdag: Any, plan: ShardPlan, directory: Path, span: Span, before: list[str]) -> Any:
    """Return the node of a shard that reads and writes in place."""
    return ezdag.Node([*before, *arguments(plan, directory), *_seconds(ezdag, span)])


def _sent(
    ezdag: Any,
    plan: ShardPlan,
    directory: Path,
    numbers: Collection[int],
    source: HistorySource,
    needs: Needs,
    before: list[str],
) -> tuple[list[Any], int]:
    """Return the nodes of shards that are sent their files, and the bytes of the largest."""
    nodes, largest = [], 0
    for number, span in plan.numbered.items():
        back, there = f"{RETURNED}/{number:04d}", f"{transfer.SHIPPED}/{number:04d}"
        kinds: list[str] = []
        if number in numbers:
            shutil.rmtree(directory / back, ignore_errors=True)
            (directory / back).mkdir(parents=True)
            kinds, size = transfer.lay_out(source, needs(span), directory / there)
            largest = max(largest, size)
        files = [CONFIG, PINNED, "models", *(f"{there}/{kind}" for kind in kinds)]
        nodes.append(
            ezdag.Node(
                [*before, "replay", "--config", CONFIG, "--pinned", PINNED]
                + ["--duration", str(plan.asked.duration)]
                + ["--fetch"] * plan.asked.fetch
                + _seconds(ezdag, span)
                + [ezdag.Argument("data", [w for k in kinds for w in (f"--{k}", f"{there}/{k}")])]
                + [ezdag.Option("output", back)],
                inputs=ezdag.File("files", files, track=False),
                outputs=ezdag.File("frames", [back], track=False),
            )
        )
    return nodes, largest


def _verify(directory: Path, given: dict[str, str]) -> str:
    """Return the submit description of the final node."""
    first, *rest = program()
    lines = {
        "universe": "local",
        "executable": first,
        "arguments": " ".join([*rest, "shards", str(directory)]),
        "initialdir": str(directory),
        "log": f"{PLACE}/jobs.log",
        "output": f"{LOGS}/{_VERIFY}.log",
        "error": f"{LOGS}/{_VERIFY}.err",
        "notification": "never",
    }
    lines |= {key: value for key, value in given.items() if key.startswith("accounting_")}
    return "\n".join([*(f"{key} = {value}" for key, value in lines.items()), "queue", ""])
