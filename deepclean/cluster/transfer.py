"""The input of a shard laid out for transfer: one directory of links for each kind of input.

HTCondor transfers a directory whole, and the file instead of a link to it. Files from different
directories are kept apart and in order, because the order decides where files overlap
(`io.history`).
"""

from __future__ import annotations

from pathlib import Path

from deepclean.core.time import NS, Span
from deepclean.errors import InputError, output_errors
from deepclean.io.catalogue import DataFile
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName

SHIPPED = "shipped"
"""Directory in the plan for the links; each shard has its own."""


def lay_out(source: HistorySource, needed: Span, directory: Path) -> tuple[list[str], int]:
    """Write the links of one shard.

    Args:
        source: the input.
        needed: the time that the shard reads, with its history and look-ahead.
        directory: for the links of this shard; existing links are kept.

    Returns:
        The names of the directories, `strain` and, where the witnesses are in files of their own,
        `witnesses`; and the total size of the files in bytes.

    Raises:
        InputError: the name of a file does not say what it holds, so the shard would not find it.
        OutputError: a link cannot be written.
    """
    seconds = Span(needed.start // NS * NS, -(-needed.end // NS) * NS)
    kinds = {"strain": source.strain, "witnesses": source.witnesses}
    if source.witnesses is source.strain:
        del kinds["witnesses"]
    size, laid = 0, []
    for kind, history in kinds.items():
        if not isinstance(history, History):
            continue  # the shard fetches it where it runs
        laid.append(kind)
        (directory / kind).mkdir(parents=True, exist_ok=True)
        files = history.files(seconds)
        parents = sorted({file.path.parent for file in files})
        for file in files:
            size += _link(file, directory / kind / f"{parents.index(file.path.parent):06d}")
    return laid, size


def _link(file: DataFile, place: Path) -> int:
    """Link a file into a directory; return its size in bytes."""
    if file.remote is not None:
        raise InputError(
            f"{file.remote.address}: is not transferred: let the shards fetch it "
            "(without should_transfer_files)"
        )
    if FrameName.parse(file.path.name) is None:
        raise InputError(
            "is not named as LIGO-T050017 has it, so it is not found where it is transferred to: "
            "rename it, or let the shards read it in place",
            path=file.path,
        )
    link, target = place / file.path.name, file.path.resolve()
    with output_errors(target, "cannot be linked to"):
        place.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
        return target.stat().st_size
