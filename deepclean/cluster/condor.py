"""A plan as an HTCondor DAG, written with ezdag: one node for each shard, and a final node.

The final node runs on the access point after all other nodes, even failed ones, and lists what is
finished. Shards that are finished already are nodes that are done, so the numbers stay the same.
With `should_transfer_files=YES` among the settings the shards need no shared file system: the
configuration, the models and the input files are sent to each shard, and the final node moves the
frames that come back.
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
"""Commands of a submit description that the plan sets."""

PLACE = "condor"
_SHARD, _VERIFY, _DAG = "shard", "verify", "replay"

PERSON = 2
"""The exit status after which a repetition does not succeed (docs/replay.md)."""

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
        plan: the plan.
        directory: of the plan.
        config: the configuration; it says how many threads a shard has.
        numbers: numbers of the shards that are to be submitted.
        site: settings of the site and the user.
        source: the input.
        needs: gives the span that an engine reads for a span.

    Raises:
        ConfigError: ezdag is not installed, or HTCondor cannot use such a path.
        InputError, OutputError: the input cannot be laid out (see `transfer.lay_out`).
    """
    ezdag = _library()
    _require_plain([str(directory), *program(), *arguments(plan, directory)])
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    sent = (site.settings.get("should_transfer_files") or "no").lower() in {"yes", "if_needed"}
    given = {key: value or "" for key, value in site.settings.items()}
    executable, *before = [given["executable"]] if "executable" in given else program()
    nodes, size = [], 0
    for number, span in plan.numbered.items():
        if sent:
            needed = needs(span) if number in numbers else None
            node, needs_bytes = _sent_node(ezdag, plan, directory, number, span, source, needed)
            size = max(size, needs_bytes)
        else:
            node = {"arguments": [*arguments(plan, directory), *_seconds(ezdag, span)]}
        node["arguments"] = [*before, *node["arguments"]]
        nodes.append(ezdag.Node(**node))
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
    # ezdag numbers nodes in hexadecimal; the plan's numbers are decimal.
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
    shard.extend(nodes)  # ezdag 0.5 shares a list that is given as an argument among all layers
    with warnings.catch_warnings():
        # ezdag warns of an executable that exists on the execute nodes alone.
        warnings.simplefilter("ignore", UserWarning)
        dag.attach(shard)
    for layer in dag.glob(_SHARD):
        layer.retry_unless_exit = PERSON
        layer.done = {number - 1: number not in numbers for number in plan.numbered}
    dag.final(name=_VERIFY)
    dag.write(place)
    publish(place / f"{_VERIFY}.sub", _verify(directory, given).encode())
    throttle = ["-maxjobs", str(site.together)] if site.together else []
    # -force: an earlier submission left files of the same names.
    return ["condor_submit_dag", "-usedagdir", "-force", *throttle, str(place / f"{_DAG}.dag")]


def require_idle(directory: Path) -> None:
    """Raise ConfigError if the DAG of an earlier submission is still running."""
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
    """Raise ConfigError if a submit description would split or change a word."""
    odd = [word for word in words if any(sign.isspace() or sign in "\"'$(),;=" for sign in word)]
    if odd:
        raise ConfigError(
            f"HTCondor cannot be told of {odd[0]!r}: name paths without blanks, quotes or $(),;="
        )


def _seconds(ezdag: Any, span: Span) -> list[Any]:
    return [ezdag.Option("start", span.start // NS), ezdag.Option("end", span.end // NS)]


def _sent_node(
    ezdag: Any,
    plan: ShardPlan,
    directory: Path,
    number: int,
    span: Span,
    source: HistorySource,
    needed: Span | None,
) -> tuple[dict[str, Any], int]:
    """Return the node of a shard that is sent its files, and the size of those in bytes.

    Args:
        ezdag: the library.
        plan: the plan.
        directory: of the plan.
        number: of the shard.
        span: of the shard.
        source: the input.
        needed: the span that the shard reads; None where the shard is finished.
    """
    back, there = f"{RETURNED}/{number:04d}", f"{transfer.SHIPPED}/{number:04d}"
    kinds: list[str] = []
    size = 0
    if needed is not None:
        shutil.rmtree(directory / back, ignore_errors=True)
        (directory / back).mkdir(parents=True)
        kinds, size = transfer.lay_out(source, needed, directory / there)
    call = ["replay", "--config", CONFIG, "--pinned", PINNED]
    call += ["--duration", str(plan.request.duration), *["--fetch"] * plan.request.fetch]
    data = [word for kind in kinds for word in (f"--{kind}", f"{there}/{kind}")]
    options = [ezdag.Argument("data", data), ezdag.Option("output", back)]
    files = [CONFIG, PINNED, "models", *(f"{there}/{kind}" for kind in kinds)]
    node = {
        "arguments": [*call, *_seconds(ezdag, span), *options],
        "inputs": ezdag.File("files", files, track=False),
        "outputs": ezdag.File("frames", [back], track=False),
    }
    return node, size


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
