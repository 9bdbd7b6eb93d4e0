"""A plan as an HTCondor DAG, written with ezdag: one node for each job, and a final node.

The final node runs on the access point after all other nodes, even failed ones, and lists what is
finished. Jobs that are finished already are nodes that are done, so the numbers stay the same.
With `should_transfer_files=YES` among the settings the shards of a replay need no shared file
system: the configuration, the models and the input files are sent to each shard, and the final node
moves the frames that come back.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepclean.cluster import transfer
from deepclean.cluster.jobs import JobArray
from deepclean.cluster.plan import CONFIG, LOGS, PINNED, ShardPlan
from deepclean.cluster.submit import SubmitSite
from deepclean.cluster.verify import RETURNED
from deepclean.core.time import Span
from deepclean.errors import ConfigError, ExitStatus
from deepclean.io.source import HistorySource
from deepclean.system.atomic import publish
from deepclean.system.commands import program

OURS = frozenset(
    "arguments queue initialdir output error universe transfer_input_files transfer_output_files "
    "transfer_output_remaps when_to_transfer_output preserve_relative_paths".split()
)
"""Commands of a submit description that the plan sets."""

PLACE = "condor"
_VERIFY = "verify"

Needs = Callable[[Span], Span]


def write(array: JobArray, numbers: Collection[int], site: SubmitSite) -> list[str]:
    """Write DAG and submit descriptions of jobs that see the site's files.

    Args:
        array: the jobs.
        numbers: numbers of the jobs that are to be submitted.
        site: settings of the site and the user.

    Returns:
        The command that submits them.

    Raises:
        ConfigError: ezdag is not installed, HTCondor cannot use such a path, or the settings ask
            for the transfer of files.
    """
    if _sends(site):
        raise ConfigError(
            "--submit should_transfer_files: these jobs write into directories of the site, which "
            "the nodes have to see"
        )
    ezdag = _library()
    _require_plain([*program(), *array.shared])
    nodes = {
        number: {"arguments": [*array.shared, *_own(ezdag, own)]}
        for number, own in array.own.items()
    }
    return _write(ezdag, array, nodes, numbers, site, {"should_transfer_files": "NO"})


def write_replay(
    array: JobArray,
    plan: ShardPlan,
    numbers: Collection[int],
    site: SubmitSite,
    source: HistorySource,
    needs: Needs,
) -> list[str]:
    """Write DAG and submit descriptions of a replay, whose shards may be sent their files.

    Args:
        array: the shards as jobs.
        plan: the plan.
        numbers: numbers of the shards that are to be submitted.
        site: settings of the site and the user.
        source: the input.
        needs: gives the span that an engine reads for a span.

    Returns:
        The command that submits them.

    Raises:
        ConfigError: ezdag is not installed, or HTCondor cannot use such a path.
        InputError, OutputError: the input cannot be laid out (see `transfer.lay_out`).
    """
    if not _sends(site):
        return write(array, numbers, site)
    ezdag = _library()
    _require_plain([*program(), *array.shared])
    nodes, size = {}, 0
    for number, span in plan.numbered.items():
        needed = needs(span) if number in numbers else None
        nodes[number], needs_bytes = _sent_node(ezdag, plan, array, number, source, needed)
        size = max(size, needs_bytes)
    return _write(ezdag, array, nodes, numbers, site, {"request_disk": _disk(size)})


def _write(
    ezdag: Any,
    array: JobArray,
    nodes: Mapping[int, dict[str, Any]],
    numbers: Collection[int],
    site: SubmitSite,
    added: Mapping[str, object],
) -> list[str]:
    """Write the files of a DAG; return the command that submits it.

    Args:
        ezdag: the library.
        array: the jobs.
        nodes: their nodes, by number.
        numbers: numbers of the jobs that are to be submitted.
        site: settings of the site and the user.
        added: commands of the submit description besides those of all plans.
    """
    directory = array.directory
    place = directory / PLACE
    place.mkdir(exist_ok=True)
    given = {key: value or "" for key, value in site.settings.items()}
    executable, *before = [given["executable"]] if "executable" in given else program()
    settings: dict[str, object] = {
        "initialdir": str(directory),
        "log": f"{PLACE}/jobs.log",
        "output": f"{LOGS}/$(nodename).log",
        "error": f"{LOGS}/$(nodename).err",
        "request_cpus": array.threads,
        "request_memory": "2GB",
        "request_disk": _disk(0),
        **added,
        "transfer_executable": False,
        **given,
    }
    # ezdag numbers nodes in hexadecimal; the plan's numbers are decimal.
    decimal = ezdag.layers.dags.SimpleFormatter(separator="-", index_format="{:04d}", offset=1)
    dag = ezdag.DAG(array.name, formatter=decimal)
    layer = ezdag.Layer(
        executable,
        name=array.unit,
        log_dir=str(directory / LOGS),
        retries=site.retries,
        transfer_files=_sends(site),
        submit_description=settings,
    )
    # ezdag 0.5 shares a list that is given as an argument among all layers.
    layer.extend(
        ezdag.Node(**{**node, "arguments": [*before, *node["arguments"]]})
        for node in nodes.values()
    )
    with warnings.catch_warnings():
        # ezdag warns of an executable that exists on the execute nodes alone.
        warnings.simplefilter("ignore", UserWarning)
        dag.attach(layer)
    for each in dag.glob(array.unit):
        each.retry_unless_exit = ExitStatus.PERSON.value
        each.done = {number - 1: number not in numbers for number in nodes}
    dag.final(name=_VERIFY)
    dag.write(place)
    publish(place / f"{_VERIFY}.sub", _verify(array, given).encode())
    throttle = ["-maxjobs", str(site.together)] if site.together else []
    # -force: an earlier submission left files of the same names.
    name = str(place / f"{array.name}.dag")
    return ["condor_submit_dag", "-usedagdir", "-force", *throttle, name]


def require_idle(directory: Path) -> None:
    """Raise ConfigError if the DAG of an earlier submission is still running."""
    for lock in (directory / PLACE).glob("*.dag.lock"):
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


def _sends(site: SubmitSite) -> bool:
    """Return whether jobs are sent their files."""
    return (site.settings.get("should_transfer_files") or "no").lower() in {"yes", "if_needed"}


def _disk(size: int) -> str:
    """Return the disk that a job needs that is sent some bytes."""
    return f"{2 * size // 2**20 + 1024}MB"


def _own(ezdag: Any, words: Sequence[str]) -> list[Any]:
    """Return a job's own arguments as variables of its node."""
    return [ezdag.Argument("own", list(words))] if words else []


