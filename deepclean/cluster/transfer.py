"""The input of a shard laid out to be transferred: a directory of links for each kind of it.

HTCondor transfers a directory whole, and of a link the file. The directories that the files come
from are kept apart and in their order, which decides where files overlap (io.history).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepclean.core.time import NS, Span
from deepclean.errors import InputError, OutputError
from deepclean.io.catalogue import DataFile
from deepclean.io.history import History
from deepclean.io.source import HistorySource
from deepclean.io.t050017 import FrameName

SHIPPED = "shipped"
"""Where in the plan these directories lie, one for each shard."""


def lay_out(source: HistorySource, needed: Span, directory: Path) -> tuple[list[str], int]:
    """Make the links of one shard; return the options' directories, and how many bytes it takes.

    Args:
        source: where the data is.
        needed: by the shard, with its history and look-ahead.
        directory: of this shard; links that are there are kept.

    Returns:
        `strain`, and `witnesses` where they are in files of their own; and the files' size.

    Raises:
        InputError: a file's name does not say what it holds, so it would not be found there.
        OutputError: a link cannot be made.
    """
    seconds = Span(needed.start // NS * NS, -(-needed.end // NS) * NS)
    kinds = {"strain": source.strain, "witnesses": source.witnesses}
    if source.witnesses is source.strain:
        del kinds["witnesses"]
    size, laid = 0, []
    for kind, past in kinds.items():
        if not isinstance(past, History):
            continue  # it is fetched where the shard runs
        laid.append(kind)
        (directory / kind).mkdir(parents=True, exist_ok=True)
        for place, file in _numbered(past.files(seconds)):
            size += _link(file, directory / kind / f"{place:06d}")
    return laid, size


def _numbered(files: list[DataFile]) -> Iterator[tuple[int, DataFile]]:
    """Yield files with the rank of their directory."""
    ranks = {d: rank for rank, d in enumerate(sorted({file.path.parent for file in files}))}
    yield from ((ranks[file.path.parent], file) for file in files)


def _link(file: DataFile, place: Path) -> int:
    """Link a file; return its size."""
    if FrameName.parse(file.path.name) is None:
        raise InputError(
            "is not named as LIGO-T050017 has it, so it is not found where it is transferred to: "
            "rename it, or let the shards read it in place",
            path=file.path,
        )
    link, target = place / file.path.name, file.path.resolve()
    try:
        place.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
        return target.stat().st_size
    except OSError as error:
        raise OutputError(
            f"cannot be linked to: {error.strerror}", path=target, errno=error.errno
        ) from error