def _sent_node(
    ezdag: Any,
    plan: ShardPlan,
    array: JobArray,
    number: int,
    source: HistorySource,
    needed: Span | None,
) -> tuple[dict[str, Any], int]:
    """Return the node of a shard that is sent its files, and the size of those in bytes.

    Args:
        ezdag: the library.
        plan: the plan.
        array: its shards as jobs.
        number: of the shard.
        source: the input.
        needed: the span that the shard reads; None where the shard is finished.
    """
    directory = array.directory
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
        "arguments": [*call, *_own(ezdag, array.own[number]), *options],
        "inputs": ezdag.File("files", files, track=False),
        "outputs": ezdag.File("frames", [back], track=False),
    }
    return node, size


def _verify(array: JobArray, given: dict[str, str]) -> str:
    """Return the submit description of the final node."""
    first, *rest = program()
    lines = {
        "universe": "local",
        "executable": first,
        "arguments": " ".join([*rest, *array.check]),
        "initialdir": str(array.directory),
        "log": f"{PLACE}/jobs.log",
        "output": f"{LOGS}/{_VERIFY}.log",
        "error": f"{LOGS}/{_VERIFY}.err",
        "notification": "never",
    }
    lines |= {key: value for key, value in given.items() if key.startswith("accounting_")}
    return "\n".join([*(f"{key} = {value}" for key, value in lines.items()), "queue", ""])
